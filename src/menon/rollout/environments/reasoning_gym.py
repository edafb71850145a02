"""Tasks of the library reasoning-gym: an unlimited number of generated questions, each scored by its data
set."""

import hashlib
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from menon.errors import UserError, pip_install
from menon.thought import after_thinking
from menon.types import Prompt

ENDLESS = 10**6
TRIES = 40
"""Questions that are made for each one that is wanted; a small data set repeats itself."""
HELD_OUT_PERCENT = 10


@dataclass
class ReasoningGym:
    """One turn: the answer is scored by the data set, from 0 to 1, and that is the reward.

    The answer is the text in the last `<answer>` after the thought, or the last line if there is none.
    `settings` are those of the data set (`reasoning_gym.create_dataset(dataset, **settings)`). A hash of the
    question decides whether it is held out.
    """

    dataset: str = ""
    """Name of the data set."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the data set."""
    kind: Literal["reasoning_gym"] = "reasoning_gym"
    entry: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)
    source: Any = field(default=None, init=False, repr=False, compare=False)
    asked: str = field(default="", init=False, repr=False, compare=False)
    """The prompt, which may have opened the thought."""

    def __post_init__(self) -> None:
        self.source = made(self.dataset, self.settings, seed=0, size=1)

    def reset(self, prompt: Prompt, seed: int) -> str:
        self.entry, self.asked = prompt.columns.get("entry"), prompt.text
        if self.entry is None:
            raise UserError(
                "this question is not one of reasoning-gym; leave data and task out, so that it asks its own"
            )
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        said = after_thinking(self.asked, text) or ""
        found = import_module("reasoning_gym.utils").extract_answer(said)
        lines = said.strip().splitlines()
        answer = found if found is not None else lines[-1].strip() if lines else None
        return "", float(self.source.score_answer(answer, self.entry)), True

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """Up to `n` different questions of one split, fewer where the data set has no more."""
        made_here = made(self.dataset, self.settings, seed, TRIES * n)
        rows: dict[str, dict[str, Any]] = {}
        for place in range(TRIES * n):
            entry = made_here[place]
            question = str(entry["question"])
            if split_of(question) == split:
                rows.setdefault(
                    question, {"question": question, "answer": str(entry["answer"]), "entry": entry}
                )
                if len(rows) == n:
                    break
        return list(rows.values())

    def room(self, split: str) -> int:
        return ENDLESS


def made(name: str, settings: dict[str, Any], seed: int, size: int) -> Any:
    """A data set; UserError where the library is missing, or has no such data set or settings."""
    try:
        library = import_module("reasoning_gym")
        known = import_module("reasoning_gym.factory").DATASETS
    except ImportError as error:
        raise UserError(
            f"the environment reasoning_gym needs a package that is missing ({error.name}); "
            f"install it by {pip_install('reasoning-gym')}"
        ) from error
    if name not in known:
        near = ", ".join(sorted(known)[:8])
        raise UserError(
            f"reasoning-gym has no data set '{name}'; set environment.dataset to one of its {len(known)}, "
            f"like {near}"
        )
    try:
        return library.create_dataset(name, seed=seed, size=size, **settings)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"reasoning-gym refuses the settings of '{name}': {error}") from error


def split_of(question: str) -> str:
    digest = hashlib.blake2b(question.encode(), digest_size=8).digest()
    return "heldout" if int.from_bytes(digest, "big") % 100 < HELD_OUT_PERCENT else "train"
