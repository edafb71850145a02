"""Which characters of a sequence's text each token wrote."""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate, chain, pairwise

import numpy as np
from numpy.typing import NDArray

from menon.types import Tokens

BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are not yet, or never will be, a character."""
SEARCHED = 4096
"""How many tokens are searched for one that other tokens can be decoded after (`_anchor`)."""


class TextSpans:
    """The text of token sequences and where each token's own text begins in it.

    A sequence's text is `decode(tokens)`, special tokens shown. The first t tokens determine the longest
    common prefix of `decode(tokens[:t])` and that text; token t begins where the text determined by the
    tokens before it ends. So text[start[t] : start[t + 1]] is what token t wrote (the last one: up to the
    end), a character whose bytes lie on several tokens belongs to the token that completes it, and the
    earlier ones have empty spans. Bytes that never become a character are shown as U+FFFD and belong to the
    token at which the decoder shows it.

    A sequence is decoded once. The text of each token alone is decoded once and kept; these pieces are used
    if joined they give the sequence's text. Where characters are split over tokens, only those tokens are
    decoded again. Where the pieces do not give the text (a decoder whose text of a token depends on its
    neighbours), every prefix of the sequence is decoded.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self.decode = decode
        self._first = Pieces(decode)
        """Token -> its text at the start of a sequence."""
        self._later = Pieces(self._after_another)
        """Token -> its text after another one."""

    def __call__(self, tokens: Tokens) -> tuple[str, NDArray[np.int32]]:
        """The text of a sequence of [L] tokens, and [L] where each of them begins in it (characters)."""
        ids: list[int] = tokens.tolist()
        text = self.decode(ids)
        pieces = [*map(self._first.__getitem__, ids[:1]), *map(self._later.__getitem__, ids[1:])]
        fits = "".join(pieces) == text
        if BROKEN in text or not fits:
            pieces = self._joined(ids, pieces)
            fits = "".join(pieces) == text
        ends = accumulate(map(len, pieces)) if fits else settled(self.decode, ids, text)
        return text, np.fromiter(chain([0], ends), dtype=np.int32, count=len(ids))

    def _joined(self, ids: list[int], pieces: list[str]) -> list[str]:
        """The pieces, where neighbours with broken characters are decoded together."""
        pieces, place = list(pieces), 0
        while place < len(ids):
            end = place
            while end < len(ids) and BROKEN in pieces[end]:
                end += 1
            if end > place + 1:
                decode = self._after_another if place else self.decode
                run = decode(ids[place:end])
                ends = settled(decode, ids[place:end], run)
                pieces[place:end] = [run[a:b] for a, b in pairwise([0, *ends])]
            place = end + 1
        return pieces

    def _after_another(self, ids: list[int]) -> str:
        anchor, text = self._anchor
        return self.decode([*anchor, *ids])[len(text) :]

    @cached_property
    def _anchor(self) -> tuple[list[int], str]:
        """A token that other tokens are decoded after, and its text; needed because some decoders drop the
        leading space of a first token. It is a word of at least two letters, because a single letter may be a
        byte that is decoded together with its neighbours; if there is no such word it is a letter, and if
        there is none, nothing."""
        words = [(token, self.decode([token])) for token in range(SEARCHED)]
        plain = [(token, text) for token, text in words if text.isascii() and text.isalpha()]
        longer = [(token, text) for token, text in plain if len(text) > 1]
        return next((([token], text) for token, text in [*longer, *plain]), ([], ""))


def pieces_of(text: str, start: Sequence[int]) -> list[str]:
    """What each token wrote, from a sequence's text and where its tokens begin in it."""
    return [text[a:b] for a, b in pairwise([*start, len(text)])]


class Pieces(dict[int, str]):
    """Token -> its text, decoded when it is first met."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        super().__init__()
        self._decode = decode

    def __missing__(self, token: int) -> str:
        piece = self[token] = self._decode([token])
        return piece


def settled(decode: Callable[[list[int]], str], ids: list[int], text: str) -> list[int]:
    """[L] how many characters of a text are determined by its first 1, 2, ..., L tokens; never decreasing."""
    beginnings = [decode(ids[: count + 1]) for count in range(len(ids))]
    found = [in_common(beginning, text) for beginning in beginnings]
    return np.maximum.accumulate(np.array(found, dtype=np.int64)).tolist()


def in_common(one: str, other: str) -> int:
    """How many characters two texts share at their beginning.

    >>> in_common("6 is", "6 isn't"), in_common("6", "7")
    (4, 0)
    """
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
