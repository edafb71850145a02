"""Continuous batching of the requests of one stream, or of one process's part of them; `Slots` compute the
tokens.

Finished sequences leave their slots at once and queued requests take their place; only live rows are
computed. Each distinct context (prompt plus prefix) is computed once for all queued requests that have it.
Its last token is left to the first decoding step, in which every request feeds it anyway, so that prefill
needs no logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from menon.engines.decoding.draw import draw, kept_tokens, most_probable, temperature_by_entropy
from menon.engines.decoding.prefix_cache import PrefixCache
from menon.engines.decoding.request_queue import Queued, RequestQueue
from menon.engines.decoding.stop_strings import Detokenizer, StopStrings
from menon.errors import UserError
from menon.streams import stream
from menon.types import Completion, Finish, Request, Tokens, no_tokens

PREFILL_TOKENS = 16384
"""Most padded tokens of one prefill pass."""


class Slots(Protocol):
    """Keys and values of sequences in rows, of which 0..n-1 are live."""

    device: torch.device

    def refresh(self) -> None:
        """The weights have changed."""
        ...

    def prefill(self, ids: Tensor, lengths: list[int]) -> list[Any]:
        """Token ids [S, L], padded on the right -> the starts of the sequences, in a form of these slots'
        own. They are views."""
        ...

    def extend(self, starts: list[Any], ids: Tensor, lengths: list[int]) -> list[Any]:
        """The same starts made longer by the first `lengths[i]` tokens of row i of `ids`."""
        ...

    def copy(self, start: Any) -> Any:
        """A copy of a start."""
        ...

    def start(self, row: int, length: int) -> Tensor | None:
        """A copy of the first `length` keys and values of a row; None if they cannot be kept."""
        ...

    def fill(self, rows: Tensor, start: Any) -> None:
        """These rows begin with the given start."""
        ...

    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Row source[i] takes the place of row target[i]; none of them is longer than `width`."""
        ...

    def grow(self, rows: int, width: int) -> None:
        """Makes room for `rows` rows; existing rows keep their keys and values, and none of them is longer
        than `width`."""
        ...

    def expect(self, length: int) -> None:
        """Sequences of up to so many tokens come."""
        ...

    def decode(self, token: np.ndarray, position: np.ndarray) -> Tensor:
        """One token for each of the first n rows, written at its position -> logits [n, V] of the next."""
        ...


@dataclass(frozen=True)
class Settings:
    """The settings of all requests of a stream."""

    seed: int
    end_tokens: np.ndarray
    fixed: bool
    """All slots are computed in every step."""
    prefix_bytes: int | None
    """Most bytes of the prefix cache; None: there is none."""
    kept_bytes: int
    """Most bytes of the slots' keys and values that are kept for the next stream."""
    alternatives: int = 0
    """How many of the most probable tokens are recorded beside each token that is drawn."""
    kept: int = 0
    """How many tokens at most top-k and top-p keep of requests whose kept tokens are recorded; 0: of none."""


class Scheduler:
    """The requests that are queued and live, and what was written. Row i of every array is slot i; the first
    n are live."""

    def __init__(
        self, slots: Slots, settings: Settings, detokenizer: Detokenizer, prefixes: PrefixCache | None
    ) -> None:
        self.slots, self.settings, self.detokenizer = slots, settings, detokenizer
        self.prefixes = prefixes
        """Keys and values of finished sequences, where they are kept."""
        self.version: int | None = None
        """Version of the weights of the last step."""
        self.queue = RequestQueue()
        self.computed_tokens = 0
        self.shared_prefix: dict[bytes, Any] = {}
        """Starts that a queued request will need again; at most one, because requests are queued in the order
        of their contexts."""
        self.n = self.places = self.most = 0
        self.request: list[Request] = []
        self.stops: list[StopStrings | None] = []

        def array(dtype: Any, *shape: int) -> np.ndarray:
            return np.zeros((0, *shape), dtype=dtype)

        self.token, self.position = array(np.int64), array(np.int64)
        """The token that is fed next, and its position in the sequence."""
        self.count, self.limit, self.top_k = array(np.int64), array(np.int64), array(np.int64)
        self.temperature, self.top_p = array(np.float32), array(np.float64)
        self.forking, self.threshold = array(np.float32), array(np.float32)
        """The temperature of uncertain tokens, NaN where there is none, and the entropy above which a token
        is one."""
        self.uniform = array(np.float64, 0)
        self.tokens, self.versions = array(np.int32, 0), array(np.int32, 0)
        self.numbers = array(np.float32, 0, 3)
        """logp, log_kept, entropy."""
        self.others = array(np.int32, 0, settings.alternatives)
        self.others_logp = array(np.float32, 0, settings.alternatives)
        """The most probable tokens, and their log-probs."""
        self.kept = array(np.int32, 0, settings.kept)
        """The tokens that could be drawn."""
        self.columns = [name for name, value in vars(self).items() if isinstance(value, np.ndarray)]
        self.done = np.zeros(0, dtype=np.int64)
        """Rows whose sequences are finished."""

    def ask(self, requests: Sequence[Request], most: int) -> None:
        """Queues requests, also while others are being written. From now on no request gets a slot while
        `most` sequences are live."""
        self.queue.add(requests)
        self.most = most
        live = self.n - len(self.done)
        places = most if self.settings.fixed else min(most, live + len(self.queue))
        if places > self.places:
            # Growing copies all keys and values, so it at least doubles the room.
            self.places = max(places, min(most, 2 * self.places))
            self.slots.grow(self.places, int(self.position[: self.n].max(initial=0)))
        self.slots.expect(max((request.most_tokens for request in requests), default=0))
        self._reserve(max((request.sampling.max_new_tokens for request in requests), default=0))

    def _reserve(self, new_tokens: int) -> None:
        """Makes room for all slots, with up to `new_tokens` new tokens each. Existing contents are kept."""
        rows, size = self.tokens.shape
        more = (0, max(0, self.places - rows)), (0, max(0, new_tokens - size)), (0, 0)
        if more[0][1] or more[1][1]:
            for name in self.columns:
                value = getattr(self, name)
                setattr(self, name, np.pad(value, more[: value.ndim]))

    @property
    def size(self) -> int:
        """The number of sequences that are live or queued."""
        return self.n - len(self.done) + len(self.queue)

    def step(self, version: int) -> list[Completion]:
        """Gives slots to queued requests and writes one token for each live sequence. Returns those that are
        finished. A new version means new weights."""
        if version != self.version:
            if self.version is not None:
                self.slots.refresh()
            self.shared_prefix.clear()
            self.version = version
        self._change()
        n, rows = self.n, np.arange(self.n)
        logits = self.slots.decode(self.token[:n], self.position[:n])
        self.computed_tokens += n
        token, numbers, kept = self._draw(logits)
        at = self.count[:n]
        if self.settings.kept:
            self.kept[rows, at] = kept
        if self.settings.alternatives:
            self.others[rows, at], self.others_logp[rows, at] = self._alternatives(logits[:n])
        self.tokens[rows, at], self.versions[rows, at], self.numbers[rows, at] = token, version, numbers
        self.token[:n] = token
        self.position[:n] += 1
        self.count[:n] += 1
        stopped = (token[:, None] == self.settings.end_tokens).any(1) | self._stop_strings(token)
        self.done = np.flatnonzero(stopped | (self.count[:n] >= self.limit[:n]))
        if self.prefixes is not None:
            self._keep(self.prefixes.at(version))
        return [self._completion(row, "stop" if stopped[row] else "length") for row in self.done.tolist()]

    def abort(self) -> list[Completion]:
        """Ends all requests: what was written for those that are live, and nothing for those that are
        queued. All slots are free then."""
        live = sorted({*range(self.n)} - {*self.done.tolist()})
        written = [self._completion(row, "abort") for row in live]
        queued = [one.request for one in self.queue.take(len(self.queue))]
        self.request.clear()
        self.stops.clear()
        self.n, self.done = 0, self.done[:0]
        self.shared_prefix.clear()
        return [*written, *(nothing(request, self.settings, self.detokenizer) for request in queued)]

    def _keep(self, prefixes: PrefixCache) -> None:
        """Adds finished sequences to the prefix cache. The keys and values of all their tokens but the last
        are known. A sequence during which the weights changed is not added, because its keys and values are
        of no single version."""
        for row in self.done.tolist():
            request, length = self.request[row], int(self.position[row])
            if request.last or self.versions[row, 0] != self.version:
                continue
            start = self.slots.start(row, length)
            if start is not None:
                tokens = np.concatenate(
                    [request.prompt.tokens, request.prefix, self.tokens[row, : self.count[row] - 1]]
                )
                prefixes.add(tokens, start)

    def _draw(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray | int]:
        """Tokens [n], their numbers [n, 3], and what could be drawn [n, k]; `logits` may have rows beyond the
        live ones."""
        n = len(logits)
        uniform = self.uniform[np.arange(n), np.minimum(self.count[:n], self.uniform.shape[1] - 1)]
        settings = (
            uniform,
            self.top_p[:n],
            self.top_k[:n],
            self.temperature[:n],
            self.forking[:n],
            self.threshold[:n],
        )
        number, top_p, top_k, *by_entropy = (torch.from_numpy(value) for value in settings)
        with torch.inference_mode():
            drawn = draw(logits, number, temperature_by_entropy(logits, *by_entropy), top_p, top_k)
            numbers = torch.stack((drawn.logp, drawn.log_kept, drawn.entropy), -1)
            kept: np.ndarray | int = -1
            if self.settings.kept and drawn.mask is not None:
                kept = kept_tokens(drawn.mask, self.settings.kept).cpu().numpy()[: self.n]
            return drawn.token.cpu().numpy()[: self.n], numbers.cpu().numpy()[: self.n], kept

    def _alternatives(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """[n, k] the most probable tokens, and their log-probs."""
        n = len(logits)
        settings = (self.temperature[:n], self.forking[:n], self.threshold[:n])
        with torch.inference_mode():
            temperature = temperature_by_entropy(logits, *(torch.from_numpy(value) for value in settings))
            tokens, logp = most_probable(logits, temperature, self.settings.alternatives)
        return tokens.cpu().numpy(), logp.cpu().numpy()

    def _change(self) -> None:
        """Queued requests take the rows of finished ones and those still free; then the last rows fill the
        gaps that remain."""
        count = min(len(self.queue), max(0, self.most - (self.n - len(self.done))))
        free = [*self.done.tolist(), *range(self.n, self.places)][:count]
        entering = self.queue.take(len(free))
        gaps = self.done[len(free) :]
        self.n += max(0, len(free) - len(self.done))
        self._admit(entering, free)
        if len(gaps):
            self._compact(gaps)
        self.done = self.done[:0]

    def _admit(self, entering: list[Queued], rows: list[int]) -> None:
        groups: dict[bytes, list[int]] = {}
        given: dict[bytes, Tokens] = {}
        for queued, row in zip(entering, rows, strict=True):
            groups.setdefault(queued.key, []).append(row)
            given[queued.key] = queued.given
            self._seat(queued, row)
        missing = [key for key in groups if key not in self.shared_prefix]
        starts = self._prefill([given[key][:-1] for key in missing])
        ready = dict(zip(missing, starts, strict=True)) | self.shared_prefix
        for key, places in groups.items():
            if ready[key] is not None:
                self.slots.fill(self._tensor(np.array(places)), ready[key])
        if entering:
            self.shared_prefix = {
                key: self.slots.copy(start)
                for key, start in ready.items()
                if key == self.queue.next_key and start is not None
            }

    def _prefill(self, given: list[Tokens]) -> list[Any]:
        """Starts of whole sequences, using the prefix cache as far as possible; None for a sequence without
        tokens."""
        kept = None if self.prefixes is None or self.version is None else self.prefixes.at(self.version)
        known = [None if kept is None else kept.find(tokens) for tokens in given]
        have = [0 if start is None else start.shape[-2] for start in known]
        found: list[Any] = list(known)
        for goes_on in (False, True):
            mine = [
                place
                for place, start in enumerate(known)
                if (start is not None) == goes_on and len(given[place]) > have[place]
            ]
            for part in passes([len(given[place]) for place in mine]):
                places = [mine[i] for i in part]
                rest = [given[place][have[place] :] for place in places]
                ids, lengths = self._tensor(padded(rest)), [len(tokens) for tokens in rest]
                self.computed_tokens += sum(lengths)
                starts = [known[place] for place in places]
                made = (
                    self.slots.extend(starts, ids, lengths) if goes_on else self.slots.prefill(ids, lengths)
                )
                for place, start in zip(places, made, strict=True):
                    found[place] = start
        return found

    def _seat(self, queued: Queued, row: int) -> None:
        request, given = queued.request, queued.given
        sampling, prefix = request.sampling, request.prefix
        name = (request.visit, request.prompt.index, request.sample, *request.path)
        size = sampling.max_new_tokens
        # A token's random number depends on its index in the whole answer, prefix included.
        seed = self.settings.seed if request.seed is None else request.seed
        uniform = stream(seed, request.purpose, *name).random(len(prefix) + size)
        self.uniform[row, :size] = uniform[len(prefix) :]
        self.token[row], self.position[row], self.count[row], self.limit[row] = (
            given[-1],
            len(given) - 1,
            0,
            size,
        )
        self.temperature[row], self.top_p[row], self.top_k[row] = (
            sampling.temperature,
            sampling.top_p,
            sampling.top_k,
        )
        self.forking[row] = np.nan if sampling.forking_temperature is None else sampling.forking_temperature
        self.threshold[row] = sampling.entropy_threshold
        stops = StopStrings(self.detokenizer, sampling.stop, prefix) if sampling.stop else None
        if row == len(self.request):
            self.request.append(request)
            self.stops.append(stops)
        else:
            self.request[row], self.stops[row] = request, stops

    def _stop_strings(self, tokens: np.ndarray) -> np.ndarray:
        ends = np.zeros(self.n, dtype=np.bool_)
        for row, stop in enumerate(self.stops):
            if stop is not None:
                ends[row] = stop.ends(int(tokens[row]))
        return ends

    def _completion(self, row: int, finish: Finish) -> Completion:
        request, count = self.request[row], self.count[row]
        tokens = self.tokens[row, :count].copy()
        logp, log_kept, entropy = self.numbers[row, :count].T.copy()
        if not np.isfinite(logp).all():
            raise UserError(
                f"the model gives no finite log-probs after prompt {request.prompt.index}; its weights "
                "are damaged: lower "
                "learning_rate, or go back to an earlier checkpoint"
            )
        answer = [*request.prefix.tolist(), *tokens.tolist()]
        return Completion(
            request=request,
            tokens=tokens,
            logp=logp,
            log_kept=log_kept,
            entropy=entropy,
            version=self.versions[row, :count].copy(),
            finish=finish,
            text=self.detokenizer.text(answer),
            alternatives=self.others[row, :count].copy() if self.settings.alternatives else None,
            alternatives_logp=self.others_logp[row, :count].copy() if self.settings.alternatives else None,
            kept=self.kept[row, :count].copy() if records(request, self.settings) else None,
        )

    def _compact(self, gaps: np.ndarray) -> None:
        """The last rows move into the gaps, which are in ascending order."""
        left = self.n - len(gaps)
        stays = np.ones(self.n, dtype=np.bool_)
        stays[gaps] = False
        target, source = gaps[gaps < left], left + np.flatnonzero(stays[left:])
        if len(source):
            self.slots.move(self._tensor(source), self._tensor(target), int(self.position[source].max()))
            for name in self.columns:
                array = getattr(self, name)
                array[target] = array[source]
            for into, out in zip(target, source, strict=True):
                self.request[into], self.stops[into] = self.request[out], self.stops[out]
        del self.request[left:], self.stops[left:]
        self.n = left

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.slots.device)


def records(request: Request, settings: Settings) -> bool:
    """Whether the tokens that could be drawn are recorded: no more than there is room for."""
    return 0 < request.sampling.top_k <= settings.kept


def nothing(request: Request, settings: Settings, detokenizer: Detokenizer) -> Completion:
    """The completion of a request that was aborted before its first token."""
    floats, tokens = np.zeros(0, dtype=np.float32), no_tokens()
    others = settings.alternatives
    return Completion(
        request=request,
        tokens=tokens,
        logp=floats,
        log_kept=floats,
        entropy=floats,
        version=tokens,
        finish="abort",
        text=detokenizer.text(request.prefix.tolist()),
        alternatives=np.zeros((0, others), dtype=np.int32) if others else None,
        alternatives_logp=np.zeros((0, others), dtype=np.float32) if others else None,
        kept=np.zeros((0, settings.kept), dtype=np.int32) if records(request, settings) else None,
    )


def padded(rows: list[Tokens]) -> np.ndarray:
    """[S, L] with zeros on the right."""
    ids = np.zeros((len(rows), max(len(tokens) for tokens in rows)), dtype=np.int64)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
    return ids


def passes(lengths: list[int]) -> list[list[int]]:
    """Indices of the sequences of each prefill pass, sorted by length so that there is little padding;
    sequences without tokens need no pass."""
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if lengths[place]:
            if not found or lengths[place] * (len(found[-1]) + 1) > PREFILL_TOKENS:
                found.append([])
            found[-1].append(place)
    return found
