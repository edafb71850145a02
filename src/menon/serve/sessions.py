"""What an agent asked and was answered, recorded as tokens and log-probs, in order; and read back as
sequences that can be learned from."""

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon.errors import UserError
from menon.record import disk

if TYPE_CHECKING:
    from menon.openai_api.replies import Reply

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class Sessions:
    """A folder with one file of JSON lines for each session, one line for each answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = disk.own_folder(folder)
        self.turn = threading.Lock()

    def path(self, name: str) -> Path:
        """The file of a session. UserError for a name that is none."""
        if not NAME.fullmatch(name):
            raise UserError(
                "the name of a session has letters, digits, dots, dashes and underscores, at most 128"
            )
        return self.folder / f"{name}.jsonl"

    def add(self, name: str, reply: "Reply", version: int) -> None:
        """Records a whole answer, written by weights of this version; of a request with several, each on a
        line of its own. UserError: there is no room on the disk, or the folder is gone."""
        lines = []
        for index, (request, choice) in enumerate(zip(reply.asked.requests, reply.choices, strict=True)):
            line = {
                "time": time.time(),
                "id": reply.id,
                "choice": index,
                "version": version,
                "messages": reply.asked.messages,
                "prompt": None if reply.asked.chat else request.prompt.text,
                "text": choice.text,
                "finish": choice.finish,
                "temperature": request.sampling.temperature,
                "top_p": request.sampling.top_p,
                "top_k": request.sampling.top_k,
                "seed": request.seed,
                "prompt_token_ids": request.prompt.tokens.tolist(),
                "token_ids": [piece.token for piece in choice.pieces],
                "logprobs": [piece.logp for piece in choice.pieces],
                "entropies": [piece.entropy for piece in choice.pieces],
            }
            lines.append(json.dumps(line, allow_nan=False) + "\n")
        try:
            with self.turn:
                disk.append(self.path(name), "".join(lines).encode())
        except OSError as error:
            raise UserError(f"session {name} cannot be recorded ({disk.cause(error)})") from None

    def read(self, name: str) -> dict[str, Any]:
        """The session as `sequences_of` has it. UserError: there is none of this name."""
        path = self.path(name)
        if not path.is_file():
            raise UserError(f"there is no session {name} here")
        sequences, breaks = sequences_of(disk.read_lines(path))
        return {"session": name, "sequences": sequences, "breaks": breaks}


def sequences_of(lines: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The answers of a session as sequences of tokens, and where one could not be continued.

    An answer goes on in a sequence whose tokens its prompt begins with, exactly; what its prompt adds is
    given, not written by the policy (`is_action` False, `logp` 0). A prompt that begins with no sequence
    starts a new one. That is a *break* if it repeats at least the first half of one: the agent sent the text
    back, and as tokens it became others (or the agent has changed what was said). Then `agree` counts the
    tokens in which both agree, and `expected` and `found` are the tokens after them.
    """
    sequences: list[dict[str, Any]] = []
    breaks: list[dict[str, Any]] = []
    for place, line in enumerate(lines):
        prompt, new = line["prompt_token_ids"], line["token_ids"]
        whole = [one for one in sequences if prompt[: len(one["tokens"])] == one["tokens"]]
        if whole:
            sequence = max(whole, key=lambda one: len(one["tokens"]))
        else:
            near = max(sequences, key=lambda one: common(one["tokens"], prompt), default=None)
            if near is not None and 2 * (agree := common(near["tokens"], prompt)) >= len(near["tokens"]):
                breaks.append(break_at(place, sequences.index(near), agree, near["tokens"], prompt))
            sequence = {"tokens": [], "is_action": [], "logp": [], "answers": []}
            sequences.append(sequence)
        given = prompt[len(sequence["tokens"]) :]
        sequence["tokens"] += [*given, *new]
        sequence["is_action"] += [False] * len(given) + [True] * len(new)
        sequence["logp"] += [0.0] * len(given) + line["logprobs"]
        sequence["answers"].append(place)
    return sequences, breaks


def break_at(place: int, sequence: int, agree: int, had: Sequence[int], got: Sequence[int]) -> dict[str, Any]:
    return {
        "answer": place,
        "sequence": sequence,
        "agree": agree,
        "expected": list(had[agree : agree + 8]),
        "found": list(got[agree : agree + 8]),
    }


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens at their beginning are the same."""
    differ: Iterator[int] = (place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(differ, min(len(a), len(b)))
