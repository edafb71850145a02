r"""Units of several upright pieces after a value, as one: `\mathrm{m}/\mathrm{s}^2`,
`\frac{\mathrm m}{\mathrm s^2}`, `\text{kg}\cdot\text{m/s}^2`, `\mathrm{J}/(\mathrm{mol}\cdot\mathrm{K})`.

It runs in linear time, before `text.tidy` makes names of single upright letters. Pieces that are no known
unit stay as they are.
"""

import re

from menon.reward.math.units import known

_FONT = r"\\(?:math(?:rm|sf|up)|text(?:rm|up|normal|sf)?|mbox|hbox|operatorname\*?|rm)(?![A-Za-z])"
_SPACE = r"(?:\s|~|\\[,;:! ]|\\(?:quad|thinspace|left|right|big|bigl|bigr|hspace\{[^{}]{0,9}\})(?![A-Za-z]))"
_ROMAN = r"\{\s*\\rm(?![A-Za-z])"
_PIECE = re.compile(
    rf"(?P<space>{_SPACE}*)"
    + r"(?:(?P<frac>\\[dt]?frac(?![A-Za-z]))"
    + rf"|(?P<font>{_FONT}|{_ROMAN})"
    + r"|(?P<slash>/|\{/\}|\\math(?:bin|ord|rel)\s*\{/\})|(?P<dot>\\(?:cdot|cdotp|times)(?![A-Za-z])|[·⋅*×])"
    + r"|(?P<power>\^\s*(?:\{\s*(?P<braced>[-+−]?\s*\d)\s*\}|(?P<digit>\d)))"
    + r"|(?P<name>[A-Za-zµμΩÅ]+|\\(?P<greek>Omega|mu)(?![A-Za-z]))|(?P<open>[({\[])|(?P<close>[)}\]]))"
)
_START = re.compile(
    rf"(?:(?<=[\d}})°])|(?<=\\pi)){_SPACE}*(?:\\(?:cdot|times)(?![A-Za-z])\s*)?"
    rf"(?=(?:[(\[{{]{_SPACE}*)?(?:{_FONT}|{_ROMAN}|\\[dt]?frac\s*(?:\{{\s*)?(?:{_FONT}|{_ROMAN})))"
)
_MICRO = re.compile(r"(?<=[\d}\s~,;:!])\\mu\s*(\\(?:mathrm|mathsf|text))\s*\{\s*(?=[msgLFAVWNJ])")
_CLOSES = {"(": ")", "{": "}", "[": "]"}
_GREEK = {"Omega": "Ω", "mu": "µ"}
LONGEST = 2000
"""Most characters of a text that is read; a longer one is only compared as it is."""
DEEPEST = 8
"""Most brackets inside one another."""
Factors = list[tuple[str, int]]


class NoUnit(Exception):
    """The text at this place is no unit."""


class _Reader:
    """Reads one unit from left to right."""

    def __init__(self, text: str, place: int) -> None:
        self.text = text
        self.place = self.furthest = place
        self.found = _PIECE.match(text, place)
        self.upright = 0
        """Number of pieces that are marked as upright."""
        self.after_power = False

    def take(self) -> str:
        if self.found is None:
            raise NoUnit
        written = self.found[0][len(self.found["space"]) :]
        self.after_power = self.kind == "power"
        self.place = self.found.end()
        self.furthest = max(self.furthest, self.place)
        self.found = _PIECE.match(self.text, self.place)
        return written.strip()

    @property
    def kind(self) -> str:
        if self.found is None:
            return ""
        return next(kind for kind in _KINDS if self.found[kind])

    def product(self, upright: bool, depth: int = 0) -> Factors:
        """Factors up to a closing bracket, or to anything that belongs to no unit."""
        factors = self.factor(upright, depth)
        while True:
            before = (self.place, self.found)
            sign = 1
            if self.kind in ("slash", "dot"):
                sign = -1 if self.kind == "slash" else 1
                self.take()
            elif not self.beside():
                return factors
            try:
                factors += [(name, sign * power) for name, power in self.factor(upright, depth)]
            except NoUnit:
                self.place, self.found = before
                return factors

    def beside(self) -> bool:
        """Whether another factor stands beside the last one: after a space or a power, as `ms` is no
        product."""
        spaced = self.found is not None and bool(self.found["space"])
        return self.kind in ("font", "name", "frac") and (spaced or self.after_power)

    def factor(self, upright: bool, depth: int) -> Factors:
        kind = self.kind
        if depth > DEEPEST:
            raise NoUnit
        if kind == "frac":
            self.take()
            upper = self.argument(upright, depth)
            return upper + [(name, -power) for name, power in self.argument(upright, depth)]
        if kind == "font":
            opened = self.take().startswith("{")
            self.upright += 1
            inside = self.product(True, depth + 1) if opened else self.argument(True, depth)
            if opened:
                self.close("}")
        elif kind == "open":
            inside = self.argument(upright, depth)
            return self.raised(inside, len(inside))
        elif kind == "name" and upright and self.found:
            name = _GREEK.get(self.found["greek"] or "", self.found["name"])
            self.take()
            inside = [(name, 1)]
        else:
            raise NoUnit
        return self.raised(inside)

    def argument(self, upright: bool, depth: int) -> Factors:
        """A group in brackets, or one piece."""
        if self.kind == "open":
            closing = _CLOSES[self.take()[-1]]
            inside = self.product(upright, depth + 1)
            self.close(closing)
            return inside
        return self.factor(upright, depth + 1)

    def close(self, closing: str) -> None:
        if self.take()[-1:] != closing:
            raise NoUnit

    def raised(self, factors: Factors, count: int = 1) -> Factors:
        """The last factors, `count` of them, to the power that follows; in `\\text{m/s}^2` it belongs to one,
        and after brackets to all."""
        if self.kind != "power" or self.found is None:
            return factors
        power = int((self.found["braced"] or self.found["digit"]).replace("−", "-").replace(" ", ""))
        self.take()
        return factors[:-count] + [(name, one * power) for name, one in factors[-count:]]


_KINDS = ("frac", "font", "slash", "dot", "power", "name", "open", "close")


def units_joined(text: str) -> str:
    r"""The text with every unit of several upright pieces after a value as one `\text{}`: `m s^-2`."""
    if len(text) > LONGEST:
        return text
    text = _MICRO.sub(r"\1{µ", text)
    out, end, tried = "", 0, 0
    for found in _START.finditer(text):
        if found.start() < tried:
            continue
        reader = _Reader(text, found.end())
        try:
            factors = reader.product(False)
        except NoUnit:
            factors = []
        tried = reader.furthest  # no place is read twice, so that the time is linear
        if (
            factors
            and (len(factors) > 1 or reader.upright != 1)
            and all(map(known, (name for name, _ in factors)))
        ):
            spelt = " ".join(name if power == 1 else f"{name}^{power}" for name, power in factors)
            out += f"{text[end : found.start()]} \\text{{ {spelt}}}"
            end = reader.place
    return out + text[end:]
