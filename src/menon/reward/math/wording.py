r"""What words beside a value say: `5 million`, `\text{negative }5`, `7 or 8`, `12 apples`.

Words become the tokens that say the same in symbols, or a unit, or nothing if they are known to be harmless.
Any other word makes the answer unreadable.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from menon.reward.math import lexicon
from menon.reward.math.lexicon import names_in
from menon.reward.math.tokens import Token, Unreadable
from menon.reward.math.units import is_noun, known, looks_like_unit

LONGEST_PHRASE = 6
_CURRENCY = names_in("$ € £ ₹ ¥ ₽ ₩ rs usd eur gbp inr us$ rmb cny")
_PIECE = re.compile(
    r"(?P<number>\d+(?:[.,]\d+)*)|(?P<cjk>[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af々]+)"
    r"|(?P<word>°[CF]?|[^\W\d_]+(?:(?:['’-]|\.(?=[^\W\d_]\b))[^\W\d_]+)*|[$€£₹¥₽₩¢])"
    r"|(?P<sign>\^ ?-?\d|\^\(-?\d\)|\S)"
)
_SIGNS = {"%": "%", "+": "+", "*": "*", "=": "=", "!": "!", "<": "<", ">": ">", "±": "\\pm", "√": "\\sqrt"}
_CHOICE = re.compile(r"(?:^|(?<=[:\s]))(?:\([A-J]\)|[A-J][.:)])\s*$")
"""The letter of a choice before a value: `(B)`, `B:`."""
_INSIDE = "/*·"
_POINTS = re.compile(r"\b[A-Z]{2,4}\b")
"""A segment, triangle or quadrilateral by its points."""
_ORDINAL = re.compile(
    r".*(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf|teen|tie|hundred|thousand|illion)ths?|.*ièmes?|.*avos?"
)
"""Parts of a whole: 5 sixths, 5 dixièmes, 5 doceavos."""
_OF_NUMBERS = frozenset({"positive", "negative"})
"""Words that say which numbers are counted: 5 positive integers."""
Meaning = tuple[str, str]


@dataclass(frozen=True)
class Piece:
    kind: str
    text: str

    @property
    def low(self) -> str:
        return self.text.lower().replace("’", "'")


def _phrases() -> dict[str, Meaning]:
    found: dict[str, Meaning] = {}
    found |= {phrase: ("joiner", sign) for phrase, sign in lexicon.JOINERS.items()}
    found |= {phrase: ("times", str(power)) for phrase, power in lexicon.MULTIPLIERS.items()}
    found |= {phrase: ("half", fraction) for phrase, fraction in lexicon.HALVES.items()}
    found |= {phrase: ("power", power) for phrase, power in lexicon.POWERS.items()}
    found |= dict.fromkeys(lexicon.ASIDES, ("aside", ""))
    found["factorial"] = ("factorial", "!")
    return found


PHRASES = _phrases()
_CJK = frozenset(
    [
        *PHRASES,
        *lexicon.OPERATORS,
        *lexicon.SIGNS,
        *lexicon.BEFORE,
        *lexicon.AFTER,
        "不",
        "不是",
        "非",
        "平方",
        "立方",
    ]
)


def pieces_of(text: str) -> list[Piece]:
    found = []
    for match in _PIECE.finditer(text):
        kind = match.lastgroup or ""
        if kind == "cjk":
            found += [Piece("word", word) for word in segmented(match[0])]
        else:
            found.append(Piece(kind, match[0]))
    return found


def segmented(run: str) -> list[str]:
    """Chinese, Japanese or Korean, cut into known words, the longest first; the rest stays as it is."""
    found, start = [], 0
    while start < len(run):
        longest = next(
            (
                end
                for end in range(min(len(run), start + LONGEST_PHRASE), start, -1)
                if run[start:end] in _CJK or known(run[start:end])
            ),
            len(run),
        )
        found.append(run[start:longest])
        start = longest
    return found


def said(text: str, left: bool, right: bool) -> list[Token]:
    """The tokens of words that stand after a value (`left`), before one (`right`), or between two.
    Raises `Unreadable`."""
    return Wording(text, left, right).tokens()


class Wording:
    """Reads the pieces of one text from left to right."""

    def __init__(self, text: str, left: bool, right: bool) -> None:
        text = text if left else _CHOICE.sub("", text)
        self.text = text
        self.pieces = [piece for piece in pieces_of(text) if piece.text not in '()[].;:"“”']
        if "(" in text and any(piece.kind == "number" for piece in self.pieces):
            raise Unreadable("has a number in brackets beside it")
        self.place = 0
        self.value = left
        """Whether a value has been read."""
        self.right = right
        self.found: list[Token] = []

    def tokens(self) -> list[Token]:
        while self.place < len(self.pieces):
            if not (self.phrase() or self.literal() or self.words()):
                raise Unreadable(f"says {self.text!r}")
        return self.found

    @property
    def ahead(self) -> bool:
        """Whether a value follows what has been read up to here."""
        return self.right or any(piece.kind == "number" for piece in self.pieces[self.place :])

    def emit(self, kind: str, text: str) -> None:
        self.found.append(Token(kind, text, True))

    def phrase(self) -> bool:
        """Reads the longest phrase that begins here."""
        for length in range(min(LONGEST_PHRASE, len(self.pieces) - self.place), 0, -1):
            group = self.pieces[self.place : self.place + length]
            if any(piece.kind != "word" for piece in group):
                continue
            text = " ".join(piece.low for piece in group)
            before = self.place
            self.place += length
            if self.meant(text):
                return True
            self.place = before
        return False

    def meant(self, text: str) -> bool:
        if text in PHRASES:
            return self.meaning(*PHRASES[text])
        if text in lexicon.LETTER_JOINERS and self.value and self.ahead and f" {text} " in self.text.lower():
            return self.meaning("joiner", lexicon.LETTER_JOINERS[text])
        if text in lexicon.OPERATORS and self.value and self.ahead:
            return self.meaning("operator", lexicon.OPERATORS[text])
        if text in lexicon.SIGNS and not self.value and self.ahead:
            self.emit("sign", lexicon.SIGNS[text])
            return True
        if text in _CURRENCY and not self.value and self.ahead:
            self.emit("currency", known(text) or "dollar")
            return True
        return False

    def meaning(self, kind: str, text: str) -> bool:
        if kind == "aside":
            return True
        if not self.value:
            return False
        if kind == "times":
            self.emit("sign", "*")
            self.emit("number", text)
        elif kind == "half":
            self.emit("half", text)
        elif kind == "factorial":
            self.emit("sign", text)
        elif kind == "power":
            self.emit("sign", "^")
            self.emit("number", text)
        elif kind == "joiner" or self.ahead:
            if not self.ahead:
                return False
            self.emit("command" if text.startswith("\\") else "sign", text)
            self.value = False
        return True

    def literal(self) -> bool:
        """Reads a number or a sign."""
        piece = self.pieces[self.place]
        if piece.kind == "number":
            self.emit("number", piece.text.replace(",", ""))
            self.value = True
        elif piece.text in _SIGNS and self.value:
            self.emit("sign" if len(_SIGNS[piece.text]) == 1 else "command", _SIGNS[piece.text])
        elif piece.text == "-":
            self.emit("sign", "-")
        elif piece.text == ",":
            if self.value and self.ahead:
                self.emit("sign", ",")
                self.value = False
        elif piece.text in "/:" and self.value and self.number_next():
            self.emit("sign", piece.text)
        else:
            return False
        self.place += 1
        return True

    def number_next(self) -> bool:
        after = self.pieces[self.place + 1 : self.place + 2]
        return after[0].kind == "number" if after else self.right

    def words(self) -> bool:
        """Reads words that no phrase explains: a letter, a unit after a value, or an introduction before
        one."""
        run = self.run()
        if not run:
            return False
        low = [piece.low for piece in run if piece.kind == "word"]
        if len(run) == 1 and len(run[0].text) == 1 and run[0].text.isascii() and not known(run[0].text):
            return self.letter(run[0].text)
        if not self.value:
            return introduction(low, self.text)
        while low and low[-1] in lexicon.AFTER:
            low.pop()
            run.pop()
        if not low:
            return True
        exempt = {*_OF_NUMBERS, *(lexicon.POWERS if low[0] not in lexicon.POWERS else ())}
        if any(changes(word) for word in low if word not in exempt) or low[-1] in _OF_NUMBERS:
            return False
        unit = joined(run)
        if not looks_like_unit(unit) or (unit == "K" and not self.text.startswith(" ")):  # 5K is 5000
            return False
        self.emit("unit", unit)
        return True

    def letter(self, text: str) -> bool:
        if not text.isalpha():
            return False
        self.emit("letter", text)
        self.value = True
        return True

    def run(self) -> list[Piece]:
        """Pieces up to the next one that has a meaning of its own."""
        start = self.place
        while self.place < len(self.pieces):
            piece = self.pieces[self.place]
            inside = piece.text[:1] == "^" or (piece.text in _INSIDE and self.value)
            if piece.kind != "word" and not (inside and (self.place > start or piece.text == "/")):
                break
            if self.place > start and piece.kind == "word" and self.begins_phrase(start):
                break
            self.place += 1
        return self.pieces[start : self.place]

    def begins_phrase(self, start: int) -> bool:
        low = self.pieces[self.place].low
        if low in lexicon.POWERS or low in ("times", "mil"):
            return False
        pair = " ".join(piece.low for piece in self.pieces[self.place : self.place + 2])
        joins = low in lexicon.OPERATORS and self.value and self.ahead
        return (
            low in PHRASES
            or joins
            or (" " in pair and any(pair == phrase[: len(pair)] for phrase in lexicon.ASIDES))
        )


def introduction(low: Sequence[str], text: str) -> bool:
    """Whether words only introduce a value: known ones, and nouns in `the number of ways is` and
    `Number of ways:`."""
    names = low[-1:] in (["is"], ["are"]) or text.rstrip().endswith(":")
    points = {word.lower() for word in _POINTS.findall(text)}
    return all(word in lexicon.BEFORE or (names and introduces_noun(word, points)) for word in low)


def introduces_noun(word: str, points: set[str]) -> bool:
    return (
        len(word) == 1 or word in lexicon.LINKS or ((is_noun(word) or word in points) and not changes(word))
    )


def changes(word: str) -> bool:
    """Whether a word inside a unit would change the value or make a claim about it."""
    if word in lexicon.LINKS or (known(word) and word not in ("as", "min")):
        return False
    if _ORDINAL.fullmatch(word):
        return True
    meanings = (lexicon.REFUSED, PHRASES, lexicon.OPERATORS, lexicon.SIGNS)
    return any(word in words for words in meanings)


def joined(run: Sequence[Piece]) -> str:
    """The pieces of a unit as one text."""
    return re.sub(r" ?([/^]) ?", r"\1", " ".join(piece.text for piece in run))


_OPENS = names_in("( [ { | \\{ - + \\lfloor \\lceil")
_CLOSES = names_in(") ] } | ! % ° ' \\} \\rfloor \\rceil \\endmatrix")
_RELATED = names_in("= < > \\le \\ge \\ne \\in \\lt \\gt \\equiv \\approx")
_NO_VALUE = _RELATED | names_in(
    "\\notin \\subset \\sim \\simeq \\cup \\cap \\setminus \\} \\pm \\mp \\cdot \\div \\bmod \\pmod \\\\"
)


def expanded(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with what their words say. Words that stand beside no value stay: they are an answer or a
    label themselves. Raises `Unreadable`."""
    found: list[Token] = []
    for place, token in enumerate(tokens):
        if token.kind != "text":
            if not introduces(tokens, place):
                found.append(token)
            continue
        left = bool(found) and ends_value(found[-1])
        right = begins_value(tokens, place + 1)
        if not left and introduces(tokens, place + 1):
            continue
        if left or right or any(letter.isdigit() for letter in token.text):
            found += said(" " * token.gap + token.text, left, right)
        else:
            found += word(token.text.strip(), next_text(tokens, place + 1))
    return found


def word(text: str, after: str) -> list[Token]:
    """A word that is an answer or a label, or only joins others."""
    low = text.strip(" .,;:").lower()
    if "?" in text:
        raise Unreadable("asks")
    if low in lexicon.JOINERS:
        return [Token("sign", "," if text.startswith(",") else lexicon.JOINERS[low], True)]
    if not low:
        return [Token("sign", ",", True)] if "," in text else []
    if after in _RELATED and any(piece.low in lexicon.REFUSED for piece in pieces_of(text)):
        raise Unreadable(f"says {text!r}")
    if len(low) == 1 and low.isascii() and low.isalpha() and not known(text.strip(" .;:,")):
        return [Token("letter", text.strip(" .;:,"), True)]
    return [Token("word", low.rstrip(",") if len(low) > 1 else text.strip(" .,;:"), True)]


def introduces(tokens: Sequence[Token], place: int) -> bool:
    """Whether there is a colon between known introducing words and a value: `Answer: 72`."""
    return (
        0 < place < len(tokens) - 1
        and tokens[place].text == ":"
        and tokens[place - 1].kind == "text"
        and introduction([piece.low for piece in pieces_of(tokens[place - 1].text)], ":")
        and begins_value(tokens, place + 1)
    )


def ends_value(token: Token) -> bool:
    if token.kind == "command":
        return token.text in _CLOSES or (token.text[1:2].isalpha() and token.text not in _NO_VALUE | _OPENS)
    return token.kind in ("number", "letter", "unit", "half", "based", "currency") or token.text in _CLOSES


def begins_value(tokens: Sequence[Token], place: int) -> bool:
    while place < len(tokens) and tokens[place].kind == "text":
        if any(letter.isdigit() for letter in tokens[place].text):
            return True
        place += 1
    if place == len(tokens):
        return False
    token = tokens[place]
    if token.kind == "command":
        return token.text in _OPENS or (token.text[1:2].isalpha() and token.text not in _NO_VALUE | _CLOSES)
    return token.kind in ("number", "letter", "based") or token.text in _OPENS


def next_text(tokens: Sequence[Token], place: int) -> str:
    return tokens[place].text if place < len(tokens) else ""
