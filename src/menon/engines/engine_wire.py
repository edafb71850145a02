"""Requests and answers between a sampler and an engine in another process, as JSON and raw bytes.

That process belongs to another environment, so nothing is pickled: both ends need numpy alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menon.types import Finish, Floats, Tokens

ASKED, ABORT, CALL = "asked", "abort", "call"
"""Messages to an engine: requests; numbers of requests that are no longer wanted; a call of one of its
functions, with its arguments, which is answered by RETURNED."""
WRITTEN, RETURNED = "written", "returned"
"""Messages from an engine: answers; what a call gave."""


@dataclass(frozen=True)
class Asked:
    """A request as an engine sees it."""

    number: int
    seed: int
    """Of its random stream, 0 to 2^63 - 1."""
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: tuple[str, ...]
    prefix: int
    """How many of the tokens are of its answer."""
    tokens: Tokens
    """[P + K] the prompt, and the answer's prefix."""


@dataclass(frozen=True)
class Answer:
    """What an engine wrote; arrays are [T]."""

    number: int
    finish: Finish
    tokens: Tokens
    logp: Floats
    version: Tokens
    """Version of the weights that wrote each token."""


def pack_asked(requests: Sequence[Asked]) -> tuple[list[Any], bytes]:
    rows = [
        [r.number, r.seed, r.max_new_tokens, r.temperature, r.top_p, r.top_k, list(r.stop), r.prefix]
        for r in requests
    ]
    lengths = [len(request.tokens) for request in requests]
    return [ASKED, rows, lengths], _bytes((request.tokens for request in requests), np.int32)


def unpack_asked(data: Sequence[Any], body: bytes | memoryview) -> list[Asked]:
    _, rows, lengths = data
    tokens = np.split(np.frombuffer(body, np.int32), np.cumsum(lengths)[:-1])
    found = []
    for (number, seed, new, temperature, top_p, top_k, stop, prefix), own in zip(rows, tokens, strict=False):
        found.append(Asked(number, seed, new, temperature, top_p, top_k, tuple(stop), prefix, own))
    return found


def pack_answers(answers: Sequence[Answer]) -> tuple[list[Any], bytes]:
    rows = [[answer.number, answer.finish, len(answer.tokens)] for answer in answers]
    parts = ("tokens", np.int32), ("logp", np.float32), ("version", np.int32)
    body = b"".join(_bytes((getattr(a, name) for a in answers), dtype) for name, dtype in parts)
    return [WRITTEN, rows], body


def unpack_answers(data: Sequence[Any], body: bytes | memoryview) -> list[Answer]:
    rows = data[1]
    cuts, total = np.cumsum([row[2] for row in rows])[:-1], sum(row[2] for row in rows)
    tokens = np.split(np.frombuffer(body, np.int32, total), cuts)
    logp = np.split(np.frombuffer(body, np.float32, total, 4 * total), cuts)
    version = np.split(np.frombuffer(body, np.int32, total, 8 * total), cuts)
    return [Answer(row[0], row[1], tokens[i], logp[i], version[i]) for i, row in enumerate(rows)]


def _bytes(arrays: Iterable[NDArray[Any]], dtype: Any) -> bytes:
    return b"".join(np.ascontiguousarray(array, dtype).tobytes() for array in arrays)
