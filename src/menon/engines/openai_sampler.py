"""A sampler that asks a server for text: any with `/v1/completions` that takes token ids and gives token ids
and log-probs (vLLM does with `return_token_ids`)."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from menon.engines.asking import Asking
from menon.engines.decoding.stop_strings import Detokenizer, StopStrings
from menon.engines.engine_stream import seed_of
from menon.engines.request_checks import Check
from menon.errors import UserError
from menon.http import JsonServer, ServerFailed
from menon.limit import Limit
from menon.types import Completion, Finish, Request

TIME_LIMIT = 1800.0
"""Seconds for one answer."""
RETRIES = 3
LONGEST = 2**26
"""Bytes of an answer: token ids and log-probs of about 10^6 tokens."""
NO_IDS = (
    "gives no token ids or no log-probs with return_token_ids and logprobs; vLLM gives them, started as "
    "docs/vllm.md says"
)


@dataclass(frozen=True)
class Written:
    """What a server wrote."""

    tokens: list[int]
    logp: list[float]
    finish: str


class OpenAISampler:
    """A `Sampler` over a server. `url` ends where its API begins; `parallel` requests are under way at once.

    Log-probs are at the sampling temperature only if the server gives them so (`probe`). The weights are the
    server's; a channel that changes them pauses this sampler, so that no answer has tokens of two versions.
    UserError where the server does not answer as it must.
    """

    version = 0
    gives: frozenset[str] = frozenset()
    stamp: int | None = None
    """The version that tokens carry, where that is not `version`: the newest, before it is proved."""

    def __init__(
        self,
        url: str,
        model: str,
        detokenizer: Detokenizer,
        ends: Sequence[int],
        check: Check,
        *,
        context: Limit | None = None,
        key: str = "",
        seed: int = 0,
        parallel: int = 64,
    ) -> None:
        self.url, self.model, self.detokenizer, self.ends = url.rstrip("/"), model, detokenizer, list(ends)
        self.check, self.context, self.seed = check, context, seed
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.server = JsonServer(self.url, TIME_LIMIT, RETRIES, longest=LONGEST)
        self.server.__enter__()
        self.threads = ThreadPoolExecutor(parallel, "menon-ask")
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._turn = threading.Condition()
        self._writing, self._paused = 0, False

    def open(self, keep: bool = False) -> "OpenAIStream":
        """See `rollout.protocols.Sampler`. What is kept is the server's choice."""
        return OpenAIStream(self)

    def keep(self, folder: "tempfile.TemporaryDirectory[str]") -> None:
        """Keeps a folder that the server reads from, until `close`."""
        self._folder = folder

    def close(self) -> None:
        """Ends the connections."""
        self.threads.shutdown(cancel_futures=True)
        self.server.__exit__()
        if self._folder is not None:
            self._folder.cleanup()

    def pause(self) -> None:
        """Waits until no request is under way, and lets none begin until `resume`."""
        with self._turn:
            self._paused = True
            self._turn.wait_for(lambda: self._writing == 0)

    def resume(self) -> None:
        with self._turn:
            self._paused = False
            self._turn.notify_all()

    def write(self, request: Request) -> Completion:
        """One answer."""
        with self._turn:
            self._turn.wait_for(lambda: not self._paused)
            self._writing += 1
        try:
            sampling = request.sampling
            given = [*map(int, request.prompt.tokens), *map(int, request.prefix)]
            written = self.post(
                given,
                sampling.max_new_tokens,
                sampling.temperature,
                seed=seed_of(request, self.seed),
                stop=sampling.stop,
            )
            return self.completion(request, written)
        finally:
            with self._turn:
                self._writing -= 1
                self._turn.notify_all()

    def post(
        self, tokens: list[int], new: int, temperature: float, seed: int = 0, stop: Sequence[str] = ()
    ) -> Written:
        """What the server writes after these tokens."""
        body = {
            **({"model": self.model} if self.model else {}),
            "prompt": tokens,
            "max_tokens": new,
            "temperature": temperature,
            "top_p": 1.0,
            "top_k": 0,  # a server may take another from the model's generation config
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "seed": seed,
            "logprobs": 1,
            "return_token_ids": True,
            "stop_token_ids": self.ends,
            **({"stop": list(stop), "include_stop_str_in_output": True} if stop else {}),
        }
        try:
            return written_in(self.url, self.server.post(body, "completions", self.headers))
        except ServerFailed as error:
            raise UserError(f"the sampler's server fails: {error}") from error

    def completion(self, request: Request, written: Written) -> Completion:
        """The answer, which ends where its first stop string does."""
        count, finish = len(written.tokens), finish_of(written.finish)
        if request.sampling.stop:
            watch = StopStrings(self.detokenizer, request.sampling.stop, request.prefix)
            ended = next((place for place, token in enumerate(written.tokens) if watch.ends(token)), None)
            if ended is not None:
                count, finish = ended + 1, "stop"
        tokens = written.tokens[:count]
        return Completion(
            request=request,
            tokens=np.array(tokens, np.int32),
            logp=np.array(written.logp[:count], np.float32),
            log_kept=None,
            entropy=None,
            version=np.full(count, self.version if self.stamp is None else self.stamp, np.int32),
            finish=finish,
            text=self.detokenizer.text([*map(int, request.prefix), *tokens]),
        )

    def probe(self, tokens: list[int], temperature: float) -> None:
        """Asks for two short answers before a run. UserError where the server does not give what a run needs:
        token ids, log-probs, and those at the sampling temperature."""
        plain = self.post(tokens, 1, 1.0, seed=1)
        if temperature in (0.0, 1.0):
            return
        for seed in range(1, 5):
            plain, other = (self.post(tokens, 1, each, seed=seed) for each in (1.0, temperature))
            if plain.tokens == other.tokens and abs(plain.logp[0] - other.logp[0]) > 1e-6:
                return
        raise UserError(
            f"{self.url} gives log-probs at temperature 1, whatever the temperature is, and this run samples "
            f"at {temperature:g}; start vLLM with --logprobs-mode processed_logprobs, or set temperature=1"
        )


def written_in(url: str, answer: Any) -> Written:
    """The first choice of an answer. UserError if it lacks token ids or log-probs."""
    try:
        choice = answer["choices"][0]
        tokens = [int(token) for token in choice["token_ids"]]
        logp = [float(value) for value in choice["logprobs"]["token_logprobs"]]
        finish = str(choice["finish_reason"])
    except (KeyError, IndexError, TypeError, ValueError):
        raise UserError(f"{url} {NO_IDS}") from None
    if len(tokens) != len(logp):
        raise UserError(f"{url} gave {len(tokens)} token ids and {len(logp)} log-probs for one answer")
    return Written(tokens, logp, finish)


def finish_of(reason: str) -> Finish:
    return "stop" if reason == "stop" else "length" if reason == "length" else "abort"


class OpenAIStream(Asking[Completion]):
    """See `rollout.protocols.Stream`. What is abandoned runs to its end at the server, and is not read."""

    def __init__(self, sampler: OpenAISampler) -> None:
        super().__init__()
        self.sampler = sampler
        self.owed = 0
        """Answers that are still to come."""

    def __iter__(self) -> Iterator[Completion]:
        while self.owed or self.late:
            event = self.events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                self.late -= 1
            else:
                self.owed -= 1
                yield event

    def send(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self.sampler.check(request)
        self.owed += len(requests)
        for request in requests:
            self.sampler.threads.submit(self._work, request)

    def _work(self, request: Request) -> None:
        if self.open:
            try:
                self.events.put(self.sampler.write(request))
            except BaseException as error:
                self.events.put(error)
