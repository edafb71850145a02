"""Multiple choice: compares the letters that an answer states."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from menon.reward.extract import WAYS, Way, stated
from menon.reward.prose import is_denied
from menon.types import Verdict

LONGEST = 40
"""Characters of a gold answer that may be letters with their wrapping."""
_AROUND = r"[\s,，、;；&.:()\[\]]*"
_ENDS = r"(?![^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])"
"""No letter follows, except one of a script without spaces."""
_JOINERS = (
    r"(?:(?:(?i:as well as|and|und|sowie|et|ainsi que|plus)|y|e|i|и|а также|و)(?=\s*(?:[,(\[]\s*)*[A-J]"
    + _ENDS
    + ")"
    r"|以及|[和与與及と와과])"
)
"""What joins letters in the languages that `extract` knows; a lower-case y, e or i only before a letter."""
_GOLD = re.compile(
    rf"(?:[Bb]oth )?{_AROUND}[A-J](?:{_AROUND}(?:{_JOINERS})?{_AROUND}[A-J])*{_AROUND}(?:です|입니다)?"
)
_WRAPPING = re.compile(
    r"\\(?:text\w*|math(?:rm|bf|sf)|bf|boxed|mbox)\s*\{"
    r"|<(?=[A-J]>)|(?<=<[A-J])>|\\displaystyle\b|\\[{}]|[{}$*_\"'“”‘’`【】「」]|\\[()\[\],;! ]"
)
_GOLD_WRAPPING = re.compile(r"\\(?:text\w*|math(?:rm|bf|sf)|mbox)\s*\{|\\[{}]|[{}$*\"“”]|\\[,;! ]")
_LETTER = re.compile(
    r"(?:both )?(?:the )?(?:(?:correct|final|right|best) )*"
    r"(?:options?|choices?|answers?|选项|故?选择?|故?答案)? ?"
    r"(?:is|are|是|为)? ?[:：]? ?(?:\( ?([A-J]) ?\)|\[ ?([A-J]) ?\]"
    rf"|([A-J])(?=$| ?[.:)!。,，;；：、/&+]| ?[和与及或]| ?选项| ?(?-i:{_JOINERS})| or\b| (?-i:[A-Z(])))",
    re.IGNORECASE,
)
_RUN = re.compile(r"[(\[]?([A-J]{2,10})[)\].。]*")
_SEGMENT = re.compile(r"\\over(?:line|rightarrow|leftrightarrow)")
"""A gold answer `AC` may be a segment as well as two letters."""
_NEXT = re.compile(
    r"(?P<open>(?:(?i:to|through|thru|bis)\b|[-–—~至到]) ?[(\[]?(?i:[A-HJ])\b(?! [a-z])"
    r"|(?i:or|oder|ou|maybe|perhaps|possibly|probably|either(?= \(?[A-J]\b))\b"
    r"|[/|](?= ?(?i:options?|choices?)? ?[(\[]?(?i:[A-J])\b)|\?|或者?|または|可能|也许)"
    rf"|(?P<joins>{_JOINERS}|(?i:and|options?|choices?)\b|[,，、;；&+])"
    r"|(?P<marked>\( ?(?i:[A-J]) ?\)|\[ ?(?i:[A-J]) ?\]|(?i:[A-J])\))"
    rf"|(?P<letter>(?i:[A-J])){_ENDS}"
    r"(?P<end>(?= ?(?:$|[,，、;；&/)\]和与及或]|[.。:：](?: ?$| [^a-z]))"
    rf"| (?i:and|or)\b| ?{_JOINERS}| ?[(\[]?[A-J](?!\w)))?"
    r"|[\s.。:：()\[\]]"
)
"""What may stand between an answer's letters, and the letters themselves; a word ends them."""
_OR_ANOTHER = re.compile(
    r"\b(?:or|oder|ou|also|though|wait|no|actually|maybe|perhaps|possibly)\b,? \(?([A-J])\b(?! [a-z])"
    r"|或者? ?\(?([A-J])"
    r"|\(?\b([B-J])\b\)? (?:is|are|could be|may be|might be) (?:also |equally |just as )?"
    r"(?:plausible|possible|right|correct|acceptable|too\b)"
    r"|\b(?:answer|it) is \(?([A-J])\b(?! [a-z])|[.;] \(?([B-J])\)?\.?$"
)
_CALCULATED = re.compile(r" ?(?:\^|[+*/] ?\d)")
"""After a letter that is no option but part of a formula: `B + 1`."""
_OWN_TEXT = re.compile(
    r"[.:)\]]* ?(?:(?:False|FALSE|No|Not|Neither|Never|None|Nothing|Cannot|Impossible|Invalid)\b"
    r"(?!\W*(?:sure|certain|wait|sorry|it is)\b)(?!.*(?:\b[B-HJ]\b|\(A\)))"
    r"|[Nn]either \(?[A-J]\)? nor \(?[A-J]\b|(?:neither|none|no) \w{2,} \w"
    r"|(?:[Ii]t is|[Tt]hey are) (?:impossible to|not (?!right|correct|true|valid)\w{5,})"
    r"|(?:Which|What|Is|Are|Does|Do|How|Why|When|Where|Who)\b(?: \S+){3,}\?)"
)
"""After a marked letter: the option's own text denies or asks, not the answer."""
_MARKS = {
    "(": r"\(([A-J])\)",
    ")": r"(?<![\w(])([A-J])\)",
    ".": r"(?<![\w(])([A-J])\.",
    ":": r"(?<!\w)([A-J])[:：]",
}
_MARKS |= {" (": r"(?<!\w)([A-J]) \((?=\w\w)", "[": r"\[([A-J])\]"}
"""How an option is marked -> any option that is marked so."""
_IN_PROSE = re.compile(
    r"(?i)\b(?:options?|choices?|answers?|statements?|both|neither|nor|than|in|to|from|of|for|with|as|like|unlike"
    r"|by|since|because|while|whereas|if|that|so|not|why|is|are|vitamins?|hepatitis|types?|groups?|class"
    r"|points?) $"
)
_SPOKEN_OF = re.compile(
    r"[\s,.:]*(?:$|(?:is|are|was|were|would|can|cannot|only|because|and|or|has|have|does|do)\b)"
)
_MENTIONED = re.compile(
    r"\b(?:option|choice|choose|chose|select|pick|answer)\s+(?:is\s+)?\(?([A-J])\b(?!')"
    r"|\(?\b([A-J])\b\)?\s+is\s+(?:the\s+)?(?:correct|right)"
)


def gold_letter(gold: str) -> str | None:
    """`B` of `B`, `(B)`, `\\text{(B)}`, `B.`, and `BD` of `B, D` or `B and D`; None where the gold answer is
    anything else than letters from A to J in alphabetical order."""
    if len(gold) > LONGEST or not _GOLD.fullmatch(bare := _GOLD_WRAPPING.sub(" ", gold)):
        return None
    letters = re.findall(r"[A-J]", bare)
    return "".join(letters) if letters == sorted(set(letters)) else None


def letter(text: str) -> str | None:
    """The letter that an answer begins with: `B`, `b`, `(B) 42`, `Option B`, `B. because`; or all letters
    that stand before its first word, in alphabetical order: `BD` of `B, D`. None for alternatives (`A or B`),
    for a letter that is denied, and for none.

    >>> letter("(B) Paris"), letter("D and B"), letter("A, maybe B")
    ('B', 'BD', None)
    """
    text = " ".join(_WRAPPING.sub("", text[:300]).split())
    if run := _RUN.fullmatch(_SEGMENT.sub("", text)):
        return ordered(run[1])
    found = _LETTER.match(text)
    if found is None:
        return None
    if _CALCULATED.match(text, found.end()):
        return None
    if is_denied(text, (found.end(), found.end())) and not _OWN_TEXT.match(text, found.end()):
        return None
    first = found[1] or found[2] or found[3]
    others = other_letters(text, found.end(), first)
    if others is None or names_another_later(text, found.end(), first + others):
        return None
    if names_another(text[found.start() :], first.upper() + others.upper()):
        return None
    return ordered(first + others)


def names_another_later(text: str, place: int, letters: str) -> bool:
    """Whether another letter is named after an `or`, a correction or a sentence of its own."""
    return any(
        set(filter(None, one.groups())) - set(letters.upper()) for one in _OR_ANOTHER.finditer(text, place)
    )


def names_another(text: str, letters: str) -> bool:
    """Whether a text that begins with a marked option goes on with another one in the same style:
    `A. foo, B. bar`."""
    begin = re.search(r"[(\[]?[A-Ja-j](?: \(|[.:：)])?", text)
    style = begin[0].replace("：", ":") if begin else ""
    mark = style[0] if style[:1] in ("(", "[") else style[1:]
    if begin is None or mark not in _MARKS:
        return False
    return any(
        another[1] not in letters
        and not _IN_PROSE.search(text[: another.start()])
        and not _SPOKEN_OF.match(text, another.end())
        for another in re.compile(_MARKS[mark]).finditer(text, begin.end() + 2)
    )


def ordered(letters: str) -> str | None:
    """Letters in alphabetical order; None where one is there twice."""
    letters = letters.upper()
    return "".join(sorted(letters)) if len(set(letters)) == len(letters) else None


def other_letters(text: str, place: int, first: str) -> str | None:
    """The letters after the first one, from this place to the first word; None where they are alternatives.

    A capital A before a word is an article, an I a number (`I and II`), and a letter before an operator
    belongs to the option's text, as does a small letter after a capital."""
    letters, joined = "", False
    while found := _NEXT.match(text, place):
        place = found.end()
        if found["open"]:
            return None
        if (found["marked"] or found["letter"]) and is_denied(text, (place, place)):
            return None
        if found["marked"]:
            letters += next(filter(str.isalpha, found["marked"]))
        elif found["letter"]:
            one = found["letter"]
            article = one in "aAiI" and re.match(r" [a-z]{2}", text[place:])
            if (
                one in "iI"
                or article
                or (one.islower() and first.isupper())
                or not (found["end"] is not None or (joined and one.isupper()))
            ):
                return letters
            if re.match(r" ?[=^<>+*−-]", text[place:]):
                return letters
            letters += one
        joined = bool(found["joins"]) or (joined and not found[0].strip())
    return letters


def mentioned(text: str) -> str | None:
    """The last letter that a text calls its choice without marking it: `I choose C`, `D is the correct
    answer`. None where the text denies it, or names several."""
    found = list(_MENTIONED.finditer(text[-1000:]))
    if not found:
        return None
    group = 1 if found[-1][1] else 2
    start, end = found[-1].span(group)
    near = text[-1000:]
    if is_denied(near, (start, end)) or is_denied(near, (found[-1].start(), end)):
        return None
    return found[-1][2] or letter(near[start : start + 1] + "." + near[end:].lstrip(" ).*"))


@dataclass(frozen=True)
class MultipleChoice:
    r"""The letter after `Answer:` or `####`, in `\boxed{}` or `<answer>`, is the gold one. 1 if it is, else
    0; where the gold answer is several letters (`BD`), exactly these must be stated. If it is no letter from
    A to J, no answer is right."""

    kind: Literal["choice"] = "choice"
    ways: ClassVar[tuple[Way, ...]] = WAYS
    """Where the letter may be stated; a subclass for evaluation is more lenient."""

    def __call__(self, prompt: str, completion: str, answer: str, **columns: object) -> Verdict:
        found = stated(prompt, completion, self.ways)
        score = float(
            found is not None and letter(found) is not None and letter(found) == gold_letter(answer)
        )
        return Verdict(score, acc=score)

    def spell(self, prompt: str, answer: str) -> str:
        return f"\\boxed{{{answer}}}"

    def refuses(self, answer: str) -> str:
        """Why no answer can be right where this is the gold one; "" where one can."""
        return "" if gold_letter(answer) else "is no letter from A to J; write 0 as A, 1 as B and so on"
