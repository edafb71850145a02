r"""The normal form of a written answer: one spelling for what can be written in many ways. It takes text,
returns text, and runs in linear time."""

import re
import unicodedata

from menon.reward.math.functions import functions_named
from menon.reward.math.upright import units_joined

SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙ", "0123456789+-=()n", strict=True))
_SIGNS = r"""
−–—‒‐‑﹣ -
×✕✖·⋅∙• \cdot
÷ \div
∕⁄ /
≤⩽≦ \le
≥⩾≧ \ge
≠ \ne
≈≅≃ \approx
√ \sqrt
± \pm
∓ \mp
∞ \infty
∪ \cup
∩ \cap
∈ \in
∉ \notin
∅ \emptyset
∖ \setminus
∠ \angle
△ \triangle
∑ \sum
∏ \prod
∫ \int
→ \to
⇒ \Rightarrow
⌊ \lfloor
⌋ \rfloor
⌈ \lceil
⌉ \rceil
ϕ \phi
ϵ \epsilon
Γ \Gamma
Δ \Delta
Θ \Theta
Λ \Lambda
Ξ \Xi
Π \Pi
Σ \Sigma
Φ \Phi
Ψ \Psi
Ω \Omega
⟨ (
⟩ )
，、 ,
； ;
： :
∶ :
。 .
′‘’ '
“”„«» "
ℝ R
ℤ Z
ℕ N
ℚ Q
ℂ C
"""
_GREEK = (
    r"\alpha \beta \gamma \delta \varepsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi o \pi \rho "
)
_GREEK += r"\varsigma \sigma \tau \upsilon \varphi \chi \psi \omega"
SIGNS = {
    sign: spelt + " " * spelt.startswith("\\")
    for signs, spelt in map(str.split, _SIGNS.split("\n")[1:-1])
    for sign in signs
}
SIGNS |= {chr(ord("α") + place): name + " " for place, name in enumerate(_GREEK.split())}
SIGNS |= {"°": "^\\circ ", "″": "''"}
_UNSEEN = re.compile("[\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufe0e\ufe0f]")
_RAISED = re.compile(f"[{''.join(SUPERSCRIPTS)}]+")
_LOWERED = re.compile(f"[{''.join(SUBSCRIPTS)}]+")
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[a-zA-Z]|(?=[({\\]))")
_VULGAR = re.compile("[¼-¾⅐-⅞↉]")
_TOKEN = re.compile(r"<\|[A-Za-z0-9_]{1,40}\|>")

SPACES = re.compile(
    r"(?<!\\)\\(?:,|;|:|>|!|quad\b|qquad\b|enspace\b|thinspace\b|hspace\{[^{}]{0,12}\}|hfill\b| |\n)"
    r"|~|[\s\u00a0\u2000-\u200a\u202f]"
)
_NOTHING = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|biggl|biggr|big|Big|bigg|Bigg|middle)(?![a-zA-Z])\s*\.?"
    r"|\\(?:therefore|because|displaystyle|textstyle|scriptstyle|limits|nolimits|boxed|fbox|strut|hline|rm|bf|it"
    r"|tiny|small|large|Large|LARGE|huge|Huge)(?![a-zA-Z])|\\(?:text)?color\s*\{[a-zA-Z]{1,20}\}"
    r"|(?:\\(?:checkmark|blacksquare|square|qed)(?![a-zA-Z])|[✓✔✅☑])(?=[\s$}.]*$)"
)
_BOLD = re.compile(r"\\(?:boldsymbol|bm)\s*(?=\{[^{}]{2,}\}|\{[^A-Za-z{}]\})")
_ROMAN = re.compile(r"\{\s*\\(?:rm|bf|it|sf|tt)\s+([A-Za-z /]+)\}")
_SAME = [
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![a-zA-Z])"), r"\\binom"),
    (re.compile(r"\\(?:leq|leqslant)(?![a-zA-Z])|<="), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![a-zA-Z])|>="), r"\\ge "),
    (re.compile(r"\\neq(?![a-zA-Z])|!=|\\not\s*="), r"\\ne "),
    (re.compile(r"\\(?:times|cdotp|ast)(?![a-zA-Z])"), r"\\cdot "),
    (re.compile(r"\*\*(?=\S)"), "^"),
    (re.compile(r"\\(?:lvert|rvert|vert|mid)(?![a-zA-Z])"), "|"),
    (re.compile(r"\\(?:langle|lparen)(?![a-zA-Z])"), "("),
    (re.compile(r"\\(?:rangle|rparen)(?![a-zA-Z])"), ")"),
    (re.compile(r"\\(?:lbrack)(?![a-zA-Z])"), "["),
    (re.compile(r"\\(?:rbrack)(?![a-zA-Z])"), "]"),
    (re.compile(r"\\(?:lbrace)(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\(?:varnothing|O)(?![a-zA-Z])"), r"\\emptyset "),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|\\degree(?![a-zA-Z])"), "°"),
    (re.compile(r"\\(?:mod|mathbin\{mod\})(?![a-zA-Z])"), r"\\bmod "),
    (re.compile(r"\\epsilon(?![a-zA-Z])"), r"\\varepsilon "),
    (re.compile(r"\\phi(?![a-zA-Z])"), r"\\varphi "),
    (
        re.compile(
            r"\\(?:mathbb|Bbb|mathbf|bm|boldsymbol|mathcal|mathit)(?:\s*\{\s*([A-Za-z])\s*\}| +([A-Za-z]))"
        ),
        r" \1\2",
    ),
    (re.compile(r"\{([^{}\\]*)\\choose(?![a-zA-Z])([^{}\\]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"°\s*(?:\\(?:text|mathrm|mbox)\s*\{\s*([CF])\s*\}|([CF])(?![A-Za-z]))"), r"\\text{°\1\2}"),
    (re.compile(r"([\d}°])((?:\\[,;:! ]|~|\s)*)\\mathrm\s*\{\s*([msghLNJWVAKCTF])\s*\}"), r"\1\2\\text{\3}"),
    (re.compile(r"\\(?:mathrm|operatorname\*?)\s*\{\s*([A-Za-z])\s*\}"), r" \1"),
    (
        re.compile(
            r"\\(?:textbf|textsc|textit|textrm|textnormal|textsf|texttt|mathrm|mathsf|mathbf|mathit|mbox|hbox|operatorname\*?|emph)\s*\{"
        ),
        r"\\text{",
    ),
    (re.compile(r"\\text\s*\{\s*(min|max|sec)\s*\}(?=\s*[({_a-z\\])"), r"\\\1 "),
    (re.compile(r"\\text\s*\{\s*(%|percent|percentage|pct)\s*\}"), "%"),
    (re.compile(r"\\text\s*\{\s*([\d.,]+)\s*\}"), r"\1"),
    (re.compile(r"\\[hv]?phantom(?![a-zA-Z])\s*(?:\{[^{}]*\}|-)?"), ""),
    (re.compile(r"(?<![\\\w}])\{\}(?=\s*[_^°])"), ""),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"(?<!\{)[€£¥₹₽₩¢]"), r"\\text{\g<0>}"),
    (re.compile(r"(?<![A-Za-z])US\s*(?=\\?\$)"), ""),
    (re.compile(r"(?<![A-Za-z\\{])(USD|EUR|GBP|INR|RMB|CNY|Rs)\.?\s*(?=\d)"), r"\\text{\1} "),
    (re.compile(r"(?<!\\)\$"), ""),
    (re.compile(r"\\\$"), r"\\text{$}"),
    (re.compile(r"(?<!\\)\\[()\[\]]"), ""),
    (re.compile(r"\\(?:mathrm|mathsf|rm) +([A-Za-z])(?![A-Za-z])"), r" \1"),
    (re.compile(r"\{\s*,\s*\}"), ","),
    (re.compile(r"\\(?:ldots|dots|cdots|dotsc|dotsm|dotsb)(?![a-zA-Z])"), "..."),
]
_WRAPPED = re.compile(
    r"\\math(?:bin|rel|ord|punct|op|open|close|inner)(?![A-Za-z])\s*\{((?:[^{}]|\{[^{}]*\})*)\}"
    r"|\\[A-Za-z]+\*?\s*\{[^{}]*\}|[_^]\s*\{[^{}]*\}|\\(?:colon|ratio)(?![A-Za-z])"
    r"|\{(?:\s|\\[,;! ])*(\\colon|[-:;.=/+*<>])(?:\s|\\[,;! ])*\}|\\slash(?![A-Za-z])"
)
"""Signs in braces, which changes the space around them; with the groups that stay as they are."""
_LETTER = re.compile("[^\\W\\d_]")
_PRICE = re.compile(r"(?<!\\)\$(?=\s*[\d.])")
_FUNCTION = re.compile(
    r"(?<![\\A-Za-z])(arc)?(sqrt|sin|cos|tan|cot|csc|log|ln|exp|pi|infinity|infty|theta|cdot"
    r"|sec(?= *(?:[({\\^]|[A-Za-z\d](?![a-z])))"
    r"|cup(?= *[(\[{\\A-Z]))(?![A-Za-z])"
)
_DOUBLED = re.compile(
    r"(?<!\\)\\\\(?=(?:frac|dfrac|tfrac|left|right|sqrt|text|pi|cdot|times|boxed|mathrm|infty|cup|pm|circ|begin|end|theta|alpha)(?![a-z]))"
)
_LOST = [
    ("\x0crac", "\\frac"),
    ("\text{", "\\text{"),
    ("\times", "\\times"),
    ("\x08oxed", "\\boxed"),
    ("\right", "\\right"),
]
"""Commands whose backslash and first letter were turned into a control character by some program."""
_JOINED = re.compile(r"(?<=\d)(?:\s*\{\s*,\s*\}\s*|,\s*\\!\s*)(?=\d{3}(?!\d))")
GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?!\d)")
_SPACED = re.compile(r"(?<![\d.,])(\d{1,3})((?:[ \u00a0\u2009\u202f]|\\,|\\ |~)\d{3})+(?![\d.]*\d)")

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,15}))?")
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_NO_WORD = re.compile(r"[^\w%+\-/.]+|(?<!\d)\.|\.(?!\d)|_")


def tidy(text: str, grouped: bool = True) -> str:
    """LaTeX with one spelling for each sign, no dollar signs, no layout; text stays in `\\text{}`.

    `grouped`: 1,234 is a number, and otherwise two.
    """
    text = _TOKEN.sub(" ", text)
    for lost, whole in _LOST:
        text = text.replace(lost, whole)
    if not text.isascii():
        text = ascii_maths(text)
    text = unwrapped(text)
    text = units_joined(functions_named(text)) if _LETTER.search(text) else text
    text = _ROMAN.sub(r"\\text{\1}", text)
    text = _NOTHING.sub("", _BOLD.sub("", _DOUBLED.sub(r"\\", text)))
    text = _JOINED.sub("", text)
    text = GROUPED.sub(_group, text) if grouped else text
    text = _SPACED.sub(lambda found: re.sub(r"\D", "", found[0]), text)
    if text.replace("\\$", "").count("$") % 2:  # one dollar sign is a price
        text = _PRICE.sub(r"\\$", text, count=1)
    for written, one in _SAME:
        text = written.sub(one, text)
    text = _FUNCTION.sub(r"\\\1\2 ", text) if not text.isalpha() else text
    return SPACES.sub(" ", text.replace("\\infinity", "\\infty")).strip()


def unwrapped(text: str) -> str:
    r"""The text with signs as they are: 6{:}20, 7\colon 3 and 2\mathbin{/}3 are 6:20, 7:3 and 2/3."""
    return _WRAPPED.sub(_unwrap, text) if "\\" in text or "{" in text else text


def _unwrap(found: re.Match[str]) -> str:
    if found[1] is not None or found[2]:
        return unwrapped(found[1] or found[2])
    if found[0].startswith("\\text"):
        sign = found[0][5:].strip(" {}")
        return sign if sign in ("-", ":") else found[0]
    if found[0] == "\\slash":
        return "/"
    return ":" if found[0] in ("\\colon", "\\ratio") else found[0]


def without_currency(text: str) -> str:
    """A tidied text without signs of currencies."""
    return re.sub(r"\\text\{[$€£¥₹₽₩¢]\}", "", text)


def _group(found: re.Match[str]) -> str:
    """1,234 is a number, but (1,234) is a pair, \\{1,234\\} a set, and 7,1,234 a list."""
    before = found.string[max(0, found.start() - 3) : found.start()]
    behind = found.string[found.end() : found.end() + 3]
    alone = before.rstrip().endswith(("(", "[", "\\{")) and behind.lstrip().startswith((")", "]", "\\}"))
    return found[0] if alone or before.endswith(",") or behind.startswith(",") else found[0].replace(",", "")


def ascii_maths(text: str) -> str:
    """Unicode's digits, signs, roots, fractions and powers as LaTeX. Superscripts are powers."""
    text = _UNSEEN.sub("", text)
    text = _RAISED.sub(lambda found: "^{" + "".join(map(SUPERSCRIPTS.__getitem__, found[0])) + "}", text)
    text = _LOWERED.sub(lambda found: "_{" + "".join(map(SUBSCRIPTS.__getitem__, found[0])) + "}", text)
    text = _VULGAR.sub(_vulgar, text)
    text = _ROOT.sub(lambda found: f"\\sqrt{{{found[1]}}}" if found[1] else "\\sqrt", text)
    text = "".join(SIGNS.get(letter, letter) for letter in text)
    text = unicodedata.normalize("NFKC", text)
    text = "".join(SIGNS.get(letter) or _digit(letter) for letter in text)
    return text


def _vulgar(found: re.Match[str]) -> str:
    upper, lower = unicodedata.normalize("NFKC", found[0]).split("⁄")
    return f"\\frac{{{upper}}}{{{lower or 1}}}"


def _digit(letter: str) -> str:
    return (
        letter if letter.isascii() or unicodedata.category(letter) != "Nd" else str(unicodedata.digit(letter))
    )


def squeeze(text: str) -> str:
    """The key by which tidied texts are compared: no spaces except between digits, no braces around one sign,
    no final full stop."""
    text = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<!\d) +| +(?!\d)", "", text)
    text = re.sub(r"\{([A-Za-z0-9])\}", r"\1", text)
    text = text.rstrip(".,;:") if len(text) > 1 and not text.endswith("...") else text
    return text.casefold() if text.isalpha() and len(text) > 2 else text


def decimal(text: str) -> tuple[bool, str, int] | None:
    """A number in one form: negative, its digits without zeros at either end, and the power of ten of the
    last; else None.

    Digits are compared as text, so a number may have a million of them. 0 is (False, "", 0).
    """
    found = _NUMBER.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        return None
    digits = found[2] + (found[3] or "")
    power = int(found[4] or 0) - len(found[3] or "")
    kept = digits.rstrip("0")
    power += len(digits) - len(kept)
    kept = kept.lstrip("0")
    return (found[1] == "-", kept, power) if kept else (False, "", 0)


def words(text: str) -> str:
    """For comparing prose: small letters, no articles, no punctuation, one space between words."""
    text = unicodedata.normalize("NFKC", re.sub(r"\\[a-zA-Z]+|[{}$\\]", " ", text)).casefold()
    return " ".join(_ARTICLE.sub(" ", _NO_WORD.sub(" ", text)).split())
