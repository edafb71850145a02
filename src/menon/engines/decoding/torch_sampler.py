"""The built-in sampler: continuous batching over any causal LM of `transformers`.

Models of the Llama family use a fast path (`decoder_slots`), all others their own forward pass
(`model_slots`).
"""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.engines.decoder import Decoder
from menon.engines.decoding.decode_weights import cache_dtype, weights_of
from menon.engines.decoding.decoder_slots import DecoderSlots, renewed
from menon.engines.decoding.model_slots import ModelSlots, evaluating
from menon.engines.decoding.settings import Settings
from menon.engines.decoding.slots import Slots
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.decoding.torch_stream import TorchStream
from menon.engines.hf_models import end_token_ids
from menon.engines.limits import kinds_of, rows_of
from menon.engines.llama_family import FAMILY, decoder_of, is_family
from menon.engines.machine import SMALL, free_bytes, one_thread
from menon.engines.request_checks import check_request
from menon.engines.worker_lanes import Read, WorkerLanes
from menon.engines.worker_samplers import WorkerSamplers
from menon.errors import UserError, first_line
from menon.rollout.protocols import OPTIONAL
from menon.types import Request

STATES = {"linear_attention", "conv", "hybrid", "hybrid_sliding", "recurrent"}
"""Kinds of layers with a state that stands for all tokens before."""
KEEP = 2**29
"""Most bytes of slots that are kept for the next stream."""


class TorchSampler:
    """A `Sampler` over a model; it computes on the model's device and in the model's dtype.

    The model may be the learner's own (`sync.by_reference`) or a copy (`sync.by_copy`). At most `slots`
    sequences are written at a time, fewer if memory does not suffice. With `fixed_slots` an answer's bits do
    not depend on its neighbours: all slots are always computed (Llama family only). With `processes` above 1
    other processes write parts of every stream with the same weights (Llama family on a CPU; for any other
    model this process writes everything). New weights may then only come when all requests are answered.
    With `keep_special_tokens` the text of an answer shows its special tokens, all but the end-of-text token
    that ends it.
    Errors: `UserError` for a model that cannot decode by rows, and for requests that do not fit into its
    context or into memory.
    """

    version = 0
    gives = OPTIONAL

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int = 0,
        slots: int = 256,
        fixed_slots: bool = False,
        processes: int = 1,
        alternatives: int = 0,
        kept: int = 0,
        keep_special_tokens: bool = False,
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
        ends = end_token_ids(model, tokenizer)
        self.end_tokens = np.array(ends)
        self.detokenizer = Detokenizer.of(tokenizer, ends, keep_special_tokens)
        self.context = rows_of(model)
        """The most tokens of a sequence; None if the model's configuration does not say."""
        embedding: Any = model.get_input_embeddings()
        self.vocabulary: int = embedding.num_embeddings
        self.alternatives = min(alternatives, self.vocabulary)
        """How many of the most probable tokens a completion records beside each token that was drawn."""
        self.kept = kept
        """The largest top_k with which a completion records the tokens that it could be drawn from."""
        self.decoder: Decoder | None = None
        """The network as plain data, if it is of the Llama family; known from the first request on."""
        self._checked = False
        self._per_token = 0
        """Numbers of one token's keys and values, all layers together; counted with the first request."""
        self._kept: DecoderSlots | None = None
        several = processes > 1 and model.device.type == "cpu" and is_family(model)
        self.parts = processes if several else 1
        """Number of parts into which the requests of a stream are divided."""
        self._workers = WorkerSamplers(model, processes - 1) if several else None

    def open(self, keep: bool = False) -> TorchStream:
        """See `rollout.protocols.Sampler`. With `keep`, the prefix cache takes at most a quarter of the
        memory that is free now."""
        room = free_bytes(self.model.device) // 4 // self.parts if keep else None
        settings = Settings(
            self.seed,
            self.end_tokens,
            self.fixed_slots,
            # The bits of a kept start depend on how it was computed.
            prefix_bytes=None if self.fixed_slots else room,
            kept_bytes=KEEP // self.parts,
            alternatives=self.alternatives,
            kept=self.kept,
        )
        return TorchStream(self, keep, settings)

    def most_in_each(self, longest: int) -> int:
        """How many sequences of up to `longest` tokens each process writes at a time."""
        self._ready()
        fits = self.fitting(longest)
        if self.fixed_slots and fits < self.slots:
            raise UserError(
                f"fixed_slots computes all {self.slots} slots, and free memory holds {fits} sequences of "
                f"{longest} tokens; set slots={fits}, or lower max_new_tokens"
            )
        return -(-fits // self.parts)

    def fitting(self, longest: int) -> int:
        """How many sequences of `longest` tokens can be written at a time: `slots`, or as many as the free
        memory holds."""
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
        """Bytes of one token's keys and values in the caches."""
        self._ready()
        dtype = self.model.dtype if self.decoder is None else cache_dtype(self.decoder)
        return self._per_token * dtype.itemsize

    def _ready(self) -> None:
        if self._checked:
            return
        self._check_model()
        self._checked = True
        if self._workers and self.decoder:
            self._workers.introduce(self.decoder, self.detokenizer)
        else:
            self.close()

    def close(self) -> None:
        """Ends the other processes; later requests are written in this process."""
        if self._workers:
            self._workers.close()
            self._workers = None

    def free(self) -> None:
        """Gives back the memory that is kept for the next stream."""
        self._kept = None

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones, tied ones once."""
        return dict(self.model.named_parameters())

    def worker_lanes(self, settings: Settings, keep: bool, read: Read) -> WorkerLanes | None:
        """The other processes' parts of a stream; None if this process writes everything."""
        workers = self._workers
        return None if workers is None or workers.busy else WorkerLanes(workers, settings, keep, read)

    def threads(self) -> AbstractContextManager[None]:
        """The context of a decoding step in this process: its number of threads."""
        return one_thread() if self._workers else nullcontext()

    def slots_for(self, places: int) -> Slots:
        if self.decoder is None:
            return ModelSlots(self.model, places)
        kept, self._kept = self._kept, None  # two streams may be open
        return renewed(kept, self.decoder, places, self.fixed_slots)

    def keep_slots(self, slots: Slots) -> None:
        """Keeps slots for the next stream, if they are not too large. Those of a large model have packed
        copies of its matrices, whose room the learner needs and which new weights replace."""
        if (
            isinstance(slots, DecoderSlots)
            and slots.cache.nbytes <= KEEP // self.parts
            and weights_of(slots.given) <= SMALL
        ):
            self._kept = slots

    def check(self, request: Request) -> None:
        """UserError for a request that the model cannot answer."""
        check_request(request, self.vocabulary, self.context)

    def _check_model(self) -> None:
        """Decodes two short sequences row by row and as a whole; UserError if the numbers differ."""
        name = type(self.model).__name__
        advice = "use a model with plain attention in every layer, or another sampler"
        if (states := kinds_of(self.model.config.get_text_config()) & STATES) or self.model._is_stateful:
            kind = f" (of the kind {', '.join(sorted(states))})" if states else ""
            raise UserError(
                f"the built-in sampler cannot run {name}, which has layers{kind} that keep a running state "
                f"and not keys and values of every token; {advice}"
            )
        if (how := self.model.config._attn_implementation) not in ("sdpa", "eager"):
            raise UserError(
                f"the built-in sampler cannot use {how} attention; load the model with "
                "attn_implementation='sdpa'"
            )
        given = [torch.arange(length, device=self.model.device) % self.vocabulary for length in (5, 3)]
        try:
            with torch.no_grad(), evaluating(list(self.model.modules())):
                self.decoder = decoder_of(self.model)
                whole = [
                    self.model(input_ids=ids[None], use_cache=False).logits[0, -1].float() for ids in given
                ]
            slots = self.slots_for(len(given))
            for row, ids in enumerate(given):
                (start,) = slots.prefill(ids[None, :-2], [len(ids) - 2])
                slots.fill(torch.tensor([row], device=ids.device), start)
                self._per_token = numbers_of(start) // (len(ids) - 2)
            for back in (2, 1):
                token = np.array([int(ids[-back]) for ids in given])
                got = slots.decode(token, np.array([len(ids) - back for ids in given]))[: len(given)].float()
        except Exception as error:
            fault = f"{type(error).__name__}: {first_line(error)}"
            raise UserError(f"the built-in sampler cannot run {name} ({fault}); {advice}") from error
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


def numbers_of(start: Any) -> int:
    """How many numbers a start of either kind of slots holds."""
    tensors = [start] if isinstance(start, Tensor) else [states for layer in start for states in layer]
    return sum(states.numel() for states in tensors)


def own_copy(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A model for a sampler with weights of its own (`sync.by_copy`).

    Parameters are converted to another dtype. Buffers are not, because rotary frequencies in bf16 would give
    distant positions wrong angles.
    """
    copied = copy.deepcopy(model).requires_grad_(False).eval()
    for parameter in copied.parameters():
        parameter.data = parameter.data.to(dtype)
    return copied
