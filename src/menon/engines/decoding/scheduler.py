"""Continuous batching of the requests of one stream, or of one process's part of them; `Slots` compute the
tokens.

Finished sequences leave their slots at once and queued requests take their place; only live rows are
computed. Each distinct context (prompt plus prefix) is computed once for all queued requests that have it.
Its last token is left to the first decoding step, in which every request feeds it anyway, so that prefill
needs no logits.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from menon.engines.decoding.draw import draw, kept_tokens, most_probable, temperature_by_entropy
from menon.engines.decoding.prefix_cache import PrefixCache
from menon.engines.decoding.request_queue import Queued, RequestQueue
from menon.engines.decoding.rows import Rows, nothing
from menon.engines.decoding.settings import Settings
from menon.engines.decoding.slots import Slots
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.request_checks import most_tokens
from menon.types import Completion, Request, Tokens

PREFILL_TOKENS = 16384
"""Most padded tokens of one prefill pass."""


class Scheduler:
    """The requests that are queued, and those that are live, in the rows of its slots."""

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
        self.rows = Rows(settings, detokenizer)
        self.places = self.most = 0
        self.done = np.zeros(0, dtype=np.int64)
        """Rows whose sequences are finished."""

    def ask(self, requests: Sequence[Request], most: int) -> None:
        """Queues requests, also while others are being written. From now on no request gets a slot while
        `most` sequences are live."""
        self.queue.add(requests)
        self.most = most
        live = self.rows.n - len(self.done)
        places = most if self.settings.fixed else min(most, live + len(self.queue))
        if places > self.places:
            # Growing copies all keys and values, so it at least doubles the room.
            self.places = max(places, min(most, 2 * self.places))
            self.slots.grow(self.places, int(self.rows.position[: self.rows.n].max(initial=0)))
        self.slots.expect(max(map(most_tokens, requests), default=0))
        new_tokens = max((request.sampling.max_new_tokens for request in requests), default=0)
        self.rows.reserve(self.places, new_tokens)

    @property
    def size(self) -> int:
        """The number of sequences that are live or queued."""
        return self.rows.n - len(self.done) + len(self.queue)

    def step(self, version: int) -> list[Completion]:
        """Gives slots to queued requests and writes one token for each live sequence. Returns those that are
        finished. A new version means new weights."""
        if version != self.version:
            if self.version is not None:
                self.slots.refresh()
            self.shared_prefix.clear()
            self.version = version
        self._change()
        rows, n = self.rows, self.rows.n
        logits = self.slots.decode(rows.token[:n], rows.position[:n])
        self.computed_tokens += n
        token, numbers, kept = self._draw(logits)
        others = self._alternatives(logits[:n]) if self.settings.alternatives else None
        rows.write(version, token, numbers, kept, others)
        stopped = (token[:, None] == self.settings.end_tokens).any(1) | rows.stop_strings(token)
        self.done = np.flatnonzero(stopped | (rows.count[:n] >= rows.limit[:n]))
        if self.prefixes is not None:
            self._keep(self.prefixes.at(version))
        return [rows.completion(row, "stop" if stopped[row] else "length") for row in self.done.tolist()]

    def abort(self) -> list[Completion]:
        """Ends all requests: what was written for those that are live, and nothing for those that are
        queued. All slots are free then."""
        live = sorted({*range(self.rows.n)} - {*self.done.tolist()})
        written = [self.rows.completion(row, "abort") for row in live]
        queued = [one.request for one in self.queue.take(len(self.queue))]
        self.rows.cut(0)
        self.done = self.done[:0]
        self.shared_prefix.clear()
        return [*written, *(nothing(request, self.settings, self.detokenizer) for request in queued)]

    def _keep(self, prefixes: PrefixCache) -> None:
        """Adds finished sequences to the prefix cache. The keys and values of all their tokens but the last
        are known. A sequence during which the weights changed is not added, because its keys and values are
        of no single version."""
        rows = self.rows
        for row in self.done.tolist():
            request, length = rows.request[row], int(rows.position[row])
            if request.last or rows.versions[row, 0] != self.version:
                continue
            start = self.slots.start(row, length)
            if start is not None:
                tokens = np.concatenate(
                    [request.prompt.tokens, request.prefix, rows.tokens[row, : rows.count[row] - 1]]
                )
                prefixes.add(tokens, start)

    def _draw(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray | int]:
        """Tokens [n], their numbers [n, 3], and what could be drawn [n, k]; `logits` may have rows beyond the
        live ones."""
        n, rows = len(logits), self.rows
        uniform = rows.uniform[np.arange(n), np.minimum(rows.count[:n], rows.uniform.shape[1] - 1)]
        settings = (
            uniform,
            rows.top_p[:n],
            rows.top_k[:n],
            rows.temperature[:n],
            rows.forking[:n],
            rows.threshold[:n],
        )
        number, top_p, top_k, *by_entropy = (torch.from_numpy(value) for value in settings)
        with torch.inference_mode():
            drawn = draw(logits, number, temperature_by_entropy(logits, *by_entropy), top_p, top_k)
            numbers = torch.stack((drawn.logp, drawn.log_kept, drawn.entropy), -1)
            kept: np.ndarray | int = -1
            if self.settings.kept and drawn.mask is not None:
                kept = kept_tokens(drawn.mask, self.settings.kept).cpu().numpy()[: rows.n]
            return drawn.token.cpu().numpy()[: rows.n], numbers.cpu().numpy()[: rows.n], kept

    def _alternatives(self, logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """[n, k] the most probable tokens, and their log-probs."""
        n, rows = len(logits), self.rows
        settings = (rows.temperature[:n], rows.forking[:n], rows.threshold[:n])
        with torch.inference_mode():
            temperature = temperature_by_entropy(logits, *(torch.from_numpy(value) for value in settings))
            tokens, logp = most_probable(logits, temperature, self.settings.alternatives)
        return tokens.cpu().numpy(), logp.cpu().numpy()

    def _change(self) -> None:
        """Queued requests take the rows of finished ones and those still free; then the last rows fill the
        gaps that remain."""
        count = min(len(self.queue), max(0, self.most - (self.rows.n - len(self.done))))
        free = [*self.done.tolist(), *range(self.rows.n, self.places)][:count]
        entering = self.queue.take(len(free))
        gaps = self.done[len(free) :]
        self.rows.n += max(0, len(free) - len(self.done))
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
            self.rows.seat(queued, row)
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

    def _compact(self, gaps: np.ndarray) -> None:
        """The last rows move into the gaps, which are in ascending order."""
        rows = self.rows
        left = rows.n - len(gaps)
        stays = np.ones(rows.n, dtype=np.bool_)
        stays[gaps] = False
        target, source = gaps[gaps < left], left + np.flatnonzero(stays[left:])
        if len(source):
            self.slots.move(self._tensor(source), self._tensor(target), int(rows.position[source].max()))
            rows.move(source, target)
        rows.cut(left)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.slots.device)


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
