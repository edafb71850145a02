"""Text to tokens: whole prompts, the text of a chat template, and texts that go on from earlier tokens."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from menon.engines.decoding.stop_strings import text_of
from menon.foreign import MARK, Marker, marker_of
from menon.types import Tokens

ANCHORS = ("a", "1", ".", "\n")
"""Texts that another one can be tokenised after: of several kinds, because a tokenizer may join the last
character of one text with the first of the next."""
NO_SPACE = "1=1,a.a"
"""A text without a space, into which some tokenizers put spaces when they decode it."""
TAG = re.compile(r"</?[A-Za-z]\w*>")
"""A tag, which may be one special token."""
CONTEXT = 8
"""How many of the earlier tokens are looked at."""


def ids_with(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[int]]:
    """A function from text to tokens that adds no special ones. Special tokens that the text spells out are
    read as such, unless the spelling is marked as foreign."""
    whole: Any = tokenizer

    def ids(text: str) -> list[int]:
        parts = text.split(MARK)
        return [token for part in parts for token in whole(part, add_special_tokens=False)["input_ids"]]

    return ids


def marker_for(tokenizer: PreTrainedTokenizerBase) -> Marker:
    """The function that marks, in foreign text, what spells a token with which turns and texts begin or end:
    the tokenizer's special ones, and those of its chat template. Tags (`<think>`), which answers hold anyway,
    and tokens that a run has added stay what they are."""
    template = tokenizer.chat_template or ""
    source = "".join(template.values()) if isinstance(template, dict) else template
    ends = {str(name) for name in tokenizer.special_tokens_map.values() if isinstance(name, str)}
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    steering = {*map(str, tokenizer.all_special_tokens), *(name for name in special if name in source)}
    return marker_of(ends | {name for name in steering if not TAG.fullmatch(name)})


def tokens_or_none(bare: Callable[[str], list[int]], text: str) -> list[int] | None:
    """The tokens of a text; None where the tokenizer cannot read it, because it knows few characters and has
    no token for others."""
    try:
        return bare(text)
    except Exception:
        return None


def tokenize_with(tokenizer: PreTrainedTokenizerBase) -> Callable[..., Sequence[int]]:
    """A function (text, special=True) -> tokens. It puts the tokens in front that the tokenizer begins a text
    with, unless the text begins with one of them already, and adds nothing after the text. With `special` off
    it adds nothing at all, because a chat template writes all special tokens itself."""
    bare = ids_with(tokenizer)
    whole: Any = tokenizer
    probe = next((text for text in ANCHORS if tokens_or_none(bare, text)), "")
    first = front_of(list(whole(probe)["input_ids"]), bare(probe)) if probe else []

    def tokenize(text: str, special: bool = True) -> list[int]:
        ids = bare(text)
        return [*first, *ids] if special and not (ids and ids[0] in first) else ids

    return tokenize


def front_of(whole: list[int], inner: list[int]) -> list[int]:
    """What comes before `inner` in `whole`; nothing where `whole` does not hold it.

    >>> front_of([1, 7, 8, 2], [7, 8])
    [1]
    """
    places = range(len(whole) - len(inner) + 1)
    return next((whole[:place] for place in places if whole[place : place + len(inner)] == inner), [])


def continue_with(tokenizer: PreTrainedTokenizerBase) -> Callable[[str, Sequence[int] | Tokens], list[int]]:
    """A function (text, the tokens before it) -> the tokens of the text.

    Together with the tokens before it they decode to the earlier text followed by this one. Many tokenizers
    put a space in front of every text (Llama 2, Mistral); it is left out by tokenising the text after the end
    of the earlier text, or after another one, and removing the tokens of that one. Some tokenizers do not
    keep spaces at all (WordPiece); their tokens are those that the text has after the end of the earlier
    text. From the first special token of the text on, its tokens are those that the tokenizer gives it in a
    prompt.
    """
    bare, decode = ids_with(tokenizer), text_of(tokenizer, skip_special=False)
    names = [token.content for token in tokenizer.added_tokens_decoder.values()]
    special = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")
    keeps_spaces = " " not in decode(tokens_or_none(bare, NO_SPACE) or []).strip()

    def after(anchor: str, text: str) -> list[int] | None:
        """The tokens of the text after another one; None if the two do not part between tokens."""
        first, whole = tokens_or_none(bare, anchor), tokens_or_none(bare, anchor + text)
        if not first or whole is None or whole[: len(first)] != first:
            return None
        return whole[len(first) :]

    def apart(text: str, before: Sequence[int] | Tokens) -> list[int]:
        """The parts between marks, each after those before it."""
        ids: list[int] = []
        for part in filter(None, text.split(MARK)):
            ids += plain(part, [*map(int, before[-CONTEXT:]), *ids])
        return ids

    def plain(text: str, before: Sequence[int] | Tokens) -> list[int]:
        tail = [int(token) for token in before[-CONTEXT:]]
        given, alone = decode(tail), bare(text)
        goes_on = after(given, text)
        if not keeps_spaces:
            return alone if goes_on is None else goes_on
        anchored = [ids for anchor in ANCHORS if (ids := after(anchor, text)) is not None]
        for ids in (alone, goes_on, *anchored):
            if ids is not None and decode([*tail, *ids]) == given + text:
                return ids
        # None is exact where the tokenizer does not know a character, which may hide in the anchor's.
        return max(anchored, key=len, default=alone)

    def tokenize(text: str, before: Sequence[int] | Tokens) -> list[int]:
        found = special.search(text)
        start = found.start() if found else len(text)
        return [*(apart(text[:start], before) if start else []), *(bare(text[start:]) if found else [])]

    return tokenize
