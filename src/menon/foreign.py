"""Text of somebody else's within a frame of ours: a question in a chat template, an answer before a judge.

A model reads the turns of a conversation from special tokens. Foreign text that spells one must not open a
turn, so the spelling is marked, and a tokenizer reads what is marked as ordinary text (`engines.tokens`).
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

MARK = "\U0010fffd"
"""Stands after the first character of the spelling of a special token. It is a character for private use, and
is taken out of foreign text first."""
Marker = Callable[[str], str]
"""Marks every spelling in a text."""


class Framed(str):
    """A text with its pieces, each with whether it is foreign."""

    pieces: tuple[tuple[str, bool], ...]

    @staticmethod
    def of(pieces: Iterable[tuple[str, bool]]) -> "Framed":
        pieces = tuple(pieces)
        whole = Framed("".join(text for text, _ in pieces))
        whole.pieces = pieces
        return whole


def marker_of(names: Collection[str]) -> Marker:
    """The function that marks these special tokens.

    >>> marker_of(["<s>"])("a <s> b").replace(MARK, "|")
    'a <|s> b'
    """
    any_of = "|".join(map(re.escape, names)) or "(?!)"
    begins = re.compile(f"(?=(?:{any_of}))(.)", re.DOTALL)  # spellings may overlap, or hold one another

    def mark(text: str) -> str:
        return begins.sub(rf"\1{MARK}", without_marks(text))

    return mark


def with_marks(value: Any, mark: Marker) -> Any:
    """A value of plain data with every text in it marked; the roles of messages are not foreign."""
    if isinstance(value, str):
        return mark(value)
    if isinstance(value, Mapping):
        return {name: item if name == "role" else with_marks(item, mark) for name, item in value.items()}
    return [with_marks(item, mark) for item in value] if isinstance(value, list) else value


def marked_pieces(text: str, mark: Marker) -> str:
    """The text with its foreign pieces marked; of a plain text everything is ours."""
    pieces = text.pieces if isinstance(text, Framed) else ((text, False),)
    return "".join(mark(piece) if foreign else piece for piece, foreign in pieces)


def without_marks(text: str) -> str:
    return text.replace(MARK, "")
