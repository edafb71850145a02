r"""From a tidied text to tokens: numbers, letters, commands, words."""

import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 2000
"""Most characters that are read."""
LONGEST_CYCLE = 40
"""Digits of a repeating decimal."""
LONG = 4
"""More letters than this in a row are a word; fewer are a product of variables, unless they are a unit after
a value."""

_UNITS = """
cm centimeter centimeters centimetre centimetres
mm millimeter millimeters millimetre millimetres
km kilometer kilometers kilometre kilometres
m meter meters metre metres
in inch inches
ft foot feet
yd yard yards
mi mile miles
g gram grams
kg kilogram kilograms
mg milligram milligrams
lb lbs pound pounds
oz ounce ounces
l liter liters litre litres
ml milliliter milliliters millilitre millilitres
s sec secs second seconds
min mins minute minutes
h hr hrs hour hours
day days
week weeks
month months
year years
degree degrees deg
rad radian radians
percent percentage pct
dollar dollars usd
cent cents
euro euros eur
mph
kph kmh
"""
UNITS = {name: line.split()[0] for line in _UNITS.strip().splitlines() for name in line.split()}
"""A unit's names -> its first one."""
COUNTED = frozenset(
    ["unit", "units", "sq", "square", "cubic", "men", "way", "ways", "cup", "cups", "gal", "times"]
)
"""Short words after a value that are no units to be compared."""


class Unreadable(Exception):
    """The text is no answer in a form that is known here."""


class TooLarge(Exception):
    """The text is too long, too deep, or its numbers are too large."""


_TOKEN = re.compile(
    r"(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE](?:-?\d{1,6}|\+\d{2,6})(?![\d.]))?)"
    r"|\\text *\{(?P<text>[^{}]*)\}|\\word *\{(?P<word>[A-Za-z]*)\}"
    r"|(?P<command>\\(?:[a-zA-Z]+|\\|.))"
    r"|(?P<sign>[-+*/^_=<>()\[\]{}|,;:!%°'&]|\.\.\.)"
    r"|(?P<letter>[a-zA-Z])"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_BARE_WORD = re.compile(r"\\text *\{[^{}]*\}|\\[A-Za-z]+|([A-Za-z]{2,})")
_REPEATING = re.compile(r"(?<![\d.])(\d*)\.(\d*)\\(?:overline|bar|dot) *\{?(\d+)\}?")
_MATRIX = re.compile(r"\\begin *\{(?:([vV])|[pbB]|small)?matrix\*?\}|\\begin *\{array\} *(?:\{[clr| ]*\})?")
_END = re.compile(r"\\end *\{(?:[pbBvV]|small)?(?:matrix|array)\*?\}")


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    gap: bool
    """Whether there is a space before it."""


def tokens_of(text: str) -> list[Token]:
    if len(text) > LONGEST:
        raise TooLarge(f"longer than {LONGEST} characters")
    text = _MATRIX.sub(
        lambda found: "\\det \\matrix " if found[1] else "\\matrix ", _END.sub(r"\\endmatrix ", text)
    )
    text = _BARE_WORD.sub(_word, _REPEATING.sub(_repeat, text))
    tokens: list[Token] = []
    gap = False
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        if kind == "space":
            gap = True
            continue
        if kind == "other":
            raise Unreadable(f"holds {found[0]!r}")
        written = found[kind]
        if kind in ("text", "word"):
            kind, written = _text_kind(written, kind)
        if kind:
            tokens.append(Token(kind, written, gap))
        gap = False
    return tokens


def _repeat(found: re.Match[str]) -> str:
    """0.1\\overline{6} as a fraction in brackets."""
    whole, fixed, cycle = found[1] or "0", found[2], found[3]
    if len(fixed) + len(cycle) > LONGEST_CYCLE:
        raise TooLarge("a very long repeating decimal")
    value = Fraction(
        int(whole + fixed + cycle) - int(whole + fixed or "0"), 10 ** len(fixed) * (10 ** len(cycle) - 1)
    )
    return f"(\\frac{{{value.numerator}}}{{{value.denominator}}})"


def _word(found: re.Match[str]) -> str:
    """Letters without spaces are a product of variables, unless they are a unit, a joining word, or long
    enough for a word."""
    letters = found[1]
    if letters is None:
        return found[0]
    before = found.string[: found.start()].rstrip()[-1:]
    behind_value = before.isdigit() or before in ("}", ")", "°", "%")
    if (
        letters.lower() in ("and", "or")
        or len(letters) > LONG
        or (behind_value and letters.lower() in UNITS.keys() | COUNTED)
    ):
        return f"\\word{{{letters}}}"
    return letters


def _text_kind(text: str, kind: str) -> tuple[str, str]:
    text = " ".join(text.replace("\\", " ").split()).strip(" .;:").lower()
    if text.strip(", ") in ("and", "or"):
        return ("sign", "," if text.strip(", ") == "and" or text.startswith(",") else "or")
    if text in ("%", "percent", "percentage", "pct"):
        return "sign", "%"
    return ("sign", ",") if text == "," else ((kind, text) if text else ("", ""))
