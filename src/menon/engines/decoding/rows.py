"""The sequences that are being written, one a row: what each draws with, and what was written."""

from typing import Any

import numpy as np

from menon.engines.decoding.request_queue import Queued
from menon.engines.decoding.settings import Settings
from menon.engines.decoding.stop_strings import Detokenizer, StopStrings
from menon.errors import UserError
from menon.streams import stream
from menon.types import Completion, Finish, Request, no_tokens


class Rows:
    """Row i of every array is slot i; the first n are live."""

    def __init__(self, settings: Settings, detokenizer: Detokenizer) -> None:
        self.settings, self.detokenizer = settings, detokenizer
        self.n = 0
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

    def reserve(self, places: int, new_tokens: int) -> None:
        """Makes room for so many rows, with up to `new_tokens` new tokens each. What is there is kept."""
        rows, size = self.tokens.shape
        more = (0, max(0, places - rows)), (0, max(0, new_tokens - size)), (0, 0)
        if more[0][1] or more[1][1]:
            for name in self.columns:
                value = getattr(self, name)
                setattr(self, name, np.pad(value, more[: value.ndim]))

    def seat(self, queued: Queued, row: int) -> None:
        """Gives a row to a request: what it draws with, and no token yet."""
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

    def write(
        self,
        version: int,
        token: np.ndarray,
        numbers: np.ndarray,
        kept: np.ndarray | int,
        others: tuple[np.ndarray, np.ndarray] | None,
    ) -> None:
        """Adds a token to each live row: token [n], numbers [n, 3]; where they are recorded, what could be
        drawn [n, k], and `others`, the most probable tokens and their log-probs, [n, k] each."""
        n, rows = self.n, np.arange(self.n)
        at = self.count[:n]
        if self.settings.kept:
            self.kept[rows, at] = kept
        if others is not None:
            self.others[rows, at], self.others_logp[rows, at] = others
        self.tokens[rows, at], self.versions[rows, at], self.numbers[rows, at] = token, version, numbers
        self.token[:n] = token
        self.position[:n] += 1
        self.count[:n] += 1

    def stop_strings(self, tokens: np.ndarray) -> np.ndarray:
        """[n] whether these next tokens complete a stop string."""
        ends = np.zeros(self.n, dtype=np.bool_)
        for row, stop in enumerate(self.stops):
            if stop is not None:
                ends[row] = stop.ends(int(tokens[row]))
        return ends

    def completion(self, row: int, finish: Finish) -> Completion:
        """What a row has so far. UserError if a log-prob is not finite."""
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

    def move(self, source: np.ndarray, target: np.ndarray) -> None:
        """Row source[i] takes the place of row target[i]."""
        for name in self.columns:
            array = getattr(self, name)
            array[target] = array[source]
        for into, out in zip(target, source, strict=True):
            self.request[into], self.stops[into] = self.request[out], self.stops[out]

    def cut(self, n: int) -> None:
        """Only the first n stay live."""
        del self.request[n:], self.stops[n:]
        self.n = n


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
