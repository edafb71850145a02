r"""The number of a measured quantity as a model writes it: `T_{300} = 412\,\mathrm{K}` is 412, `2\pi` is
6.283. Nothing is computed but floating-point arithmetic, so it is cheap and never raises."""

import math
import re
from collections.abc import Callable

from menon.reward.math.lexicon import MULTIPLIERS, REFUSED, names_in
from menon.reward.math.node import Node
from menon.reward.math.text import SUPERSCRIPTS, tidy
from menon.reward.math.tokens import TooLarge, Unreadable
from menon.reward.math.tree import read
from menon.reward.prose import ALTERING, DENIAL, HEDGE

LONGEST = 1000
"""Most characters of a result that is read; a longer one has no number."""

_EQUALS = re.compile(r"(?<![<>!])=|\\(?:approx|simeq|cong|doteq|sim)(?![a-zA-Z])|[≈≃≅]")
_POWER = re.compile(
    r"(?P<times>\s*(?:\\times|\\cdot|[×·*])\s*)?(?<![\d.])10\s*\^\s*\{?\s*(?P<n>[-+]?\d{1,3})\s*\}?"
)
_RAISED = re.compile(f"[{''.join(SUPERSCRIPTS)}]+")
_NAME = re.compile(r"\s*(?!\\pi\b|e\b)\\?[A-Za-z]+(?:_\w|_\{[^{}]*\}|'|\([^()]*\))*[\s.$]*")
_WRAPPED = re.compile(r"^\s*\\(?:text\w*|mathrm|mathbf|mbox)\s*\{([^{}]*)\}\s*$")
_EMPTY = re.compile(r"\{\s*\}")
_UNIT = (
    r"\{((?:(?:[kmcμ]?[msgJNVKWA]|mol|Pa)(?![A-Za-z])|\\(?:text\w*|mathrm|mbox) *\{[^{}]*\}"
    r"|\^ *(?:\{ *-?\d *\}|-?\d)|\s)+)\}"
)
_OVER = re.compile(rf"\\[dt]?frac\s*{_UNIT}\s*{_UNIT}")
_BRACKETS = re.compile(r"\([^()]*\)|\{[^{}]*\}")
_ANOTHER = re.compile(
    r"\d.*(?:[,;]|\b(?:at|when|for|where|with|if|since|because|and|from|given)\b)", re.DOTALL
)
"""In front of an equals sign: a value before it, and a second equation or a condition."""
_SPACING = re.compile(r"\\[,;:!> ]|\\(?:q?quad|left|right|displaystyle)(?![a-zA-Z])|[~$]|\\[()\[\]]")
_TIMES = re.compile(r"(?<=\d)(?:\s*[xX]\s*|\s+)(?=10\s*\^)")
_PERCENT = re.compile(r"\s*\b(?:per ?cent|percent(?:age)?|pct)\b")
_ERROR = re.compile(r"(?<=\d)\s*(?:\\pm|±|\+/-)\s*\d+(?:\.\d+)?(?![\d.]|\s*(?:\\(?:sqrt|frac|pi)|[\d^(]))")
_ASIDE = re.compile(r"(?<=\S)\s*\((?:\\text\w*\s*\{)?[^(){}\d]*\}?\)\s*\.?\s*$")
_FUNCTIONS = (
    "sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|log|ln|lg|exp|sqrt|pi|max|min|gcd|lcm"
)
_LEADING = re.compile(
    rf"\s*(?:\\(?:text\w*|mathrm|mbox)\s*\{{([^{{}}]*)\}}|((?!(?:{_FUNCTIONS})(?![a-zA-Z]))[^\W\d_]{{2,}})[.:]?(?![\w(])|[:~])"
)
_RANGE = re.compile(r"--|\d\s*[:：]\s*\d")
"""Ranges, times and ratios are no number."""
_OTHER_WORDS = re.compile(rf"(?i)\b(?:to|and)\b|[-–—/^=<>]|{ALTERING}")
"""Words that change the number beside them, or join it to another."""
_JOINED = re.compile(rf"(?i)(?<!\\)(?:\b(?:to|out|of|per|by|and)\b|{ALTERING})")
_CHANGING = REFUSED | MULTIPLIERS.keys() | names_in("zero one two three four five six seven eight nine ten")
_SYMBOL = (
    r"(?:[YZEPTGMkhdcmμµunpfa]|da)?(?:mol|Pa|Hz|eV|cal|bar|rad|Wb|lm|lx|Bq|Gy|Sv|sr|ohm|[msgKJNWVACFHTLlΩS])"
    r"|atm|dB|[tT]orr|mmHg|psi|min|hr?s?|days?|d|yrs?|ft|in|lbs?|mi|mph|kph|rpm|deg|rev|amu|u|Da|Å|cc|M|gal|oz|yd|ppm|ppb|°?[CF]|R|kmh"
)
_PIECE = re.compile(
    r"(?P<group>\\(?:text\w*|mathrm|mbox|rm|operatorname)\s*\{(?:[^{}]|\{[^{}]*\})*\})"
    r"|(?P<sign>\\(?:mu|Omega|AA|degree|circ|angstrom|Angstrom|ohm|celsius)(?![a-zA-Z])|[°μµΩÅ])"
    r"|(?P<raised>\^\s*(?:\{\s*(?:[-+−]?\s*\d+|\\circ|°)\s*\}|[-+−]?\d+|\\circ))"
    rf"|(?P<symbol>(?<![A-Za-z\\])(?:{_SYMBOL})(?![A-Za-z]))"
    rf"|(?P<word>(?<![A-Za-z\\])(?!(?:{_FUNCTIONS})(?![a-zA-Z]))[^\W\d_]{{3,}})"
    r"|(?P<open>[({])|(?P<close>[)}])|(?P<joins>\\cdot(?![a-zA-Z])|\\times(?![a-zA-Z])|[\s/·*⋅.-])"
    r"|(?P<other>\\[a-zA-Z]+|.)",
    re.DOTALL,
)


def value(text: str) -> float | None:
    r"""The number of a result: the side after its last `=`, read as mathematics, with its power of ten and
    without its unit. None where that is no single number: alternatives, ranges, bounds, words that change it.

    >>> value(r"$-1{,}234.5\,\mathrm{J}$"), value(r"6.6 \times 10^{-23} kg"), value("5 or 7")
    (-1234.5, 6.6e-23, None)
    """
    if len(text) > LONGEST or HEDGE.search(text) or DENIAL.search(text) or _RANGE.search(text):
        return None
    text = _RAISED.sub(lambda found: f"^{{{''.join(map(SUPERSCRIPTS.__getitem__, found[0]))}}}", text)
    sides = _EQUALS.split(text)
    if any(_ANOTHER.search(_BRACKETS.sub("", side)) for side in sides[:-1]):
        return None
    while len(sides) > 1 and _NAME.fullmatch(sides[-1]):
        sides.pop()
    side = _EMPTY.sub("", _OVER.sub(r"\1/\2", _SPACING.sub(" ", sides[-1])))
    side = _WRAPPED.sub(r"\1", side)
    side = _TIMES.sub(r"\\cdot ", _PERCENT.sub(r"\\%", side))
    bare = without_unit(_ASIDE.sub("", _ERROR.sub("", side)).strip().rstrip(".,;"))
    bare = None if bare is None else without_words(bare)
    if bare is None or _JOINED.search(bare):
        return None
    try:
        number = worth(read(tidy(bare)))
    except (Unreadable, TooLarge, ArithmeticError, ValueError, TypeError, RecursionError):
        return None
    return None if math.isnan(number) else number


def without_words(text: str) -> str | None:
    """The text without words in front of its number (`about`, `the pressure is`); None where one of them
    changes it."""
    while found := _LEADING.match(text):
        words = found[1] or found[2] or ""
        if _OTHER_WORDS.search(words) or any(map(str.isdigit, words)):
            return None
        text = text[found.end() :]
    return text


def without_unit(text: str) -> str | None:
    """The text without the unit at its end; None where what stands there changes the number."""
    pieces = list(_PIECE.finditer(text))
    cut, depth = len(pieces), 0
    for place in range(len(pieces) - 1, 0, -1):
        piece = pieces[place]
        kind = piece.lastgroup
        if kind == "other" or (kind == "raised" and not is_unit(pieces[place - 1])):
            break
        depth += (kind == "close") - (kind == "open")
        if depth < 0:
            break
        if depth == 0 and (is_unit(piece) or kind in ("open", "joins")):
            cut = place
    unit = pieces[cut:]
    if not any(is_unit(piece) for piece in unit):
        return text
    said = " ".join(piece[0].partition("{")[2][:-1] or piece[0] for piece in unit if is_word(piece))
    said = re.sub(r"\s*\^\s*\{?\s*[-−]?\d+\s*\}?", "", said)
    said = re.sub(r"(?<=[^\W\d])\s*(?:[-/·]|\\cdot)\s*(?=[^\W\d])", " ", said)
    if _OTHER_WORDS.search(said) or any(map(str.isdigit, said)) or _CHANGING & set(said.lower().split()):
        return None
    return text[: unit[0].start()].rstrip(" ./-*·\\")


def is_unit(piece: re.Match[str]) -> bool:
    degrees = piece.lastgroup == "raised" and ("circ" in piece[0] or "°" in piece[0])
    return degrees or piece.lastgroup in ("group", "sign", "symbol", "word")


def is_word(piece: re.Match[str]) -> bool:
    return piece.lastgroup in ("group", "word")


def power(unit: str) -> float:
    """The power of ten that a unit begins with, else 1."""
    found = _POWER.search(unit)
    return float(f"1e{found['n']}") if found else 1.0


# Arithmetic in floating point

_TURNS: dict[str, Callable[[float], float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "cot": lambda x: 1 / math.tan(x),
    "sec": lambda x: 1 / math.cos(x),
    "csc": lambda x: 1 / math.sin(x),
}
"""Functions of an angle, which may be given in degrees."""
_RULES: dict[str, Callable[..., float]] = {
    "+": lambda *terms: math.fsum(terms),
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
    "^": math.pow,
    "neg": lambda x: -x,
    "abs": abs,
    "root": lambda x, degree: (
        math.pow(x, 1 / degree) if x >= 0 or degree % 2 != 1 else -math.pow(-x, 1 / degree)
    ),
    "ln": math.log,
    "log": lambda x, base=10.0: math.log(x) / math.log(base),
    "lg": math.log10,
    "exp": math.exp,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "arcsin": math.asin,
    "arccos": math.acos,
    "arctan": math.atan,
    "factorial": lambda x: math.gamma(x + 1),
    "binom": lambda n, k: math.gamma(n + 1) / (math.gamma(k + 1) * math.gamma(n - k + 1)),
}


def worth(node: Node) -> float:
    """The value of a tree in floating point, infinite where it is too large; ValueError where it has none."""
    if node.head == "number":
        try:
            return float(node.value or 0)
        except OverflowError:
            return math.inf
    if node.head == "name" and node.value in ("pi", "e"):
        return math.pi if node.value == "pi" else math.e
    if node.head == "unit":
        inner = worth(node.parts[0])
        if node.value not in ("percent", "degree"):
            raise ValueError(f"{node.value} is no unit here")
        return inner / 100 if node.value == "percent" else inner
    if node.head in _TURNS:
        inside = node.parts[0]
        in_degrees = inside.head == "unit" and inside.value == "degree"
        return _TURNS[node.head](math.radians(worth(inside)) if in_degrees else worth(inside))
    if node.head not in _RULES:
        raise ValueError(f"{node.head} has no value")
    try:
        return float(_RULES[node.head](*map(worth, node.parts)))
    except OverflowError:
        return math.inf
