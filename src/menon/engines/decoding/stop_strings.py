"""Decodes tokens and finds stop strings in their text. A stop string, and even a character, may span several
tokens."""

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from menon.types import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def special_ids(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Tokens that do not show in a text decoded with `skip_special_tokens`."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {token for token, content in added if content.special}


def hidden_tags(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Special tokens that look like the end of a marked part, such as `</think>`, and have no role in the
    tokenizer. A reward that cuts at them has to see them."""
    roles = set(map(str, tokenizer.special_tokens_map.values()))
    names = (str(tokenizer.convert_ids_to_tokens(token)) for token in sorted(special_ids(tokenizer)))
    return [name for name in names if re.fullmatch(r"</\w+>", name) and name not in roles]


def text_of(tokenizer: "PreTrainedTokenizerBase", skip_special: bool = True) -> Callable[[list[int]], str]:
    """Tokens -> text, special ones left out or shown, and nothing tidied. Can be pickled.

    If the wrapper of a fast tokenizer adds nothing, the wrapped tokenizer is called directly, which takes a
    tenth of the time.
    """
    from transformers import (
        PreTrainedTokenizerFast,
    )  # seconds, which a process that is handed its texts need not spend

    if (
        isinstance(tokenizer, PreTrainedTokenizerFast)
        and type(tokenizer)._decode is PreTrainedTokenizerFast._decode
    ):
        return partial(tokenizer.backend_tokenizer.decode, skip_special_tokens=skip_special)
    whole: Any = tokenizer
    return partial(whole.decode, skip_special_tokens=skip_special, clean_up_tokenization_spaces=False)


@dataclass(frozen=True)
class Detokenizer:
    """Tokens to the text that rewards and environments read. Can be pickled."""

    hide: Callable[[list[int]], str]
    """Tokens -> text, special ones left out."""
    show: Callable[[list[int]], str]
    """Tokens -> text with all of them."""
    special: Mapping[int, str]
    """The special tokens, and how each is spelt."""
    end_tokens: frozenset[int] = frozenset()
    """Tokens that end a text."""
    keep_special: bool = False
    """Special tokens stay in the text, all but the end-of-text token that ends it."""

    @staticmethod
    def of(
        tokenizer: "PreTrainedTokenizerBase", end_tokens: Sequence[int] = (), keep_special: bool = False
    ) -> "Detokenizer":
        spelt = {token: str(tokenizer.convert_ids_to_tokens(token)) for token in special_ids(tokenizer)}
        hide, show = text_of(tokenizer), text_of(tokenizer, skip_special=False)
        return Detokenizer(hide, show, spelt, frozenset(end_tokens), keep_special)

    def text(self, tokens: list[int]) -> str:
        """The text of an answer, or of a turn of it."""
        if not self.keep_special:
            return self.hide(tokens)
        return self.show(tokens[:-1] if tokens and tokens[-1] in self.end_tokens else tokens)

    def spelt_out(self, tokens: list[int]) -> str:
        """The text with all tokens, special ones as they are spelt: some decoders write them otherwise, or
        put spaces around them."""
        parts = []
        for is_special, group in groupby(tokens, key=self.special.__contains__):
            run = [*group]
            parts.append("".join(self.special[token] for token in run) if is_special else self.hide(run))
        return "".join(parts)


class StopStrings:
    """Watches one answer. Only its last tokens are decoded: no more than the longest stop string can span.

    A stop string counts where it stands in the text without special tokens, unless they are kept in the text.
    One that spells out a special token also counts where it stands in the text with all of them; so it can be
    a special token, or go across special and ordinary ones.
    """

    def __init__(self, words: Detokenizer, stop: tuple[str, ...], prefix: Tokens) -> None:
        self.words = words
        spelt = set(words.special.values())
        self.shown = [text for text in stop if words.keep_special or any(name in text for name in spelt)]
        self.hidden = [] if words.keep_special else list(stop)
        # A token that appears in the text has at least one byte of it; and some decoders drop the space
        # before the first token.
        longest = max(len(text.encode()) for text in stop) + 1
        given = [int(token) for token in prefix]
        self.tail = deque(given, maxlen=longest)
        """The last tokens."""
        self.ordinary = deque((token for token in given if token not in words.special), maxlen=longest)
        """The last tokens that are not special."""
        # Stop strings within the prefix are ignored; only those that the new tokens complete count.
        while self.tail and self._in_shown():
            self.tail.popleft()
        while self.ordinary and self._in_hidden():
            self.ordinary.popleft()

    def ends(self, token: int) -> bool:
        """Takes the next token; returns whether a stop string ends with it (or in the middle of it)."""
        self.tail.append(token)
        if token not in self.words.special:
            self.ordinary.append(token)
            if self._in_hidden():
                return True
        return self._in_shown()

    def _in_hidden(self) -> bool:
        if not self.hidden:
            return False
        text = self.words.hide([*self.ordinary])
        return any(stop in text for stop in self.hidden)

    def _in_shown(self) -> bool:
        if not self.shown:
            return False
        tokens = [*self.tail]
        texts = [self.words.show(tokens)]
        if any(token in self.words.special for token in tokens):
            texts.append(self.words.spelt_out(tokens))
        return any(stop in text for stop in self.shown for text in texts)
