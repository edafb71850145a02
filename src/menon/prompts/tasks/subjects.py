"""Short questions from many subjects, answered in words: more than one wording is right.

    Which element has the symbol W?#wolfram

The gold answer is one wording, so exact matching rejects many right answers; a judge (`reward=judge`) can
accept them. Each row also holds other known wordings (`synonyms`), and the task's own verifier accepts those:
a baseline to compare a judge with. At difficulty 3 there are questions that ask why, whose right answers no
list can hold.
"""

import random
import re
import string
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from menon.errors import UserError
from menon.prompts.tasks.split import SPLITS, level_of, split_of
from menon.thought import after_thinking

FACTS = Path(__file__).with_name("subjects.txt")
FORMS = ("{q}", "{subject}: {q}", "Answer in a few words. {q}")
LEVELS = (1, 2, 3)

_STATED = re.compile(r"#([^#\n]*)\Z|<answer>((?:(?!<answer>).)*?)</answer>\Z", re.DOTALL)
_ARTICLES = ("the", "a", "an")


@dataclass(frozen=True)
class Fact:
    difficulty: int
    subject: str
    question: str
    answer: str
    synonyms: tuple[str, ...]


@dataclass(frozen=True)
class Subjects:
    """Facts up to a difficulty, each asked in three forms; whole facts are held out, with all their forms.

    | difficulty | adds |
    |---|---|
    | 1 | names and terms |
    | 2 | terms with more wordings |
    | 3 | explanations in a few words |

    >>> Subjects().rows("train", 1, seed=0)[0].keys()
    dict_keys(['question', 'answer', 'synonyms', 'subject'])
    """

    difficulty: int = 2
    """1 to 3."""
    kind: Literal["subjects"] = "subjects"

    def __post_init__(self) -> None:
        level_of(LEVELS, self.difficulty, "subjects")

    def rows(self, split: str, n: int, seed: int) -> list[dict[str, Any]]:
        """`n` different questions of one split, the same for the same arguments."""
        every = list(self._every(split))
        if not 0 <= n <= len(every):
            raise UserError(f"{self} can give 0 to {len(every)} different {split!r} rows, not {n}.")
        random.Random(f"subjects {seed}").shuffle(every)
        return [row(fact, form) for fact, form in every[:n]]

    def _every(self, split: str) -> Iterator[tuple[Fact, str]]:
        if split not in SPLITS:
            raise UserError(f"The split is one of {', '.join(SPLITS)}, not {split!r}.")
        here = [
            fact
            for fact in facts()
            if fact.difficulty <= self.difficulty and split_of(fact.question) == split
        ]
        return ((fact, form) for fact in here for form in FORMS)

    def room(self, split: str) -> int:
        """How many different rows `rows` gives for a split."""
        return sum(1 for _ in self._every(split))

    def stated(self, completion: str) -> str | None:
        """The answer that a completion ends with, in normal form, for votes; None where it states none."""
        found = _STATED.search(completion.rstrip()[-500:])
        return (normal(found.group(1) or found.group(2) or "") or None) if found else None

    def grade(
        self, prompt: str, completion: str, answer: str, synonyms: Iterable[str] = (), **columns: object
    ) -> float:
        """1.0 if the completion ends with the answer or one of its synonyms, after `#` or in `<answer>` tags,
        else 0.0.

        Capitals, accents, punctuation and articles do not matter.
        """
        return float(
            self.stated(after_thinking(prompt, completion) or "")
            in {normal(text) for text in (answer, *synonyms)}
        )


def row(fact: Fact, form: str) -> dict[str, Any]:
    question = form.format(q=fact.question, subject=fact.subject.capitalize())
    return {
        "question": question,
        "answer": fact.answer,
        "synonyms": list(fact.synonyms),
        "subject": fact.subject,
    }


def normal(text: str) -> str:
    """
    >>> normal("The  Doppler-Effect."), normal("Washington, D.C."), normal("København")
    ('doppler effect', 'washington dc', 'københavn')
    """
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", text.casefold())
        if not unicodedata.combining(letter)
    )
    words = plain.replace("-", " ").translate(str.maketrans("", "", string.punctuation + "’")).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in _ARTICLES else words)


@cache
def facts() -> tuple[Fact, ...]:
    return tuple(map(read_fact, filter(is_fact, FACTS.read_text(encoding="utf-8").splitlines())))


def is_fact(line: str) -> bool:
    return bool(line) and not line.startswith("#")


def read_fact(line: str) -> Fact:
    difficulty, subject, question, answer, others = (part.strip() for part in line.split("|"))
    return Fact(
        int(difficulty),
        subject,
        question,
        answer,
        tuple(text.strip() for text in others.split(";") if text.strip()),
    )
