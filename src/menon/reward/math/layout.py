r"""One layout for what is laid out in several ways: rows of a system, brackets turned outwards,
`{a \over b}`, grouped digits, numerals with a prefix, conditions on a whole number.

It rewrites tidied text and runs in linear time.
"""

import re

from menon.reward.math.tokens import words_marked

_SPACING = re.compile(r"(?:\\\\|\\(?:cr|newline)(?![a-zA-Z]))\s*(?:\[ *-?[\d.]+ *(?:pt|em|ex|mm|cm|in) *\])?")
_ROWS = re.compile(
    r"(?:\\\{ *)?\\begin *\{(cases|rcases|dcases|aligned|align\*?|alignedat|gathered|gather\*?|split|array)\}"
    r" *(?:\{(?:[lcr| \d])*\})?"
    r"((?:(?!\\begin|\\end).)*)\\end *\{\1\}",
    re.DOTALL,
)
_RELATION = re.compile(r"=|<|>|\\(?:le|ge|ne|in|lt|gt|equiv|approx)(?![a-zA-Z])")
_CONDITION = re.compile(r"^\s*\\text *\{\s*(?:if|for|when|where|wenn|si|при)\s*\}\s*|[,;.]\s*$")
_OTHERWISE = re.compile(r"^\s*\\text *\{\s*(?:otherwise|else)\.?\s*\}\s*$|^\s*(?:otherwise|else)\s*$")
_OVER = re.compile(r"\\over(?![a-zA-Z])")
MOST_FRACTIONS = 8
"""Most fractions of the form {a \\over b} in a text."""
_MODULUS = re.compile(r"\( *(?:\\text *\{ *mod *\}|\\bmod|mod) *([^()]*)\)")
_PLAIN_MODULUS = re.compile(r"\\text *\{ *mod *\}")
_WHOLE = r"(?:positive|non-?negative|natural|arbitrary)? *(?:integers?|(?:whole|natural) numbers?)"
_INTEGER = re.compile(
    r"[,;]?\s*\(? *\\text *\{[ ,(]*(?:where |with |for |and )*(?:all |any |some |each |every |an |a )?"
    rf" *{_WHOLE} *\}}\s*(?P<name>[a-zA-Z]) *\)?"
    r"|[,;]?\s*\(? *(?:\\text *\{[ ,(]*(?:where|with|for|for all|for any|其中)[ ,]*\}\s*)?"
    r"(?P<named>[a-zA-Z]) *\\text *\{ *(?:is|be|being|为|是)? *(?:an|any|a|arbitrary)?"
    rf" *(?:{_WHOLE}|整数)[ )]*\}}\)?"
)
_NATURAL = re.compile("positive|negative|natural")
_FOR = re.compile(
    r"(?:,|;)?\s*(?:\( *)?\\text *\{[ ,(]*(?:where|for all|for any|for|with|其中|für|pour|para|где)[ ,]*\}\s*"
    r"(?=[a-zA-Z](?:_\{?\w\}?)? *(?:\\in|\\ge|\\le|>|<)(?![a-zA-Z]))"
)
_BRACKETED = re.compile(
    r"[\s,]*\( *((?:[a-zA-Z] *(?:\\ge|\\le|\\ne|>|<)|[a-zA-Z](?:, *[a-zA-Z])* *\\in)(?![a-zA-Z])[^()]*)\)\s*$"
)
_ELLIPSIS = re.compile(r"[,;]?\s*\(? *([a-zA-Z]) *= *(?:0|1) *, *(?:1|2) *(?:, *\d+ *)*,? *\.\.\. *\)?\s*$")
_REASON = re.compile(
    r"\s*\(? *\\text *\{ *,?\(? *(?:since|because|weil|car|porque|因为)(?![^\W\d_])"
    r"((?:[^{}]|\}(?=[^{}]*(?:\\text *\{|$|\^ *\{|\{)))*(?:[^{}]|\{[^{}]*\})*)\}?\s*\)?$"
)
_DENIED = re.compile(
    r"(?i)\b(?:not|no|or|otherwise|else|wrong|never|but|unless|nicht|pas|if)\b|n't|[不没否或]"
)
_TIMES = re.compile(r"(?<=\d) *(?:\\text *\{ *[xX] *\}|[xX]) *(?=\d)")
_DOTTED = re.compile(
    r"(?<![\d.,])\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?(?![\d.])|(?<![\d.,])\d{1,3}(?:\.\d{3})+,\d+(?![\d.,])"
)
_QUOTED = re.compile(r"(?<![\d.,])\d{1,3}(?:['_]\d{3})+(?!\d)")
_UNDERSCORED = re.compile(r"(?<![\d.,])\d{1,3}(?:\\?_\d{3})+(?!\d)")
_INDIAN = re.compile(r"(?<![\d.,])\d{1,2}(?:,\d{2})+,\d{3}(?!\d)")
_COMMA = re.compile(r"[+-]? ?\d+,(?!\d{3}$)\d+")
_CYCLE = re.compile(r"(?<![\d.])(\d+\.\d*)\((\d+)\)")
_DOTS = re.compile(r"(?<![\d.])(\d*\.\d*?)\\dot *\{?(\d)\}?(?:(\d*)\\dot *\{?(\d)\}?)?(?!\d)")
_ENDLESS = re.compile(r"(?<![\d.])(\d*\.\d*?)(\d{1,8}?)\2{2,}\.\.\.")
_SLASHED = re.compile(r"(?<![\w}\)])\^ *\{? *(\d+) *\}? */ *_ *\{? *(\d+) *\}?")
_BASES = dict(
    zip(
        ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
        range(2, 13),
        strict=True,
    )
) | {"sixteen": 16}
_SPOKEN_BASE = re.compile(rf"_ *\{{ *(?:\\text *\{{ *)?({'|'.join(_BASES)}) *\}}?\}}")
_HOURS = re.compile(r"(?<![\w.])(\d+) ?h ?(\d{1,2}) ?(?:min|m)(?![A-Za-z])")
_PREFIXED = re.compile(r"(?<![\w.])0(?:([xX])([0-9a-fA-F]+)|([bB])([01]+)|([oO])([0-7]+))(?!\w)")
_DIGITS = re.compile(r"(?<![\w.\\])([0-9A-Fa-f]{2,40}) *_ *(?:\{ *(1[1-6]) *\}|(1[1-6])(?!\d))")
_CHOSEN = re.compile(
    r"(?<![\w}])(?:[_^] *\{? *(\w+) *\}? *(?:\\text *\{ *)?([CP])(?: *\})? *_ *\{? *(\w+) *\}?)"
    r"|(?<![\w\\])(\d+) ?([CP]) ?(\d+)(?!\w)"
)
_TERM = re.compile(r"(?<![\w\\])([CAP]) *_ *\{? *(\w+) *\}? *\^ *\{? *(\w+) *\}?(?!\w)")
_TERM_UP = re.compile(r"(?<![\w\\])([CAP]) *\^ *\{? *(\w+) *\}? *_ *\{? *(\w+) *\}?(?!\w)")
_EXCEPT = re.compile(
    r"\\text *\{ *(?:all )?(?:the )?real numbers?,? *(?:x )?(?:except|other than|excluding|besides)"
    r" *(?:for )?(?:x *=)? *\}\s*(?:x *= *)?(.+)$"
)
_NAMES = [
    (re.compile(r"\^ *\{ *\\prime *\}"), r"^\\prime "),
    (re.compile(r"^\s*\\(?:approx|simeq|sim)(?![a-zA-Z])"), ""),
    (re.compile(r"\\mu *\\text *\{ *(?=[msgLFAVWNJ] *\})"), r"\\text{µ"),
    (re.compile(r"\\text *\{ *([kMGm]) *\} *\\Omega(?![a-zA-Z])"), r"\\text{\1Ω}"),
    (re.compile(r"\\text *\{ *(abs|floor|ceil) *\}"), r"\\\1 "),
    (re.compile(r"(?<=R) *[-/] *(?=\\\{)"), r" \\setminus "),
    (re.compile(r"\\(?:lor|vee)(?![a-zA-Z])"), r"\\text{ or }"),
    (re.compile(r"\\(?:land|wedge)(?![a-zA-Z])"), r"\\text{ and }"),
    (re.compile(r"(?<=\\in) *([ZN]) *[_^] *(?:\{? *(?:[*+]|\\cdot|>0) *\}?|$)"), " N"),
    (re.compile(r"\\(?:top|intercal)(?![a-zA-Z])"), "T"),
    (re.compile(r"\\(?:mathstrut|strut|nobreak|protect)(?![a-zA-Z])"), ""),
    (re.compile(r"\\(?:sfrac|nicefrac|cfrac|xfrac)(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\surd(?![a-zA-Z])"), r"\\sqrt "),
    (re.compile(r"\\backslash(?![a-zA-Z])|\\smallsetminus(?![a-zA-Z])"), r"\\setminus "),
    (re.compile(r"(?<![\\A-Za-z])(sinh|cosh|tanh)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![A-Za-z}])\\text *\{ *(?:const|constant|Const)\.? *\}"), "C"),
]


def laid_out(text: str) -> str:
    """The text in one layout, for the parser; bare words become `\text`."""
    text = words_marked(numerals(_SPACING.sub(r"\\\\ ", text)))
    for written, one in _NAMES:
        text = written.sub(one, text)
    text = _ROWS.sub(rows, text)
    for _ in range(MOST_FRACTIONS):
        if (found := _OVER.search(text)) is None:
            break
        text = fraction_of(text, *found.span())
    text = _PLAIN_MODULUS.sub(r"\\bmod ", _MODULUS.sub(r"\\pmod{\1}", text))
    text = conditions(text)
    return outward(text) if "]" in text or "[" in text else text


def fraction_of(text: str, start: int, end: int) -> str:
    r"""The text with the `{a \over b}` around this `\over` as `\frac{a}{b}`; unchanged in meaning where no
    braces are around it."""
    opened, closed = enclosing(text[:start][::-1], "}", "{"), enclosing(text[end:], "{", "}")
    if opened is None and closed is None and text.count("\\over") == 1:
        return f"\\frac{{{text[:start]}}}{{{text[end:]}}}"
    if opened is None or closed is None:
        return text[:start] + "\\over_" + text[end:]
    before = start - opened - 1
    after = end + closed
    return f"{text[:before]}\\frac{{{text[before + 1 : start]}}}{{{text[end:after]}}}{text[after + 1 :]}"


def enclosing(text: str, opens: str, closes: str) -> int | None:
    """The place of the first closing brace that is not opened in the text."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == opens) - (letter == closes)
        if depth < 0:
            return place
    return None


def rows(found: re.Match[str]) -> str:
    r"""The rows of a system as a list. A row `value & condition` of a function given by cases is a pair;
    anything else stays as it is, and is not read."""
    kept = [row for row in re.split(r"\\\\", found[2]) if row.strip()]
    if found[1] == "array" and not all(_RELATION.search(row) for row in kept):
        return found[0]
    made = []
    for row in kept:
        cells = [cell for cell in row.split("&") if cell.strip()]
        if len(cells) == 2 and not (_RELATION.match(cells[1].strip()) or _RELATION.search(cells[0])):
            condition = _CONDITION.sub("", _OTHERWISE.sub(r"\\text{otherwise}", cells[1]))
            made.append(f"({_CONDITION.sub('', cells[0])}, {condition})")
        elif len(_RELATION.findall(row)) >= 1 and "," not in row.strip().rstrip(",;."):
            made.append(row.replace("&", " ").strip().rstrip(",;."))
        elif "&" not in row and "," not in row and found[1] not in ("cases", "dcases", "rcases"):
            made.append(row.strip().rstrip(",;."))
        else:
            return found[0]
    return " , ".join(made)


_FORALL = re.compile(r"[,;]?\s*\\forall *(?=[a-zA-Z])")
_BESIDE = re.compile(r"(?<=[\w})]) +(?=[a-z] *\\in *[ZN](?![a-zA-Z]))")
_PLUS_MINUS = re.compile(r"[,;]?\s*\(? *([a-zA-Z]) *= *0 *, *\\pm *1 *(?:, *\\pm *\d+ *)*,? *\.\.\. *\)?\s*$")


def conditions(text: str) -> str:
    r"""A reason for the answer is dropped; `for integer k` and `(n \ge 1)` become the condition after a
    comma."""
    reason = _REASON.search(text)
    if reason and reason.start() and not _DENIED.search(reason[1]):
        text = text[: reason.start()]
    if "\\text" in text or "integer" in text or "整数" in text:
        text = _INTEGER.sub(_in_integers, text)
        text = _FOR.sub(" , ", text)
        text = _EXCEPT.sub(r"R \\setminus \\{\1\\}", text)
    text = _BESIDE.sub(" , ", _FORALL.sub(" , ", text))
    text = _PLUS_MINUS.sub(r" , \1 \\in Z", _ELLIPSIS.sub(r" , \1 \\in N", text))
    return _BRACKETED.sub(r" , \1", text)


def _in_integers(found: re.Match[str]) -> str:
    return f" , {found['name'] or found['named']} \\in {'N' if _NATURAL.search(found[0]) else 'Z'}"


def outward(text: str) -> str:
    """`]2,5[` as `(2,5)`: a square bracket turned outwards leaves the end out."""
    out = list(text)
    opened: list[tuple[str, int]] = []
    for place, letter in enumerate(text):
        escaped = place > 0 and text[place - 1] == "\\"
        if letter == "(" or (letter == "{" and not escaped):
            opened.append((letter, place))
        elif letter in ")}" and not escaped:
            if opened:
                opened.pop()
        elif letter == "[":
            if opened and opened[-1][0] in "[]" and ends_interval(text, opened[-1][1], place):
                opened.pop()
                out[place] = ")"
            else:
                opened.append((letter, place))
        elif letter == "]":
            if opened and opened[-1][0] in "[](":
                opened.pop()
            else:
                opened.append((letter, place))
                out[place] = "("
    return "".join(out)


def ends_interval(text: str, start: int, end: int) -> bool:
    """Whether a bracket that opens nothing ends the interval that began at `start`."""
    inside, after = text[start + 1 : end], text[end + 1 :].lstrip()
    return bool(re.search(r"[^\s,;] *[,;] *[^\s,;]", inside)) and (
        not after
        or after[0] in ",;)}|"
        or after.startswith(("\\cup", "\\cap", "\\text", "\\setminus", "\\}", "or"))
    )


def numerals(text: str) -> str:
    """Digits in groups, repeating decimals, numerals of other bases, and combinations."""
    text = _TIMES.sub(r" \\cdot ", _PREFIXED.sub(_prefixed, text))
    text = _DOTTED.sub(lambda found: found[0].replace(".", "").replace(",", "."), text)
    text = _UNDERSCORED.sub(lambda found: re.sub(r"\D", "", found[0]), text)
    text = _QUOTED.sub(lambda found: re.sub(r"\D", "", found[0]), text)
    text = _CYCLE.sub(r"\1\\overline{\2}", text)
    text = _DOTS.sub(
        lambda found: f"{found[1]}\\overline{{{found[2]}{found[3] or ''}{found[4] or ''}}}", text
    )
    text = _HOURS.sub(r"\1 \\text{h} \2 \\text{min}", text)
    text = _ENDLESS.sub(r"\1\\overline{\2}", text)
    text = _SLASHED.sub(r"\\frac{\1}{\2}", text)
    text = _SPOKEN_BASE.sub(lambda found: f"_{{{_BASES[found[1]]}}}", text)
    text = _DIGITS.sub(_based, text)
    text = _CHOSEN.sub(_chosen, text)
    text = _TERM.sub(lambda found: _selection(found[1], found[2], found[3], found[0]), text)
    return _TERM_UP.sub(lambda found: _selection(found[1], found[3], found[2], found[0]), text)


def _prefixed(found: re.Match[str]) -> str:
    base = 16 if found[1] else 2 if found[3] else 8
    return f"\\based{{{(found[2] or found[4] or found[6]).upper().lstrip('0') or '0'}:{base}}}"


def _based(found: re.Match[str]) -> str:
    base = int(found[2] or found[3])
    if not all(int(digit, 16) < base for digit in found[1]) or found[1].isdigit():
        return found[0]
    return f"\\based{{{found[1].upper().lstrip('0') or '0'}:{base}}}"


def _chosen(found: re.Match[str]) -> str:
    if found[4]:
        return _selection(found[5], found[4], found[6], found[0])
    return _selection(found[2], found[1], found[3], found[0])


def _selection(letter: str, of: str, chosen: str, written: str) -> str:
    r"""C_5^2 as \binom{5}{2}, A_5^2 and P_5^2 as the number of ordered selections; two numbers, the larger
    first, or it is a name with a power."""
    numbers = of.isdigit() and chosen.isdigit()
    if numbers and (int(of) < int(chosen) or max(len(of), len(chosen)) > 4):
        return written
    if not numbers and not (
        re.fullmatch(r"[a-z]|\d+", of)
        and re.fullmatch(r"[a-z]|\d+", chosen)
        and letter == "C"
        and of.isalpha()
    ):
        return written
    return f"\\{'binom' if letter == 'C' else 'arrangements'}{{{of}}}{{{chosen}}}"


def grouped_otherwise(text: str) -> str:
    """The text with digits grouped as in India, or a number with a decimal comma."""
    if _COMMA.fullmatch(text.strip()):
        return text.replace(",", ".")
    return _INDIAN.sub(lambda found: found[0].replace(",", ""), text)
