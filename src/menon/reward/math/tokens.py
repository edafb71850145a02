r"""From a tidied text to tokens: numbers, letters, commands, words."""

import re
from dataclasses import dataclass
from fractions import Fraction

from menon.reward.math.lexicon import BEFORE, FOUR_LETTERS, JOINERS, names_in
from menon.reward.math.units import bare_unit

LONGEST = 2000
"""Most characters that are read."""
LONGEST_CYCLE = 40
"""Digits of a repeating decimal."""
LONG = 4
"""More letters than this in a row are a word; fewer are a product of variables, unless they are a unit after
a value."""

BARE_UNITS = names_in("""
    cm mm km m in ft yd mi g kg mg lb lbs oz l ml s sec secs min mins h hr hrs day days week year deg rad
    usd eur cent euro mph kph kmh pct unit sq men way ways cup cups gal time
    """)
"""Short words that are units where they stand bare after a value, in small or capital letters."""
STATES = names_in("is are equals est vaut ist es è é vale")
"""Verbs between a name and its value."""
_SHORT = names_in("and or not the")
"""Words of fewer than four letters that are no product of variables."""


class Unreadable(Exception):
    """The text is no answer in a form that is known here."""


class TooLarge(Exception):
    """The text is too long, too deep, or its numbers are too large."""


_TOKEN = re.compile(
    r"(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE](?:-?\d{1,6}|\+\d{2,6})(?![\d.]))?)"
    r"|\\text *\{(?P<text>[^{}]*)\}|\\based *\{(?P<based>[^{}]*)\}"
    r"|(?P<command>\\(?:[a-zA-Z]+|\\|.))"
    r"|(?P<sign>[-+*/^_=<>()\[\]{}|,;:!%°'&]|\.\.\.)"
    r"|(?P<letter>[a-zA-Z])"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af々"
_WORD = rf"(?:[{_CJK}]+|[^\W\d_{_CJK}]+)"
_BARE_WORDS = re.compile(
    rf"\\(?:text|based|begin|end) *\{{[^{{}}]*\}}|\\[A-Za-z]+|(?P<words>{_WORD}(?: *{_WORD})*)"
)
_ONE_WORD = re.compile(_WORD)
_NESTED_TEXT = re.compile(r"\\text *\{((?:[^{}]|\{[^{}]*\})*)\}")
_REPEATING = re.compile(r"(?<![\d.])(\d*)\.(\d*)\\(?:overline|bar|dot) *\{?(\d+)\}?")
_MATRIX = re.compile(
    r"\\begin *\{(?:([vV])|[pbB]|small)?matrix\*?\}|\\begin *\{array\} *(?:\{(?:@\{[^{}]*\}|[clr| ])*\})?"
)
_END = re.compile(r"\\end *\{(?:[pbBvV]|small)?(?:matrix|array)\*?\}")
_SYMBOL = r"(?:[A-Za-zµ]+|\\Omega|\\mu ?)(?: ?\^ ?\{? ?-?\d ?\}?)?"
_BARE_UNIT = re.compile(
    rf"(?<=[\d}})°])( *)({_SYMBOL}(?:(?: ?/ ?| ?\\cdot ?| ?\* ?| ){_SYMBOL})*)(?= *(?:$|[,;)\]}}=]))"
)

_UNIT_AS_FRACTION = re.compile(rf"(?<=[\d}})]) *\\frac *\{{ *({_SYMBOL}) *\}} *\{{ *({_SYMBOL}) *\}}$")
_UNIT_IN_BRACKETS = re.compile(rf"(?<=[\d}}]) *\( *({_SYMBOL}) *\)$")


@dataclass(frozen=True)
class Token:
    kind: str
    """number, letter, command, sign, based, text, or what `wording` makes of texts: word, unit, currency,
    half."""
    text: str
    gap: bool
    """Whether there is a space before it."""


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text that `layout` has rewritten; words are tokens of the kind `text`."""
    if len(text) > LONGEST:
        raise TooLarge(f"longer than {LONGEST} characters")
    text = _MATRIX.sub(
        lambda found: "\\det \\matrix " if found[1] else "\\matrix ", _END.sub(r"\\endmatrix ", text)
    )
    text = _REPEATING.sub(_repeat, text)
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
        if kind == "text":
            written = written.replace("\\cdot", "·").replace("\\Omega", "Ω").replace("\\mu ", "µ")
            written = " ".join(written.replace("\\", " ").split())
            written = f" {written} " if found["text"] != found["text"].strip() else written
        if written.strip():
            tokens.append(Token(kind, written, gap))
        gap = False
    return tokens


def words_marked(text: str) -> str:
    r"""The text with bare words as `\text`, and no braces inside of `\text`."""
    text = _NESTED_TEXT.sub(lambda found: f"\\text{{{re.sub('[{}]', '', found[1])}}}", text)
    return _BARE_WORDS.sub(_bare_words, text)


def bare_units(text: str, gap_needed: bool) -> str:
    """The text with letters after a number as units, where they may be some: `10 m`, `12 kJ/mol`.

    `gap_needed`: one letter right after the number is a variable.
    """

    def unit(found: re.Match[str]) -> str:
        spelt = found[2].replace("\\Omega", "Ω").replace("\\mu", "µ").replace("\\cdot", " ")
        spelt = re.sub(r"[{}]| (?=\^)|(?<=\^) ", "", spelt)
        words = re.findall(r"[A-Za-zµΩ]+", spelt)
        alone = len(spelt) > 1 or bool(found[1])
        if not all(bare_unit(word, alone) for word in words) or (gap_needed and not alone):
            return found[0]
        return f" \\text{{{spelt}}}"

    text = _UNIT_AS_FRACTION.sub(r" \1/\2", text)
    return _BARE_UNIT.sub(unit, _UNIT_IN_BRACKETS.sub(r" \1", text))


def _repeat(found: re.Match[str]) -> str:
    """0.1\\overline{6} as a fraction in brackets."""
    whole, fixed, cycle = found[1] or "0", found[2], found[3]
    if len(fixed) + len(cycle) > LONGEST_CYCLE:
        raise TooLarge("a very long repeating decimal")
    value = Fraction(
        int(whole + fixed + cycle) - int(whole + fixed or "0"), 10 ** len(fixed) * (10 ** len(cycle) - 1)
    )
    return f"(\\frac{{{value.numerator}}}{{{value.denominator}}})"


def _bare_words(found: re.Match[str]) -> str:
    r"""Letters without spaces are a product of variables. They are `\text` if they are a word: of another
    script, long, or known; so are the shorter runs of letters beside such a word."""
    if found["words"] is None:
        return found[0]
    runs = [(run.start(), run[0]) for run in _ONE_WORD.finditer(found["words"])]
    clear = [_is_word(run) for _, run in runs]
    before = found.string[: found.start()].rstrip()[-1:]
    if (before.isdigit() or before in ("}", ")", "°", "%")) and runs[0][1].lower() in BARE_UNITS:
        clear[0] = clear[0] or len(runs[0][1]) > 1
    if len(runs) == 1 and before.isdigit() and runs[0][1].lower() in JOINERS:
        clear[0] = found.string[found.end() :].lstrip()[:1].isdigit()
    if len(runs) > 1 and all(len(run) > 1 and run.lower() in BEFORE for _, run in runs):
        clear = [True] * len(runs)
    after = found.string[found.end() :].lstrip()[:1]
    if (
        runs[-1][1].lower() in STATES
        and (found.start() or len(runs) > 1)
        and (after.isdigit() or after in ("\\", "-", "(", "["))
    ):
        clear[-1] = True  # n is 7
    taken = list(clear)
    for order in (range(1, len(runs)), range(len(runs) - 2, -1, -1)):
        for place in order:
            beside = place - 1 if order.step > 0 else place + 1
            run = runs[place][1]
            taken[place] = taken[place] or (taken[beside] and (len(run) > 1 or run == "a"))
    if len(runs) > 1 and len(runs[-2][1]) == 1 and any(taken):  # The value of x is 7
        taken[-1] = taken[-1] or runs[-1][1].lower() in STATES
    if not any(taken):
        return found[0]
    out, inside = "", False
    for place, (_, run) in enumerate(runs):
        out += (" " if inside and taken[place] else "}" * inside + " \\text{ " * taken[place]) + (
            run if taken[place] else f" {run}"
        )
        inside = taken[place]
    return out + " }" * inside


def _is_word(run: str) -> bool:
    low = run.lower()
    return not run.isascii() or len(run) > LONG or low in _SHORT or (len(run) == LONG and low in FOUR_LETTERS)
