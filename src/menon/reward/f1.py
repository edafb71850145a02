"""Words in common, for short free-form answers (F1 of SQuAD, arXiv 1606.05250, section 6.1)."""

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from menon.reward.extract import WAYS, stated
from menon.types import Verdict

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MARK = re.compile(rf"(?<!\w)-(?=\.?\d)|(?<=\d)[./:^-](?=\d)|(?P<mark>[{re.escape(string.punctuation)}])")
"""Marks, but for those inside and in front of numbers, which change them."""


@dataclass(frozen=True)
class WordF1:
    """How many words the stated result shares with the gold answer: 2 P R / (P + R). With c words in common
    (each counted as often as it occurs in both), P = c / stated words and R = c / gold words. `acc` is 1
    where the words are the same, in the same order.

    Words are compared in lower case, without punctuation and the articles a, an and the, as in SQuAD's
    script, but a number keeps its signs: 3.5 is not 35. The result is what the first of `extract.WAYS`
    finds; the score is 0 if nothing is stated or the gold answer has no word.

    >>> WordF1()("", "\\\\boxed{the red house}", "red old house").score  # c = 2: P = 2/2, R = 2/3
    0.8
    """

    kind: Literal["f1"] = "f1"

    def __call__(self, prompt: str, completion: str, answer: str, **columns: object) -> Verdict:
        gold, said = words(answer), words(stated(prompt, completion, WAYS) or "")
        common = (Counter(gold) & Counter(said)).total()
        if not common:
            return Verdict(0.0, 0.0)
        return Verdict(2 * common / (len(gold) + len(said)), float(gold == said))


def words(text: str) -> list[str]:
    text = _MARK.sub(lambda found: "" if found["mark"] else found[0], text.lower())
    return _ARTICLES.sub(" ", text).split()
