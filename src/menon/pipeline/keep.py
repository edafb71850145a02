"""Which of the answers that were written become rows to learn from."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from menon.errors import at_least

Answer = Mapping[str, Any]
"""One answer as it is stored: `question` (its number), `text`, `reward`, `right` (None: not known), `tokens`,
`finish`."""


@dataclass(frozen=True)
class Keep:
    """A choice among the answers to each question. Answers that were cut off at their longest length are
    never kept, because they do not show where an answer ends."""

    min_reward: float | None = None
    """Keep answers with at least this reward; null: those that are right."""
    most: int | None = None
    """Most answers to one question; null: all."""
    first: Literal["written", "shortest", "best"] = "written"
    """Which come first where there are more: in the order of writing, by length, or by reward."""
    distinct: bool = True
    """Leave out a text that is kept for the question already."""
    one_script: bool = False
    """Leave out answers with words of several scripts (Latin, Cyrillic, Han, ...), as answers in mixed
    languages often have."""
    longest_paragraph: int | None = None
    """Leave out answers with a paragraph of more characters; null: no limit."""
    code_blocks: bool = True
    """false: leave out answers with fenced code."""

    def __post_init__(self) -> None:
        for name in ("most", "longest_paragraph"):
            if (value := getattr(self, name)) is not None:
                at_least(1, name, value)


def kept(answers: Sequence[Answer], keep: Keep) -> tuple[list[Answer], dict[str, int]]:
    """The answers that are kept, in the order of their questions, and how many were left out for each reason.

    Reasons are counted in the order failed, wrong, unfinished, unreadable, repeated, surplus; an answer
    counts once.
    """
    groups: dict[int, list[Answer]] = defaultdict(list)
    counts = dict.fromkeys(("failed", "wrong", "unfinished", "unreadable", "repeated", "surplus"), 0)
    for answer in answers:
        if reason := next(reasons(answer, keep), ""):
            counts[reason] += 1
        else:
            groups[answer["question"]].append(answer)
    found: list[Answer] = []
    for _, group in sorted(groups.items()):
        chosen = in_order(group, keep.first)
        if keep.distinct:
            texts: dict[str, Answer] = {}
            for answer in chosen:
                texts.setdefault(answer["text"], answer)
            counts["repeated"] += len(chosen) - len(texts)
            chosen = list(texts.values())
        counts["surplus"] += len(chosen) - len(chosen[: keep.most])
        found += chosen[: keep.most]
    return found, counts


def reasons(answer: Answer, keep: Keep) -> Iterator[str]:
    """Why an answer is left out, by itself."""
    text, reward = answer["text"], answer["reward"]
    if reward is None:
        yield "failed"
    elif answer["right"] is not True if keep.min_reward is None else reward < keep.min_reward:
        yield "wrong"
    if answer["finish"] == "length" or not text:
        yield "unfinished"
    if (
        (keep.one_script and len(scripts(text)) > 1)
        or (keep.longest_paragraph is not None and longest_paragraph(text) > keep.longest_paragraph)
        or (not keep.code_blocks and "```" in text)
    ):
        yield "unreadable"


def in_order(group: Sequence[Answer], first: str) -> list[Answer]:
    """The answers with those to be preferred first; equal ones stay as they were written."""
    if first == "shortest":
        return sorted(group, key=lambda answer: answer["tokens"])
    return sorted(group, key=lambda answer: -answer["reward"]) if first == "best" else list(group)


def scripts(text: str) -> set[str]:
    """The scripts of the words in a text, by the Unicode names of their first letters. Single letters, as
    names of variables are, do not count, and the three scripts of Japanese are one.

    >>> sorted(scripts("the area is \\u03c0 r, \\u0434\\u0430"))
    ['CYRILLIC', 'LATIN']
    """
    names = (unicodedata.name(word[0], "?").split()[0] for word in re.findall(r"[^\W\d_]{2,}", text))
    return {"CJK" if name in ("HIRAGANA", "KATAKANA") else name for name in names}


def longest_paragraph(text: str) -> int:
    """Characters of the longest paragraph; paragraphs are parted by empty lines.

    >>> longest_paragraph("one\\ntwo\\n\\nthree")
    7
    """
    return max(len(part.strip()) for part in re.split(r"\n\s*\n", text))
