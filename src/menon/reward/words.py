"""Rules that compare words: baselines for free-form answers, and the language of the text."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from menon.errors import UserError
from menon.reward.math.text import words
from menon.thought import after_thinking
from menon.types import Verdict

_LATIN = re.compile(r"[^\W\d_]+")
_CHINESE = re.compile(r"[㐀-䶿一-鿿]")
_OPENS = re.compile(r"\$|\\\(|\\\[|\\[a-zA-Z]+")
_CLOSES = {"$": "$", "\\(": "\\)", "\\[": "\\]"}


@dataclass(frozen=True)
class Overlap:
    """The answer after the thought holds the gold answer's words in a row. 1 if it does, else 0; with `soft`,
    the share of the words of either that both have (Jaccard). These are the rule baselines of arXiv
    2503.23829; `judge` does better."""

    soft: bool = False
    """The share of the words that both have, not 0 or 1."""
    kind: Literal["overlap"] = "overlap"

    def __call__(self, prompt: str, completion: str, answer: str, **columns: object) -> Verdict:
        gold, found = words(answer), words(after_thinking(prompt, completion) or "")
        if not gold:
            return Verdict(0.0, 0.0)
        if self.soft:
            one, other = set(gold.split()), set(found.split())
            score = len(one & other) / len(one | other)
            return Verdict(score, float(score == 1))
        score = float(f" {gold} " in f" {found} ")
        return Verdict(score, score)


@dataclass(frozen=True)
class Language:
    """The share of an answer's words that are in the target language (DeepSeek-R1, arXiv 2501.12948). They
    are recognised by their script: for `en` any Latin word, for `zh` any Chinese character, which counts as a
    word. Formulas do not count; an answer without words has 1."""

    language: str = "en"
    """The target language."""
    kind: Literal["language"] = "language"

    def __post_init__(self) -> None:
        if self.language not in ("en", "zh"):
            raise UserError(f"there is no rule for the language '{self.language}'; choose en or zh")

    def __call__(self, prompt: str, completion: str, answer: str = "", **columns: object) -> Verdict:
        text = without_formulas(completion)
        chinese = len(_CHINESE.findall(text))
        rest = _LATIN.findall(_CHINESE.sub(" ", text))
        latin = sum(unicodedata.name(word[0], "").startswith("LATIN") for word in rest)
        total = chinese + len(rest)
        return Verdict((latin if self.language == "en" else chinese) / total if total else 1.0, float("nan"))


def without_formulas(text: str) -> str:
    """The text with a space for each formula and each command of LaTeX. What closes nowhere is text; it is
    looked for once, so that the time is linear."""
    pieces, begin, missing = [], 0, set()
    while (found := _OPENS.search(text, begin)) is not None:
        pieces.append(text[begin : found.start()])
        closing, begin = _CLOSES.get(found[0]), found.end()
        end = -1 if closing is None or closing in missing else text.find(closing, begin)
        if closing is not None and end < 0:
            missing.add(closing)
            pieces.append(found[0])
        else:
            pieces.append(" ")
            begin = begin if closing is None else end + len(closing)
    return "".join([*pieces, text[begin:]])
