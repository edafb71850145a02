"""The built-in sampler: continuous batching over any causal LM of `transformers`.

Models of the Llama family take a short path of their own (`decoder_slots`), any other its own forward
(`model_slots`).
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.engines.decoder import FAMILY, Decoder, context_of, decoder_of, is_family
from menon.engines.decoding.decode_weights import cache_dtype
from menon.engines.decoding.decoder_slots import DecoderSlots, renewed
from menon.engines.decoding.model_slots import ModelSlots, evaluating
from menon.engines.decoding.prefix_cache import Held
from menon.engines.decoding.scheduler import Job, Run, Slots, Voice
from menon.engines.decoding.stop_strings import special_ids, text_of
from menon.engines.hf_models import cache_per_token, end_token_ids
from menon.engines.machine import free_bytes, one_thread
from menon.engines.worker_samplers import WorkerSamplers
from menon.errors import UserError
from menon.types import Completion, Request

KEEP = 2**29
"""Most bytes of caches that are kept for the next call."""


class TorchSampler:
    """A `Sampler` over a model that is already where and what it should be: its device and dtype are the
    sampler's.

    The model may be the learner's own (`sync.by_reference`) or a copy (`sync.by_copy`). At most `slots`
    sequences are written at a time, fewer where memory does not suffice. With `fixed_slots` an answer's bits
    do not depend on its neighbours: all slots are always computed (Llama family only). With `processes` above
    1 other processes write their parts of every call from the same weights (Llama family on a CPU; for any
    other this one writes all); new weights then come between calls. Errors: `UserError` for a model that
    cannot decode by rows, and for requests that do not fit into its context or into memory.
    """

    version = 0

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int = 0,
        slots: int = 256,
        fixed_slots: bool = False,
        processes: int = 1,
    ) -> None:
        if slots < 1:
            raise UserError(f"slots is {slots}; a sampler needs room for at least 1 sequence")
        self.model = model
        self.tokenizer = tokenizer
        self.seed = seed
        self.slots = slots
        self.fixed_slots = fixed_slots
        self.computed_tokens = 0
        """Tokens that went through the model so far, in prefill and in decoding; padding is not counted."""
        self.end_tokens = np.array(end_token_ids(model, tokenizer))
        self.voice = Voice(text_of(tokenizer), special_ids(tokenizer))
        self.context = context_of(model)
        embedding: Any = model.get_input_embeddings()
        self.vocabulary: int = embedding.num_embeddings
        self.decoder: Decoder | None = None
        """The network in plain data, where it is one of the Llama family; known from the first call on."""
        self._checked = False
        self._held: Held | None = None
        self._kept: DecoderSlots | None = None
        several = processes > 1 and model.device.type == "cpu" and is_family(model)
        self.parts = processes if several else 1
        """Into how many a call is divided."""
        self._workers = WorkerSamplers(model, processes - 1) if several else None

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Completions as they finish. All requests are checked before any is answered."""
        requests = list(requests)
        for request in requests:
            self._check(request)
        self._ready()
        longest = max(
            (len(r.prompt.tokens) + len(r.prefix) + r.sampling.max_new_tokens for r in requests), default=1
        )
        fits = self.fitting(longest)
        if self.fixed_slots and fits < self.slots:
            raise UserError(
                f"fixed_slots computes all {self.slots} slots, and free memory holds {fits} sequences of "
                f"{longest} tokens; "
                f"set slots={fits}, or lower max_new_tokens"
            )
        return self._answer(requests, -(-fits // self.parts))

    def fitting(self, longest: int) -> int:
        """How many sequences of so many tokens can be written at a time: `slots`, or what the free memory
        holds."""
        kept = (
            0 if self._kept is None else self._kept.cache.nbytes * self.parts
        )  # the others have about the same
        free = free_bytes(self.model.device) + kept
        each = self.bytes_per_token() * longest
        if not each:
            return self.slots
        fits = free * 2 // (each * 3)  # a cache that grows is copied
        if fits < 1:
            need, have = each * 1.5 / 2**30, free / 2**30
            raise UserError(
                f"keys and values of one sequence of {longest} tokens take {need:.1f} GiB and {have:.1f} "
                "GiB are free; lower "
                "max_new_tokens, or use a smaller model"
            )
        return min(self.slots, fits)

    def bytes_per_token(self) -> int:
        """Of keys and values in its caches; 0 where the model does not tell."""
        self._ready()
        dtype = self.model.dtype if self.decoder is None else cache_dtype(self.decoder)
        return cache_per_token(self.model) * dtype.itemsize

    def _ready(self) -> None:
        if self._checked:
            return
        self._check_model()
        self._checked = True
        if self._workers and self.decoder:
            self._workers.introduce(self.decoder, self.voice)
        else:
            self.close()

    def close(self) -> None:
        """Ends the other processes; what is asked from now on is written in this one."""
        if self._workers:
            self._workers.close()
            self._workers = None

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones, tied ones once."""
        return dict(self.model.named_parameters())

    @contextmanager
    def holding(self) -> Iterator[None]:
        """See `rollout.protocols.Holds`. Takes at most a quarter of the memory that is free now."""
        outer = self._held
        self._held = outer or Held(free_bytes(self.model.device) // 4 // self.parts)
        workers = self._workers if outer is None else None
        if workers:
            workers.hold(True)
        try:
            yield
        finally:
            self._held = outer
            if workers:
                workers.hold(False)

    def _answer(self, requests: list[Request], places: int) -> Iterator[Completion]:
        """With so many places in each process."""
        workers = self._workers
        if workers is None or workers.busy:
            yield from self._write(self._job(requests, places))
            return
        mine, *others = [self._job(part, places) for part in workers.deal(requests)]
        before = workers.computed_tokens
        try:
            yield from workers.answer(others, self._write(mine))
        finally:
            self.computed_tokens += workers.computed_tokens - before

    def _job(self, requests: list[Request], places: int) -> Job:
        return Job(
            requests,
            places if self.fixed_slots else min(places, len(requests)),
            self.version,
            self.seed,
            self.end_tokens,
            self.fixed_slots,
            # The bits of a kept start depend on how it came about.
            room=None if self._held is None or self.fixed_slots else self._held.whole,
            keep=KEEP // self.parts,
        )

    def _write(self, job: Job) -> Iterator[Completion]:
        """In this process."""
        slots = self._slots(job.places)
        run = Run(slots, job, self.voice, None if job.room is None else self._held)
        while run.busy:
            before = run.computed_tokens
            with one_thread() if self._workers else nullcontext():
                finished = run.step(self.version)
            self.computed_tokens += run.computed_tokens - before
            yield from finished
        if isinstance(slots, DecoderSlots) and slots.cache.nbytes <= job.keep:
            self._kept = slots

    def _slots(self, places: int) -> Slots:
        if self.decoder is None:
            return ModelSlots(self.model, places)
        kept, self._kept = self._kept, None  # two calls may be under way
        return renewed(kept, self.decoder, places, self.fixed_slots)

    def _check(self, request: Request) -> None:
        prompt, new = request.prompt, request.sampling.max_new_tokens
        if not len(prompt.tokens):
            raise UserError(f"prompt {prompt.index} is empty; a model needs at least one token to go on from")
        tokens = np.concatenate([prompt.tokens, request.prefix])
        if tokens.min() < 0 or tokens.max() >= self.vocabulary:
            odd = tokens.max() if tokens.max() >= self.vocabulary else tokens.min()
            raise UserError(
                f"prompt {prompt.index} holds token {odd}, but the model knows 0 to "
                f"{self.vocabulary - 1}; use its tokenizer"
            )
        if self.context is not None and len(tokens) + new > self.context:
            long = f"{len(prompt.tokens)} tokens" + (
                f" and {len(request.prefix)} of its answer" if len(request.prefix) else ""
            )
            advice = (
                "leave it out or shorten it"
                if len(tokens) >= self.context
                else "lower max_new_tokens or shorten it"
            )
            raise UserError(
                f"prompt {prompt.index} has {long} and may get {new} more, but the model's context is "
                f"{self.context}; {advice}"
            )

    def _check_model(self) -> None:
        """Decodes two short sequences by rows and as a whole; a model that gives other numbers is refused,
        not trusted."""
        name = type(self.model).__name__
        if (how := self.model.config._attn_implementation) not in ("sdpa", "eager"):
            raise UserError(
                f"the built-in sampler cannot use {how} attention; load the model with "
                "attn_implementation='sdpa'"
            )
        given = [torch.arange(length, device=self.model.device) % self.vocabulary for length in (5, 3)]
        advice = "use a model with plain attention in every layer, or another sampler"
        try:
            with torch.no_grad(), evaluating(list(self.model.modules())):
                self.decoder = decoder_of(self.model)
                whole = [
                    self.model(input_ids=ids[None], use_cache=False).logits[0, -1].float() for ids in given
                ]
            slots = self._slots(len(given))
            for row, ids in enumerate(given):
                (start,) = slots.prefill(ids[None, :-2], [len(ids) - 2])
                slots.fill(torch.tensor([row], device=ids.device), start)
            for back in (2, 1):
                token = np.array([int(ids[-back]) for ids in given])
                got = slots.decode(token, np.array([len(ids) - back for ids in given]))[: len(given)].float()
        except (
            TypeError,
            ValueError,
            AttributeError,
            NotImplementedError,
            IndexError,
            RuntimeError,
        ) as error:
            raise UserError(
                f"the built-in sampler cannot run {name} ({type(error).__name__}: {error}); {advice}"
            ) from error
        if self.fixed_slots and self.decoder is None:
            raise UserError(
                f"fixed_slots needs a model of the {', '.join(FAMILY)} kind, and this is {name}; leave it out"
            )
        want = torch.stack(whole)
        allowed = 1e-3 if torch.finfo(self.model.dtype).bits >= 32 else 0.2
        if float((got - want).abs().max()) > allowed * float(want.abs().max()):
            raise UserError(
                f"{name} decodes other numbers row by row than as a whole, so it cannot be sampled here; "
                f"{advice}"
            )


def own_copy(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A model for a sampler with weights of its own (`sync.by_copy`).

    Parameters are in another dtype; buffers stay as they are, for rotary frequencies in bf16 would put far
    positions wrong.
    """
    copied = copy.deepcopy(model).requires_grad_(False).eval()
    for parameter in copied.parameters():
        parameter.data = parameter.data.to(dtype)
    return copied
