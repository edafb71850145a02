"""An OpenAI-compatible server (vLLM, llama.cpp): short replies, with probabilities of their first token."""

import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from menon.errors import UserError
from menon.http import JsonServer, ServerFailed
from menon.processes.deadline import Call

Reply = tuple[str, Mapping[str, float]] | Exception

SHOWN = 300
"""Characters shown of an answer that cannot be used."""


@dataclass(frozen=True)
class OpenAIClient:
    """Prompts -> (text, probability by text of the likeliest first tokens), at temperature 0.

    Each prompt is one `POST {url}/chat/completions`; `url` ends where the API begins
    (`http://127.0.0.1:8000/v1`). The key is read from the environment variable `key_variable`, so that it
    stands in no file of the run. A failed prompt is asked again up to `retries` times if another attempt may
    succeed (no connection, time-out, overload). A prompt that fails for good gets an Exception in place of
    its reply.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    max_new_tokens: int = 4
    parallel: int = 16
    """Prompts that are asked at the same time."""
    retries: int = 3
    time_limit: float = 60.0
    """Seconds for one call of the server."""
    pause: float = 0.5
    """Seconds before the second attempt; the pause doubles before each further one."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"'{self.url}' is no server's address; write one like http://127.0.0.1:8000/v1")
        if self.parallel < 1 or self.retries < 0 or not self.time_limit > 0:
            raise UserError("a server's parallel must be at least 1, retries at least 0, time_limit positive")

    def __call__(self, prompts: Sequence[str]) -> list[Reply]:
        room = threading.Semaphore(self.parallel)
        with JsonServer(self.url, self.time_limit, self.retries, self.pause) as server:
            calls = [Call(self._ask, server, prompt, room=room) for prompt in prompts]
            return [call.result() for call in calls]

    def _ask(self, server: JsonServer, prompt: str) -> Reply:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": self.max_new_tokens,
            "logprobs": True,
            "top_logprobs": 20,
        }
        key = os.environ.get(self.key_variable)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            return reply_of(server.post(body, "chat/completions", headers))
        except Exception as error:  # of this prompt alone
            return error


def reply_of(answer: Any) -> tuple[str, dict[str, float]]:
    """The text of the first choice, and its first token's probabilities where the server gives them."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise ServerFailed(f"the server answered without choices: {str(answer)[:SHOWN]}") from None
    if not isinstance(text, str):
        raise ServerFailed(f"the server answered without text: {str(choice)[:SHOWN]}")
    try:
        tokens = choice["logprobs"]["content"]
        first = tokens[0]
        pairs = [*first.get("top_logprobs", []), first]
        logps = {str(pair["token"]): float(pair["logprob"]) for pair in pairs}
        return text, {token: math.exp(min(0.0, logp)) for token, logp in logps.items() if logp == logp}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        return text, {}
