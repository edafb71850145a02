"""Finds the result that an answer states (docs/numerics.md, 13.1). Each way returns the result as written, or
None; all run in linear time."""

import re
from collections.abc import Callable, Iterable

from menon.errors import UserError
from menon.reward.prose import (
    DENIAL,
    ENDS,
    HEDGE,
    WORDS,
    clause_before,
    formulas,
    is_denied,
    is_sentence,
    is_set_aside,
    is_supposed,
    last_formula,
    num_words,
    numbers,
    with_suffix,
)
from menon.reward.statements import value_counted
from menon.thought import after_thinking

Way = Callable[[str], str | None]

NEAR_END = 300
"""Characters at the end that are searched for a result without brackets around it."""

_NAMES = (
    r"answers?|答案|回答|答え|答|정답|답|r[ée]ponse|respuesta|antwort|risposta|resposta|ответ|الإجابة|الجواب"
)
"""The word for the answer in the languages that are read."""
_LINE = re.compile(
    rf"(?i)(?:{_NAMES})[*_\s]*[是为為は]?[:：]\s*([^\n]+)"
    rf"|(?:^|\n)(?:[#*_ \t]*(?:the )?final answer|[#*]+[ \t]*(?:the )?(?:最终)?(?:{_NAMES}))"
    r"[*_ \t]*\n\s*([^\n]+)"
)
_LABEL = re.compile(
    rf"(?i)(?:(?:so|thus|therefore|hence)\W+)?(?:the |my )?(?:final |correct )*(?:{_NAMES})[*_\s]*"
    r"(?:is\b|=|[:：]|是|为|為|は)\s*[:：]?\s*"
)
_HASH = re.compile(r"(?<!#)####(?!#)\s*([^\n#]+)")
_HEADING = re.compile(r"[*_\s]*(?:\d+(?:\.\d+)*[.):]?\s+)?[^\W\d_]{3,}")
_BOLD = re.compile(r"(?<![\w)\]}])\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*(?!\w)")
_BRACES = re.compile(
    r"(?P<box>\\{1,2}(?:f?boxed|fbox)\s*\{)"
    r"|\\{1,2}f?boxed(?![a-zA-Z])\s*(?P<bare>[-+−(\[\w\\]"
    r"(?:[^\n$\\{}]|\{(?:[^{}\n]|\{[^{}\n]*\})*\}|\\(?![)\]])(?!\\?f?boxed).)*)"
    r"|\\.|[{}]",
    re.DOTALL,
)


def stated(prompt: str, completion: str, ways: Iterable[Way]) -> str | None:
    """The result by the first way that finds one; None where none does, or where the thought never ends. A
    box or tag that was opened and never closed is no result, and none is guessed in its place."""
    text = after_thinking(prompt, completion)
    if text is None:
        return None
    if is_unfinished(text):
        ways = [way for way in ways if way not in GUESSES]
    return next((found for way in ways if (found := way(text)) is not None), None)


def is_unfinished(text: str) -> bool:
    """Whether the last box or `<answer>` was opened and not closed."""
    return text.rfind("<answer>") > text.rfind("</answer>") or boxes(text) is None


# Ways that are safe for training: the policy has to mark its result


def answer_tag(text: str) -> str | None:
    """The contents of the last `<answer>...</answer>`, or of the last box in it if there is one. A label in
    front (`Answer:`) is left out."""
    inside = tagged(text)
    return None if inside is None else boxed(inside) or value_counted(unlabelled(inside))


def tagged(text: str) -> str | None:
    """The contents of the last `<answer>...</answer>`, as they are."""
    before, closed, _ = text.rpartition("</answer>")
    _, opened, inside = before.rpartition("<answer>")
    return inside if closed and opened else None


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{...}` or `\fbox{...}` holds, or what follows `\boxed` in its formula where there
    are no braces; None where its braces do not balance.

    Of nested boxes the outermost counts; escaped braces are text.
    """
    found = boxes(text)
    if not found:
        return None
    last_end = max(found)[2]
    _, start, end = min(box for box in found if box[2] >= last_end)
    return text[start:end]


def boxes(text: str) -> list[tuple[int, int, int]] | None:
    """Of every box where it begins, and where its contents begin and end; None where the last is not
    closed."""
    if "boxed" not in text and "fbox" not in text:
        return []
    opened: list[tuple[int, int] | None] = []
    found: list[tuple[int, int, int]] = []
    for mark in _BRACES.finditer(text):
        if mark["box"]:
            opened.append((mark.start(), mark.end()))
        elif mark["bare"]:
            if not mentions(mark["bare"]):
                found.append((mark.start(), mark.start("bare"), mark.end()))
        elif mark[0] == "{":
            opened.append(None)
        elif mark[0] == "}" and opened and (box := opened.pop()):
            found.append((*box, mark.start()))
    unclosed = max((box[0] for box in opened if box), default=-1)
    return None if unclosed > max(found, default=(-1,))[0] else found


def mentions(bare: str) -> bool:
    r"""Whether a text speaks of \boxed rather than using it: `put it in \boxed notation`."""
    return re.match(r"[^\W\d_]{2}", bare) is not None


def answer_line(text: str) -> str | None:
    """`18` of the last line `Answer: 18` near the end, or of the line under a heading `Answer`; a line that
    denies it (`Wrong answer: 17`) does not count, nor a line under a heading where `#### 18` comes later."""
    near = text[-NEAR_END:]
    for found in reversed(list(_LINE.finditer(near))):
        place = found.start(found.lastindex or 1)
        if "\n" in near[found.start() : place].lstrip("\n") and hash_marks(near[place:]):
            continue
        result = value_at(near, place)
        line = near[: place + len(near[place:].partition("\n")[0])]
        sentence = ENDS.search(line, place)
        span = (place, sentence.start() if sentence else len(line))
        if result and not (is_supposed(clause_before(near, found.start())) or is_denied_after(line, *span)):
            return result
    return None


def hash_marks(text: str) -> str | None:
    """`18` of the last line `#### 18` near the end: how the solutions of GSM8K end. A heading with more text
    below it is no result."""
    near = text[-NEAR_END:]
    results = [
        result
        for found in _HASH.finditer(near)
        if not (_HEADING.match(result := unlabelled(found[1])) and re.search(r"\w", near[found.end() :]))
    ]
    return results[-1] if results else None


def value_at(text: str, place: int) -> str:
    """The rest of the line, or the whole formula where one begins at this place and goes on below."""
    line = text[place:].partition("\n")[0]
    start, end = next(formulas(text[place:]), (-1, -1))
    return text[place : place + end] if start == 0 and end > len(line) else unlabelled(line)


def unlabelled(text: str) -> str:
    """The text without emphasis, and without `Answer:` or `The answer is` in front of it."""
    text = _BOLD.sub(r"\1", text).strip(" \t*`")
    label = _LABEL.match(text)
    return text[label.end() :].strip(" \t*`") if label and text[label.end() :].strip() else text


WAYS: tuple[Way, ...] = (answer_tag, boxed, answer_line, hash_marks)
"""The ways for training; the first that finds a result decides. There is no "last number" way, because a
policy would learn to end with numbers."""


# Ways for evaluation only: what a person would read as the result

_PHRASE = re.compile(
    r"(?i)\b(?:answer|option|choice)\s*(?:is\b|=|[:：])\s*[:：]?[*_]*\s*"
    r"|\banswer[*_]+\s*(?:is\b|=|[:：])[ \t]*(?=\S)|\banswer\s+(?=\$|\\[(\[])"
    r"|答案\s*(?:是|为|為|[:：])\s*|\br[ée]ponse\s*(?:est|:)\s*|\brespuesta\s*(?:es|:)\s*|\bantwort\s*(?:ist|lautet|:)\s*"
    r"|\brisposta\s*(?:è|:)\s*|\bresposta\s*(?:é|:)\s*|\bответ\s*:\s*|回答\s*[:：]\s*|答え\s*(?:は|[:：])\s*"
)
_SENTENCE = re.compile(r"[^\n]{0,400}?(?=[.。!！?？](?:\s|$)|[。！？]|\s*$|\n)|[^\n]{0,400}", re.MULTILINE)
SHORT = 200
"""Most characters of a text that may be a result as a whole."""
TRIED = 8
"""How many phrases or values are looked at, from the end."""


def phrase(text: str) -> str | None:
    """What follows the last "the answer is" or "Answer:", anywhere in the text: a formula, or the rest of the
    sentence, or the first number in it if it is prose.

    A phrase that is denied, asked or supposed does not count; what the text states after it does, else an
    earlier phrase. "" where nothing else is stated.
    """
    found = list(_PHRASE.finditer(text))[-TRIED:]
    for place, one in enumerate(reversed(found)):
        result, end = said(text, one.end())
        if result is None:
            return None if not place else ""
        if result and not (
            is_supposed(clause_before(text, one.start()), far=100) or is_denied_after(text, one.end(), end)
        ):
            return result
        if not place and (later := last_value(text[end:])):
            return later
    return "" if found else None


def said(text: str, place: int) -> tuple[str | None, int]:
    """What the sentence from this place on says, and where that ends; None where it is empty."""
    rest = text[place : place + 1000]
    start, end = next(formulas(rest), (-1, -1))
    if start == 0:
        return with_suffix(rest, (0, end)), place + end
    found = _SENTENCE.match(rest)
    sentence = found[0].strip() if found else ""
    end = place + (found.end() if found else 0)
    if not sentence:
        return None, end
    lettered = len(sentence) > 1 and not sentence[1].isalnum() and sentence[0].isalpha()
    if (num_words(sentence) > WORDS or DENIAL.search(sentence)) and not lettered:
        return (sentence if HEDGE.search(sentence) else first_value(sentence)), end
    return sentence, end


def is_denied_after(text: str, place: int, end: int) -> bool:
    """Whether the value between these places is denied or asked after it."""
    return is_denied("\n" + text[place:], (1, 1 + end - place))


def first_value(sentence: str) -> str:
    """The first formula or number of a sentence that it does not deny, one with a digit before those without;
    "" where it denies all, and the sentence itself where there is none."""
    spans = list(formulas(sentence))
    spans += [one for one in numbers(sentence) if not any(start <= one[0] < end for start, end in spans)]
    spans.sort(key=lambda span: (re.search(r"\d", sentence[slice(*span)]) is None, span))
    values = [with_suffix(sentence, span) for span in spans if not is_denied(sentence, span)]
    return values[0] if values else "" if spans else sentence


def last_value(text: str) -> str | None:
    """The whole text if it is short and no prose; else the last formula or the last number, whichever comes
    later. "" where the text denies it; of `6, not 5` it is the 6."""
    whole = text.strip().lstrip("#").strip()
    if whole and len(whole) <= SHORT and "\n" not in whole and not is_sentence(whole):
        spans = list(formulas(whole))
        if not spans or (spans[0][0] == 0 and spans[-1][1] == len(whole)):
            return whole
    end = len(text)
    for _ in range(TRIED):
        span = last_span(text[:end])
        if span is None:
            return None
        if not is_denied(text, span):
            return with_suffix(text, span)
        if not is_set_aside(text, span[0]):
            return ""
        end = span[0]
    return ""


def last_span(text: str) -> tuple[int, int] | None:
    """Bounds of the last formula or number."""
    formula = last_formula(text)
    found = numbers(text, formula[1] if formula else 0)
    return found[-1] if found else formula


GUESSES = (phrase, last_value)
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
