"""Decodes tokens and finds stop strings in their text. A stop string, and even a character, may span several
tokens."""

from collections import deque
from collections.abc import Callable, Set
from functools import partial
from typing import TYPE_CHECKING, Any

from menon.types import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def special_ids(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Tokens that do not show in a text decoded with `skip_special_tokens`."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {token for token, content in added if content.special}


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


class StopStrings:
    """Watches one answer. Only its last tokens are decoded: no more than the longest stop string can span."""

    def __init__(
        self, text: Callable[[list[int]], str], special: Set[int], stop: tuple[str, ...], prefix: Tokens
    ) -> None:
        self.text = text
        self.special = special
        self.stop = stop
        # A token that appears in the text has at least one byte of it; and some decoders drop the space
        # before the first token.
        longest = max(len(text.encode()) for text in stop)
        self.tail = deque(
            (int(token) for token in prefix if int(token) not in self.special), maxlen=longest + 1
        )
        # Stop strings within the prefix are ignored; only those that the new tokens complete count.
        while self.tail and self._found():
            self.tail.popleft()

    def ends(self, token: int) -> bool:
        """Takes the next token; returns whether a stop string ends with it (or in the middle of it)."""
        if token in self.special:
            return False
        self.tail.append(token)
        return self._found()

    def _found(self) -> bool:
        text = self.text(list(self.tail))
        return any(stop in text for stop in self.stop)
