"""The built-in sampler: continuous batching over any causal LM of `transformers`, through its own forward.

A fixed number of slots. Finished sequences leave at once and waiting requests take their place; only live rows are computed.
Each distinct beginning (prompt plus prefix) is computed once for all its requests. Its last token is left to the first decoding
step, where every request feeds it anyway, so that prefill needs no logits.
"""

import copy
import inspect
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from menon.engines.decoder import context_of
from menon.engines.draw import Drawn, draw, temperature_by_entropy
from menon.engines.hf_models import end_token_ids
from menon.engines.slot_cache import SlotCache, Start, starts
from menon.engines.stop_strings import StopStrings, special_ids
from menon.errors import UserError
from menon.streams import stream
from menon.types import Completion, Finish, Request, Tokens

PREFILL_TOKENS = 16384
"""Most padded tokens of one prefill pass."""


class TorchSampler:
    """A `Sampler` over a model that is already where and what it should be: its device and dtype are the sampler's.

    The model may be the learner's own (`sync.by_reference`) or a copy (`sync.by_copy`). At most `slots` sequences are written
    at a time. Errors: `UserError` for a model that cannot decode by rows, and for requests that do not fit into its context.
    """

    version = 0

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, seed: int = 0, slots: int = 256) -> None:
        if slots < 1:
            raise UserError(f"slots is {slots}; a sampler needs room for at least 1 sequence")
        self.model = model
        self.tokenizer = tokenizer
        self.seed = seed
        self.slots = slots
        self.computed_tokens = 0
        """Tokens that went through the model so far, in prefill and in decoding; padding is not counted."""
        self.end_tokens = np.array(end_token_ids(model, tokenizer))
        self._look()
        self.special = special_ids(tokenizer)
        self.context = context_of(model)
        embedding: Any = model.get_input_embeddings()
        self.vocabulary: int = embedding.num_embeddings
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._checked = False

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Completions as they finish. All requests are checked before any is answered."""
        requests = list(requests)
        for request in requests:
            self._check(request)
        self._look()
        if not self._checked:
            self._check_model()
            self._checked = True
        return self._answer(requests)

    def weights(self) -> Mapping[str, Tensor]:
        """Name -> tensor, the live ones, tied ones once."""
        return dict(self.model.named_parameters())

    def _answer(self, requests: list[Request]) -> Iterator[Completion]:
        run = Run(self, requests)
        while run.busy:
            yield from run.step()

    def _look(self) -> None:
        """Once per call: a walk through a model takes longer than one of its small layers."""
        self.modules: list[nn.Module] = list(self.model.modules())
        self.device, self.dtype = self.model.device, self.model.dtype

    def _check(self, request: Request) -> None:
        prompt, new = request.prompt, request.sampling.max_new_tokens
        if not len(prompt.tokens):
            raise UserError(f"prompt {prompt.index} is empty; a model needs at least one token to go on from")
        tokens = np.concatenate([prompt.tokens, request.prefix])
        if tokens.min() < 0 or tokens.max() >= self.vocabulary:
            odd = tokens.max() if tokens.max() >= self.vocabulary else tokens.min()
            raise UserError(
                f"prompt {prompt.index} holds token {odd}, but the model knows 0 to {self.vocabulary - 1}; use its tokenizer"
            )
        if self.context is not None and len(tokens) + new > self.context:
            long = f"{len(prompt.tokens)} tokens" + (f" and {len(request.prefix)} of its answer" if len(request.prefix) else "")
            advice = "leave it out or shorten it" if len(tokens) >= self.context else "lower max_new_tokens or shorten it"
            raise UserError(
                f"prompt {prompt.index} has {long} and may get {new} more, but the model's context is {self.context}; {advice}"
            )

    @torch.no_grad()
    def prefill(self, given: list[Tokens]) -> list[Start]:
        """Keys and values of whole sequences. Padding stands on the right, where causal attention never looks."""
        found: list[Start] = [[] for _ in given]
        for rows in _passes([len(tokens) for tokens in given]):
            lengths = [len(given[row]) for row in rows]
            ids = np.zeros((len(rows), max(lengths)), dtype=np.int64)
            for i, row in enumerate(rows):
                ids[i, : lengths[i]] = given[row]
            cache = DynamicCache()
            keep: dict[str, Any] = {"logits_to_keep": 1} if self._takes_logits_to_keep else {}
            with evaluating(self.modules):
                self.model(input_ids=self._tensor(ids), past_key_values=cache, use_cache=True, **keep)
            self.computed_tokens += sum(lengths)
            for row, start in zip(rows, starts(cache, lengths), strict=True):
                found[row] = start
        return found

    @torch.no_grad()
    def decode(self, cache: SlotCache, token: np.ndarray, position: np.ndarray) -> Tensor:
        """One token for each of the first n rows -> logits [n, V] (fp32) of the next."""
        width = int(position.max()) + 1
        position_n = self._tensor(position)
        hidden = torch.arange(width, device=self.device) > position_n[:, None]
        mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
        mask.masked_fill_(hidden, torch.finfo(self.dtype).min)
        cache.aim(position_n, width)
        with evaluating(self.modules):
            logits = self.model(
                input_ids=self._tensor(token)[:, None],
                attention_mask=mask[:, None, None],
                position_ids=position_n[:, None],
                past_key_values=cache,
                use_cache=True,
            ).logits
        self.computed_tokens += len(token)
        return logits[:, -1].float()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _check_model(self) -> None:
        """Decodes two short sequences by rows and as a whole; a model that gives other numbers is refused, not trusted."""
        name = type(self.model).__name__
        if (how := self.model.config._attn_implementation) not in ("sdpa", "eager"):
            raise UserError(f"the built-in sampler cannot use {how} attention; load the model with attn_implementation='sdpa'")
        counted = self.computed_tokens
        given = [np.arange(length, dtype=np.int32) % self.vocabulary for length in (5, 3)]
        advice = "use a model with plain attention in every layer, or another sampler"
        try:
            cache = SlotCache(len(given))
            for row, start in enumerate(self.prefill([tokens[:-2] for tokens in given])):
                cache.fill(row, 1, start)
            for back in (2, 1):
                places = np.array([len(tokens) - back for tokens in given])
                got = self.decode(cache, np.array([t[-back] for t in given], dtype=np.int64), places)
            with torch.no_grad(), evaluating(self.modules):
                whole = [self.model(input_ids=self._tensor(t.astype(np.int64))[None], use_cache=False) for t in given]
        except (TypeError, ValueError, AttributeError, NotImplementedError, IndexError, RuntimeError) as error:
            raise UserError(f"the built-in sampler cannot run {name} ({type(error).__name__}: {error}); {advice}") from error
        self.computed_tokens = counted
        want = torch.stack([output.logits[0, -1].float() for output in whole])
        allowed = 1e-3 if torch.finfo(self.dtype).bits >= 32 else 0.2
        if float((got - want).abs().max()) > allowed * float(want.abs().max()):
            raise UserError(f"{name} decodes other numbers row by row than as a whole, so it cannot be sampled here; {advice}")


class Run:
    """One call of `generate`: who waits, who is live, what was written. Row i of every array is slot i; the first n are live."""

    def __init__(self, sampler: TorchSampler, requests: list[Request]) -> None:
        self.sampler = sampler
        self.waiting = deque(_by_beginning(requests))
        self.slots = min(sampler.slots, len(requests))
        self.cache = SlotCache(self.slots)
        self.shelf: dict[bytes, Start] = {}
        """Beginnings that a waiting request will need again; at most one, for requests wait in the order of their beginnings."""
        self.n = 0
        self.request: list[Request] = []
        self.stops: list[StopStrings | None] = []
        size = max((request.sampling.max_new_tokens for request in requests), default=0)

        def array(dtype: Any, *shape: int) -> np.ndarray:
            return np.zeros((self.slots, *shape), dtype=dtype)

        self.token, self.position = array(np.int64), array(np.int64)
        """What is fed next, and its place in the sequence."""
        self.count, self.limit, self.top_k = array(np.int64), array(np.int64), array(np.int64)
        self.temperature, self.top_p = array(np.float32), array(np.float64)
        self.forking, self.threshold = array(np.float32), array(np.float32)
        """The temperature of uncertain tokens, NaN where there is none, and the entropy above which a token is one."""
        self.uniform = array(np.float64, size)
        self.tokens, self.versions = array(np.int32, size), array(np.int32, size)
        self.logp, self.log_kept, self.entropy = (array(np.float32, size) for _ in range(3))

    @property
    def busy(self) -> bool:
        return bool(self.n or self.waiting)

    def step(self) -> list[Completion]:
        """Lets requests in, writes one token for each live one, lets finished ones out."""
        self._admit()
        n, rows = self.n, np.arange(self.n)
        logits = self.sampler.decode(self.cache, self.token[:n], self.position[:n])
        drawn = self._draw(logits)
        at = self.count[:n]
        self.tokens[rows, at], self.versions[rows, at] = drawn[0], self.sampler.version
        self.logp[rows, at], self.log_kept[rows, at], self.entropy[rows, at] = drawn[1:]
        self.token[:n] = drawn[0]
        self.position[:n] += 1
        self.count[:n] += 1
        stopped = np.isin(drawn[0], self.sampler.end_tokens) | self._stop_strings(drawn[0])
        done = stopped | (self.count[:n] >= self.limit[:n])
        finished = [self._completion(row, "stop" if stopped[row] else "length") for row in np.flatnonzero(done).tolist()]
        self._close_ranks(~done)
        return finished

    def _draw(self, logits: Tensor) -> tuple[np.ndarray, ...]:
        n = self.n
        uniform = self.uniform[np.arange(n), self.count[:n]]
        settings = (uniform, self.top_p[:n], self.top_k[:n], self.temperature[:n], self.forking[:n], self.threshold[:n])
        number, top_p, top_k, *by_entropy = (torch.from_numpy(value).to(logits.device) for value in settings)
        drawn: Drawn = draw(logits, number, temperature_by_entropy(logits, *by_entropy), top_p, top_k)
        return tuple(value.cpu().numpy() for value in drawn)

    def _admit(self) -> None:
        entering = [self.waiting.popleft() for _ in range(min(self.slots - self.n, len(self.waiting)))]
        groups: dict[bytes, list[Request]] = {}
        for request in entering:
            groups.setdefault(_beginning(request), []).append(request)
        missing = [key for key in groups if key not in self.shelf]
        given = {key: np.frombuffer(key, dtype=np.int32) for key in groups}
        ready = dict(zip(missing, self.sampler.prefill([given[key][:-1] for key in missing]), strict=True)) | self.shelf
        for key, group in groups.items():
            self.cache.fill(self.n, len(group), ready[key])
            for request in group:
                self._seat(request, given[key])
        if entering:
            needed = _beginning(self.waiting[0]) if self.waiting else b""
            self.shelf = {key: [(k.clone(), v.clone()) for k, v in ready[key]] for key in ready if key == needed}

    def _seat(self, request: Request, given: Tokens) -> None:
        row, sampling, prefix = self.n, request.sampling, request.prefix
        name = (request.visit, request.prompt.index, request.sample, *request.path)
        size = sampling.max_new_tokens
        # A token's number goes by its place in the whole answer, prefix included.
        uniform = stream(self.sampler.seed, request.purpose, *name).random(len(prefix) + size)
        self.uniform[row, :size] = uniform[len(prefix) :]
        self.token[row], self.position[row], self.count[row], self.limit[row] = given[-1], len(given) - 1, 0, size
        self.temperature[row], self.top_p[row], self.top_k[row] = sampling.temperature, sampling.top_p, sampling.top_k
        self.forking[row] = np.nan if sampling.forking_temperature is None else sampling.forking_temperature
        self.threshold[row] = sampling.entropy_threshold
        self.request.append(request)
        tokenizer, special = self.sampler.tokenizer, self.sampler.special
        self.stops.append(StopStrings(tokenizer, special, sampling.stop, prefix) if sampling.stop else None)
        self.n += 1

    def _stop_strings(self, tokens: np.ndarray) -> np.ndarray:
        return np.array([stop is not None and stop.ends(int(token)) for stop, token in zip(self.stops, tokens, strict=True)])

    def _completion(self, row: int, finish: Finish) -> Completion:
        request, count = self.request[row], self.count[row]
        tokens = self.tokens[row, :count].copy()
        answer = np.concatenate([request.prefix, tokens]).tolist()
        if not np.isfinite(self.logp[row, :count]).all():
            raise UserError(
                f"the model gives no finite log-probs after prompt {request.prompt.index}; its weights are damaged: lower "
                "learning_rate, or go back to an earlier checkpoint"
            )
        return Completion(
            request=request,
            tokens=tokens,
            logp=self.logp[row, :count].copy(),
            log_kept=self.log_kept[row, :count].copy(),
            entropy=self.entropy[row, :count].copy(),
            version=self.versions[row, :count].copy(),
            finish=finish,
            text=str(self.sampler.tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)),
        )

    def _close_ranks(self, stays: np.ndarray) -> None:
        """The last rows move into the places of those that left."""
        left = int(stays.sum())
        if left == self.n:
            return
        target, source = np.flatnonzero(~stays[:left]), left + np.flatnonzero(stays[left:])
        if len(source):
            self.cache.move(self.sampler._tensor(source), self.sampler._tensor(target))
            for array in (value for value in vars(self).values() if isinstance(value, np.ndarray)):
                array[target] = array[source]
            for into, out in zip(target, source, strict=True):
                self.request[into], self.stops[into] = self.request[out], self.stops[out]
        del self.request[left:], self.stops[left:]
        self.n = left


@contextmanager
def evaluating(modules: list[nn.Module]) -> Iterator[None]:
    """Eval mode without a trace: the learner's training flags come back, module by module."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def own_copy(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A model for a sampler with weights of its own (`sync.by_copy`).

    Parameters are in another dtype; buffers stay as they are, for rotary frequencies in bf16 would put far positions wrong.
    """
    copied = copy.deepcopy(model).requires_grad_(False).eval()
    for parameter in copied.parameters():
        parameter.data = parameter.data.to(dtype)
    return copied


def _beginning(request: Request) -> bytes:
    return np.concatenate([request.prompt.tokens, request.prefix]).astype(np.int32).tobytes()


def _by_beginning(requests: list[Request]) -> list[Request]:
    """Requests with the same beginning side by side, in the order of their first appearance."""
    groups: dict[bytes, list[Request]] = {}
    for request in requests:
        groups.setdefault(_beginning(request), []).append(request)
    return [request for group in groups.values() for request in group]


def _passes(lengths: list[int]) -> list[list[int]]:
    """Places of each prefill pass, sorted by length so that little is padding; sequences of no tokens need none."""
    passes: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if lengths[place]:
            if not passes or lengths[place] * (len(passes[-1]) + 1) > PREFILL_TOKENS:
                passes.append([])
            passes[-1].append(place)
    return passes
