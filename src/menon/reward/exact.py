"""The stated result equals the gold answer, as a string or as a number."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from menon.reward.extract import WAYS, stated
from menon.types import Verdict

LONGEST = 100
"""Characters; a longer result is compared as a string only."""

_NUMBER = re.compile(r"-?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?(?:\.[0-9]*)?")


@dataclass(frozen=True)
class ExactMatch:
    r"""The result after `Answer:` or `####`, in `\boxed{}` or `<answer>`, equals the gold answer. 1 if it
    does, else 0 (docs/numerics.md, 13.1 and 13.2).

    The first way of `extract.WAYS` that finds a result decides: `<answer>`, `\boxed{}`, `Answer:`, `####`. It
    is wrong if nothing is stated, if nothing follows the thought, or if the box is malformed. Numbers are
    compared exactly, with `$` and thousands' commas taken out, so 1,000 = 1000.0 and .1 is not .10001;
    anything else must be the same string. A truncated answer is graded as it is.
    """

    kind: Literal["exact"] = "exact"

    def __call__(self, prompt: str, completion: str, answer: str, **columns: object) -> Verdict:
        score = float(self.is_right(prompt, completion, answer))
        return Verdict(score, acc=score)

    def is_right(self, prompt: str, completion: str, answer: str) -> bool:
        result = stated(prompt, completion, WAYS)
        return result is not None and same(answer, result)

    def spell(self, prompt: str, answer: str) -> str:
        """The shortest completion that states an answer; with it the gold answers of a data set are
        checked."""
        return f"\\boxed{{{answer}}}"


def same(gold: str, result: str) -> bool:
    gold, result = tidy(gold), tidy(result)
    if not result:
        return False
    if gold == result:
        return True
    numbers = exact_number(gold), exact_number(result)
    return numbers[0] is not None and numbers[0] == numbers[1]


def tidy(text: str) -> str:
    """The text without surrounding space, dollar signs, emphasis and full stop, with a plain minus sign."""
    text = text.strip().strip("*").strip().replace("−", "-")
    if len(text) > 1 and text.endswith("."):
        text = text[:-1]
    if len(text) > 1 and text[0] == text[-1] == "$":
        text = text[1:-1]
    return text.strip()


def exact_number(text: str) -> Decimal | None:
    text = text.replace("\\$", "").replace("$", "").rstrip(".,")
    if len(text) > LONGEST or not any("0" <= letter <= "9" for letter in text) or not _NUMBER.fullmatch(text):
        return None
    return Decimal(text.replace(",", ""))
