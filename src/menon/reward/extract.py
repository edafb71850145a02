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
    alternative,
    clause_before,
    formulas,
    is_denied,
    is_retracted,
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
    rf"(?i)(?:{_NAMES})[*_\s]*[是为為は]?[:：](?:[*_]+(?=\s))?\s*([^\n]+)"
    rf"|(?:^|\n)(?:[#*_ \t]*(?:the )?final answer|[#*]+[ \t]*(?:the )?(?:最终)?(?:{_NAMES}))"
    r"[*_ \t]*\n\s*([^\n]+)"
)
_LABEL = re.compile(
    rf"(?i)(?:(?:so|thus|therefore|hence)\W+)?(?:the |my )?(?:final |correct )*(?:{_NAMES})[*_\s]*"
    r"(?:is\b|=|[:：]|是|为|為|は)\s*[:：]?\s*"
)
_HOPE = re.compile(r"(?i)\bI hope (?:it|this|that) is correct\W{0,5}$")
"""Ends the answers of Minerva's examples (arXiv 2206.14858)."""
_HASH = re.compile(r"(?<!#)####(?!#)\s*([^\n#]+)")
_BARE = re.compile(r"[(\[]?(?:[A-J](?:[.):\]].*)?|[-+−]?[\d.,/]+[)\]]?)")
_OPTION_TEXT = re.compile(r"[.):\]].*")
_HEADING = re.compile(r"[*_\s]*(?:\d+(?:\.\d+)*[.):]?\s+)?[^\W\d_]{3,}")
_BOLD = re.compile(r"(?<![\w)\]}])\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*(?!\w)")
_OR = re.compile(r"\b(?:or|oder|ou|или|maybe|perhaps|possibly|alternatively)\b|[或又]|または|또는|[/|]")
_BETWEEN = re.compile(
    r"(?:\s|[$,;.&、，；()*/|>+-]|\\[()\[\],;:! ]|\\q?quad\b|\\to\b|\\\\(?![a-zA-Z])"
    r"|\\text\s*\{\s*(?:and|or)\s*\}"
    rf"|\b(?:and|also|either|und|et|и)\b|{_OR.pattern}|[和与者]|\b\d[.)]|\([a-z]\)"
    r"|[A-Za-z](?:_\{?\w{1,3}\}?)?\s*=)*"
)
"""What may stand between boxes that state one result together."""
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
    front (`Answer:`) is left out. None where the text takes it back (`... is wrong.`)."""
    bounds = tag_bounds(text)
    if bounds is None or is_retracted(text, (bounds[0] - len("<answer>"), bounds[1] + len("</answer>"))):
        return None
    inside = text[slice(*bounds)]
    result = boxed(inside) if boxes(inside) else value_counted(unlabelled(inside))
    start = bounds[0] - len("<answer>")
    end = text.rfind("</answer>", 0, start) + len("</answer>")
    beside = tagged(text[:end]) if together(text, end, start) else None
    if result is not None and beside not in (None, inside):
        return f"{beside}, {result}"
    return with_alternative(result, text, (start, bounds[1] + len("</answer>")))


def with_alternative(result: str | None, text: str, span: tuple[int, int]) -> str | None:
    """`5 or 6` where the text offers 6 beside the marked 5."""
    other = alternative(text, span) if result is not None else ""
    return f"{result} or {other}" if other else result


def tagged(text: str) -> str | None:
    """The contents of the last `<answer>...</answer>`, as they are."""
    bounds = tag_bounds(text)
    return None if bounds is None else text[slice(*bounds)]


def tag_bounds(text: str) -> tuple[int, int] | None:
    """Where the contents of the last `<answer>...</answer>` begin and end."""
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, max(end, 0))
    return None if end < 0 or start < 0 else (start + len("<answer>"), end)


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{...}` or `\fbox{...}` holds, or what follows `\boxed` in its formula where there
    are no braces; None where its braces do not balance, or where the text takes it back.

    Of nested boxes the outermost counts; escaped braces are text. Boxes that only commas, `and` or `or`
    part from the last are one result with it: `\boxed{2} or \boxed{3}` states `2 or 3`.
    """
    found = outermost(boxes(text) or [])
    if not found or is_retracted(text, (found[-1][0], found[-1][2] + 1)):
        return None
    first = len(found) - 1
    while first and together(text, found[first - 1][2] + 1, found[first][0]):
        first -= 1
    contents = list(dict.fromkeys(text[start:end].strip() for _, start, end in found[first:]))
    if len(contents) == 1:
        return with_alternative(text[slice(*found[-1][1:])], text, (found[-1][0], found[-1][2] + 1))
    between = text[found[first][2] + 1 : found[-1][0]]
    return (" or " if _OR.search(between) else ", ").join(contents)


def together(text: str, start: int, end: int) -> bool:
    """Whether what stands between these places makes one result of what it parts."""
    return end - start <= APART and _BETWEEN.fullmatch(text, start, end) is not None


def outermost(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The boxes that are in no other, in the order of the text."""
    kept: list[tuple[int, int, int]] = []
    for box in sorted(found):
        if not kept or box[0] >= kept[-1][2]:
            kept.append(box)
    return kept


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
        if "\n" not in result:
            result = with_rows_below(result, near[place:].partition("\n")[2])
        line = near[: place + len(near[place:].partition("\n")[0])]
        sentence = ENDS.search(line, place)
        span = (place, sentence.start() if sentence else len(line))
        if not result or is_supposed(clause_before(near, found.start())):
            continue
        if _OPTION.match(result) or not is_denied_after(line, *span):  # `B. False`: the option's own text
            return result
    return None


def hash_marks(text: str) -> str | None:
    """`18` of the last line `#### 18` near the end: how the solutions of GSM8K end. A heading with more text
    below it is no result, and neither is one that the text takes back."""
    near = text[-NEAR_END:]
    results = [
        (found, result)
        for found in _HASH.finditer(near)
        if not (_HEADING.match(result := unlabelled(found[1])) and re.search(r"\w", near[found.end() :]))
    ]
    if not results or is_retracted(near, results[-1][0].span()):
        return None
    found, result = results[-1]
    return with_rows_below(result, near[found.end() :])


def value_at(text: str, place: int) -> str:
    """The rest of the line, or the whole formula where one begins at this place and goes on below."""
    line = text[place:].partition("\n")[0]
    start, end = next(formulas(text[place:]), (-1, -1))
    return text[place : place + end] if start == 0 and end > len(line) else unlabelled(line)


def with_rows_below(result: str, rest: str) -> str:
    """The result together with the lines below it, where these hold bare values or options alone (`A`, `B`,
    `C`): then it is a list of several."""
    rows = [row.strip(" \t*`$") for row in rest.splitlines()]
    rows = [row for row in rows if re.search(r"[^\W_]", row) and _OPTION_TEXT.sub("", row) != result]
    if not all(_BARE.fullmatch(row) for row in rows):
        return result
    rows = [row for row in rows if row.replace(",", "") != result.replace(",", "")]
    return ", ".join([result, *dict.fromkeys(rows)])


def unlabelled(text: str) -> str:
    """The text without emphasis, and without `Answer:` or `The answer is` in front of it."""
    text = _BOLD.sub(r"\1", text).strip(" \t\n*`")
    hope = _HOPE.search(text, max(0, len(text) - 60))
    text = text[: hope.start()].rstrip(" \t\n*`.") if hope else text
    label = _LABEL.match(text)
    return text[label.end() :].strip(" \t*`") if label and text[label.end() :].strip() else text


WAYS: tuple[Way, ...] = (answer_tag, boxed, answer_line, hash_marks)
"""The ways for training; the first that finds a result decides. There is no "last number" way, because a
policy would learn to end with numbers."""


# Ways for evaluation only: what a person would read as the result

_PHRASE = re.compile(
    r"(?i)\b(?:answer|option|choice)\s*(?:is\b|=|[:：])\s*[:：]?[*_]*\s*"
    r"|\banswer[*_]+\s*(?:is\b|=|[:：])[ \t]*(?=\S)|\banswer\s+(?=\$|\\[(\[])"
    r"|(?:^|\n)[#*]+[ \t]*(?:the )?(?:final )?answer[*_ \t]*\n\s*"
    r"|故选\s*[:：]?\s*|答案\s*(?:是|为|為|[:：])\s*|\br[ée]ponse\s*(?:est|:)\s*|\brespuesta\s*(?:es|:)\s*|\bantwort\s*(?:ist|lautet|:)\s*"
    r"|\brisposta\s*(?:è|:)\s*|\bresposta\s*(?:é|:)\s*|\bответ\s*:\s*|回答\s*[:：]\s*|答え\s*(?:は|[:：])\s*"
)
_OPTION = re.compile(r"[*(\[\"“]*[A-J][.)\]:]")
_LETTERED = re.compile(r"[*(\[\"“]*[A-J][)\]*]*")
APART = 40
"""Most characters between the boxes of one result."""
_LISTED = re.compile(r"\s*(?:[,;]\s*(?:and|or)?|and|or)\s*")
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
        for start, later in formulas(rest):
            if _LISTED.fullmatch(rest, end, start):
                return rest[:later], place + later
        return with_suffix(rest, (0, end)), place + end
    found = _SENTENCE.match(rest)
    sentence = found[0].strip() if found else ""
    end = place + (found.end() if found else 0)
    if not sentence:
        return None, end
    if _LETTERED.fullmatch(sentence):  # `A. a cat, B. a dog` is cut after the letter
        sentence = rest.partition("\n")[0].strip()
        end = place + len(rest.partition("\n")[0])
    lettered = re.match(r"[*(\[]*[A-Ja-j]\W", sentence) is not None
    if (num_words(sentence) > WORDS or DENIAL.search(sentence)) and not lettered:
        return (sentence if HEDGE.search(sentence) else first_value(sentence)), end
    return with_rows_below(sentence, text[end:] if text[end : end + 1] == "\n" else "a word"), end


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
