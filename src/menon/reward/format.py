"""Rewards for the form of an answer: thought and answer in their tags."""

import re
from dataclasses import dataclass
from typing import Literal

from menon.types import Verdict

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_WHOLE = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)


@dataclass(frozen=True)
class Format:
    """The answer is `<think>...</think> <answer>...</answer>`, each tag once and nothing around them. 1 if it
    is, else 0 (docs/numerics.md, 13.3).

    Where the prompt ends with `<think>` the answer need not open it. Its acc is unknown: form is not
    correctness.
    """

    kind: Literal["format"] = "format"

    def __call__(self, prompt: str, completion: str, answer: str = "", **columns: object) -> Verdict:
        return Verdict(float(well_formed(prompt, completion)), float("nan"))


@dataclass(frozen=True)
class TagCount:
    """A quarter for each of the four tags that is there exactly once (open-r1's `tag_count`)."""

    kind: Literal["tag_count"] = "tag_count"

    def __call__(self, prompt: str, completion: str, answer: str = "", **columns: object) -> Verdict:
        text = opened(prompt, completion)
        return Verdict(sum(text.count(tag) == 1 for tag in TAGS) / len(TAGS), float("nan"))


def well_formed(prompt: str, completion: str) -> bool:
    text = opened(prompt, completion).strip()
    return all(text.count(tag) == 1 for tag in TAGS) and _WHOLE.fullmatch(text) is not None


def opened(prompt: str, completion: str) -> str:
    """The completion with the `<think>` that the prompt already holds."""
    return "<think>" + completion if prompt.rstrip().endswith("<think>") else completion
