"""An OpenAI-compatible server (vLLM, llama.cpp, a hosted one), asked for short replies with their first token's probabilities.

The standard library's HTTP is enough: one POST per prompt, several at a time.
"""

import json
import math
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from menon.deadline import Call
from menon.errors import UserError

Reply = tuple[str, Mapping[str, float]] | Exception

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers of a server that may be other ones a little later."""
SHOWN = 300
"""Characters of a server's complaint."""


class ServerFailed(Exception):
    """No usable reply; the message says why."""


@dataclass(frozen=True)
class OpenAIClient:
    """Prompts -> (text, probability by text of the likeliest first tokens), by `POST {url}/chat/completions` at temperature 0.

    `url` ends where the API begins (`http://127.0.0.1:8000/v1`). The key is read from the environment variable
    `key_variable`, so that it stands in no file of the run. A prompt is asked again up to `retries` times where another answer
    is possible (no connection, time-out, overload); one that fails for good gets an Exception in place of its reply.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    max_new_tokens: int = 4
    parallel: int = 16
    """Prompts that are asked at the same time."""
    retries: int = 3
    time_limit: float = 60.0
    """Seconds for one answer of the server."""
    pause: float = 0.5
    """Seconds before the second try, twice as many before each further one."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(
                f"'{self.url}' is no address of a server; write one like http://127.0.0.1:8000/v1"
            )
        if self.parallel < 1 or self.retries < 0 or not self.time_limit > 0:
            raise UserError("a server's parallel must be at least 1, retries at least 0, time_limit positive")

    def __call__(self, prompts: Sequence[str]) -> list[Reply]:
        room = threading.Semaphore(self.parallel)
        return [call.result() for call in [Call(self._ask, prompt, room=room) for prompt in prompts]]

    def _ask(self, prompt: str) -> Reply:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": self.max_new_tokens,
            "logprobs": True,
            "top_logprobs": 20,
        }
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(
                    self.pause * 2 ** (attempt - 1) * random.uniform(1, 1.2)
                )  # or all prompts come back at once
            try:
                return reply_of(self._post(body))
            except urllib.error.HTTPError as error:
                failure = ServerFailed(f"{self.url} answered {error.code}: {complaint(error)}")
                if error.code not in AGAIN:
                    return failure
            except (OSError, ValueError) as error:  # no connection, time-out, no JSON
                failure = ServerFailed(
                    f"{self.url} gave no answer: {getattr(error, 'reason', None) or error}"
                )
            except ServerFailed as error:
                return error
        return failure

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=self.time_limit) as response:
            return json.loads(response.read())


def complaint(error: urllib.error.HTTPError) -> str:
    """What the server says of it, in one line."""
    with error:
        text = error.read(10_000).decode("utf-8", "replace")
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"]["message"])
    text = " ".join(text.split()) or str(error.reason)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


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
        return text, {str(pair["token"]): math.exp(min(0.0, pair["logprob"])) for pair in pairs}
    except (KeyError, IndexError, TypeError, AttributeError):
        return text, {}
