"""Finds the result that an answer states (docs/numerics.md, 13.1). Each way returns the result as written, or
None; all run in linear time."""

import re
from collections.abc import Callable, Iterable, Iterator

from menon.errors import UserError
from menon.thought import after_thinking

Way = Callable[[str], str | None]

NEAR_END = 300
"""Characters at the end that are searched for a result without brackets around it."""

_LINE = re.compile(r"(?i)answer\s*:\s*([^\n]+)")
_HASH = re.compile(r"####\s*(\$?-?\$?[0-9.,]+)")
_BRACES = re.compile(
    r"(?P<box>\\{1,2}(?:f?boxed|fbox)\s*\{)|\\{1,2}boxed (?P<bare>[^\s$\\{}]+)|\\.|[{}]", re.DOTALL
)


def stated(prompt: str, completion: str, ways: Iterable[Way]) -> str | None:
    """The result by the first way that finds one; None where none does, or where the thought never ends."""
    text = after_thinking(prompt, completion)
    if text is None:
        return None
    return next((found for way in ways if (found := way(text)) is not None), None)


# Ways that are safe for training: the policy has to mark its result


def answer_tag(text: str) -> str | None:
    """The contents of the last `<answer>...</answer>`, or of the last box in it if there is one."""
    before, closed, _ = text.rpartition("</answer>")
    _, opened, inside = before.rpartition("<answer>")
    if not closed or not opened:
        return None
    return boxed(inside) or inside


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{...}` or `\fbox{...}` holds, or `5` of `\boxed 5`; None where its braces do not
    balance.

    Of nested boxes the outermost counts; escaped braces are text.
    """
    if "boxed" not in text and "fbox" not in text:
        return None
    opened: list[tuple[int, int] | None] = []
    boxes: list[tuple[int, int, int]] = []
    for found in _BRACES.finditer(text):
        if found["box"]:
            opened.append((found.start(), found.end()))
        elif found["bare"]:
            boxes.append((found.start(), found.start("bare"), found.end()))
        elif found[0] == "{":
            opened.append(None)
        elif found[0] == "}" and opened and (box := opened.pop()):
            boxes.append((*box, found.start()))
    unclosed = max((box[0] for box in opened if box), default=-1)
    if not boxes or max(boxes)[0] < unclosed:
        return None
    last_end = max(boxes)[2]
    _, start, end = min(box for box in boxes if box[2] >= last_end)
    return text[start:end]


def answer_line(text: str) -> str | None:
    """`18` of the last line `Answer: 18` near the end."""
    found = _LINE.findall(text[-NEAR_END:])
    return found[-1] if found else None


def hash_marks(text: str) -> str | None:
    """`18` of the last `#### 18` near the end: how the solutions of GSM8K end."""
    found = _HASH.findall(text[-NEAR_END:])
    return found[-1] if found else None


WAYS: tuple[Way, ...] = (answer_tag, boxed, answer_line, hash_marks)
"""The ways for training; the first that finds a result decides. There is no "last number" way, because a
policy would learn to end with numbers."""


# Ways for evaluation only: what a person would read as the result

_MARK = re.compile(
    r"\$\$?|\\[()\[\]]|\\(?:begin|end)\{(?:equation|align|aligned|gather|multline|displaymath)\*?\}|\\.",
    re.DOTALL,
)
_CLOSES = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_ROWS = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}")
_PHRASE = re.compile(
    r"(?i)\b(?:answer|option|choice)\s*(?:is|=|:)\s*:?\s*|\banswer\s+(?=\$|\\[(\[])"
    r"|答案\s*(?:是|为|為|[:：])\s*|\br[ée]ponse\s*(?:est|:)\s*|\brespuesta\s*(?:es|:)\s*|\bantwort\s*(?:ist|lautet|:)\s*"
    r"|\brisposta\s*(?:è|:)\s*|\bresposta\s*(?:é|:)\s*|\bответ\s*:\s*|回答\s*[:：]\s*|答え\s*(?:は|[:：])\s*"
)
_SENTENCE = re.compile(r"[^\n]{0,400}?(?=[.。!！]\s|[.。!！]?\s*$|\n)|[^\n]{0,400}", re.MULTILINE)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])(?:(?<![0-9)\]]\s)(?<![\w)\]])[-−+])?\$?"
    r"(?:[0-9]{1,3}(?:[,  ][0-9]{3})+(?![0-9])|[0-9]+)?(?:(?<=[0-9])\.(?=[0-9])|(?<![0-9])\.(?=[0-9]))?[0-9]*"
    r"(?:(?<=[0-9])/[0-9]+)?(?<=[0-9])%?"
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[^\W\d_\u3040-\u30ff\u3400-\u9fff]{3,}|[\u3040-\u30ff\u3400-\u9fff]{2}")
_PERCENT = re.compile(r"\s*(?:\\?%|percent(?:age)?\b|pct\b)")
_JOINS = re.compile(r"\s*(?:[,;]\s*(?:and|or)?|and|or)\s*|\s+")
_DIGIT = re.compile(r"\d")
_BESIDE_NUMBERS = re.compile(
    r"(?<![\\A-Za-z])(?!(?:and|or|sqrt|pi|sin|cos|tan|log|ln)(?![A-Za-z]))[^\W\d_]{2}"
)
SHORT = 200
"""Most characters of a text that may be a result as a whole."""
WORDS = 2
"""A text with more words than this is prose."""


def phrase(text: str) -> str | None:
    """What follows the last "the answer is" or "Answer:", anywhere in the text: a formula, or the rest of the
    sentence, or the first number in it if it is prose."""
    found = None
    for found in _PHRASE.finditer(text):  # noqa: B007 - the last one counts
        pass
    if found is None:
        return None
    behind = text[found.end() : found.end() + 1000]
    start, end = next(formulas(behind), (-1, -1))
    if start == 0:
        return behind[:end] + (_PERCENT.match(behind, end) or [""])[0]
    sentence = (_SENTENCE.match(behind) or [""])[0].strip()
    if not sentence:
        return None
    if len(_PROSE.findall(sentence)) > WORDS and not (
        len(sentence) > 1 and not sentence[1].isalnum() and sentence[0].isalpha()
    ):
        return first_number(sentence) or sentence
    return sentence


def last_value(text: str) -> str | None:
    """The whole text if it is short and no prose; else the last formula or the last number, whichever comes
    later."""
    whole = text.strip()
    if whole and len(whole) <= SHORT and "\n" not in whole and not is_sentence(whole):
        spans = list(formulas(whole))
        if not spans or (spans[0][0] == 0 and spans[-1][1] == len(whole)):
            return whole
    formula, end = last_formula(text)
    numbers = [found for found in _NUMBER.finditer(text, max(0, end)) if found[0].strip("+-−$")]
    if numbers:
        percent = _PERCENT.match(text, numbers[-1].end())
        return numbers[-1][0] + (percent[0] if percent else "")
    return formula


def formulas(text: str) -> Iterator[tuple[int, int]]:
    """Bounds of the formulas between dollar signs or LaTeX's brackets; an opening sign without a closing one
    does not count."""
    opened: tuple[str, int] | None = None
    for found in _MARK.finditer(text):
        mark = found[0]
        if mark.startswith("\\begin"):
            opened = opened or (mark, found.start())
            continue
        if opened is not None and mark == closing(opened[0]) and found.start() > opened[1] + len(opened[0]):
            yield opened[1], found.end()
            opened = None
        elif opened is not None and (opened[0], mark) == ("$", "$$"):  # $a$$b$
            yield opened[1], found.start() + 1
            opened = ("$", found.start() + 1)
        elif mark in _CLOSES and (opened is None or mark[0] == "\\" or opened[0][0] == "$"):
            opened = (mark, found.start())


def closing(mark: str) -> str:
    return _CLOSES.get(mark) or mark.replace("begin", "end")


def last_row(formula: str) -> str:
    """The last row of an environment of several rows, without alignment marks and a leading equals sign."""
    if not formula.startswith("\\begin"):
        return formula
    rows = [row for row in _ROWS.sub("", formula).split("\\\\") if row.strip()]
    return rows[-1].replace("&", "").strip().lstrip("=").strip() if rows else ""


def is_sentence(text: str) -> bool:
    """Whether a text is a sentence: with digits any word makes it one; without digits, up to two words may
    themselves be the result."""
    if _DIGIT.search(text):
        return _BESIDE_NUMBERS.search(text) is not None
    return len(_PROSE.findall(text)) > (0 if "$" in text else WORDS)


def last_formula(text: str) -> tuple[str | None, int]:
    """The last formula that is not prose between two prices, together with formulas that commas, `and` or
    `or` join to it; and where it ends."""
    spans = [(start, end) for start, end in formulas(text) if not is_prose(text[start:end])][-20:]
    if not spans:
        return None, -1
    start, end = spans.pop()
    while spans and _JOINS.fullmatch(text, spans[-1][1], start):
        start = spans.pop()[0]
    percent = _PERCENT.match(text, end)
    return last_row(text[start:end]) + (percent[0] if percent else ""), percent.end() if percent else end


def is_prose(formula: str) -> bool:
    return len(_PROSE.findall(re.sub(r"\\[a-zA-Z]+\s*\{[^{}]*\}", "", formula))) > WORDS - 1


def first_number(text: str) -> str | None:
    return next((found[0] for found in _NUMBER.finditer(text) if found[0].strip("+-−$")), None)


LENIENT: tuple[Way, ...] = (answer_tag, boxed, hash_marks, phrase, last_value)
"""For evaluation and for checking a verifier."""


def names(ways: Iterable[Way]) -> tuple[str, ...]:
    """The names of the ways in a configuration."""
    return tuple(way.__name__ for way in ways)


def ways_named(wanted: Iterable[str], asker: str) -> tuple[Way, ...]:
    """The ways of these names; UserError if there is no such way."""
    known = {way.__name__: way for way in (*WAYS, *LENIENT)}
    for name in wanted:
        if name not in known:
            raise UserError(
                f"{asker} knows no way '{name}' of stating a result; choose from {', '.join(known)}"
            )
    return tuple(known[name] for name in wanted)
