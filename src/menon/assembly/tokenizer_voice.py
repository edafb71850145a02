"""A tokenizer as the voice of a model that OpenAI's API is spoken with."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from menon.assembly.chat_template import chat_with
from menon.engines.decoding.stop_strings import special_ids, text_of
from menon.engines.tokens import continue_with, marker_for, tokenize_with
from menon.errors import UserError, first_line
from menon.foreign import with_marks
from menon.record.spans import BROKEN
from menon.types import Tokens

UNBOUNDED = 2**17
"""The context of a model whose configuration does not say."""


@dataclass(frozen=True)
class TokenizerVoice:
    """See `menon.openai_api.voice.Voice`."""

    names: tuple[str, ...]
    tokenizer: Any
    text: Callable[[list[int]], str]
    vocabulary: int
    context: int = UNBOUNDED
    """The most tokens of a prompt and its answer."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the chat template that are set for every conversation."""

    @property
    def has_chat(self) -> bool:
        return bool(self.tokenizer.chat_template)

    def tokenize(self, text: str, special: bool) -> list[int]:
        return self._read(lambda: self._tokenize(text, special))

    def go_on(self, text: str, before: Sequence[int] | Tokens) -> list[int]:
        return self._read(lambda: self._go_on(text, before))

    def chat(self, messages: list[dict[str, Any]], arguments: Mapping[str, Any]) -> str:
        render = chat_with(self.tokenizer, {**self.arguments, **arguments})
        if render is None:
            raise UserError(
                f"{self.names[0]} has no chat template; ask /v1/completions, or take a model with one"
            )
        try:
            return render(with_marks(messages, self._mark))
        except UserError:
            raise
        except Exception as error:  # a template raises what it likes
            raise UserError(f"the chat template refuses these messages: {error}") from error

    def is_special(self, token: int) -> bool:
        return token in self._special

    def token_text(self, token: int) -> str:
        """The text of one token alone; special ones by their names, and parts of a character as
        bytes:\\xe6\\x97, so that no two tokens look the same."""
        text = self._show([token])
        if BROKEN not in text or (data := self.token_bytes(token)) is None:
            return text
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)

    def token_bytes(self, token: int) -> bytes | None:
        text = self._show([token])
        if BROKEN not in text:
            return text.encode()
        name = str(self.tokenizer.convert_ids_to_tokens(token))
        if match := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", name):
            return bytes.fromhex(match[1])
        letters = byte_letters()
        return bytes(letters[one] for one in name) if name and all(one in letters for one in name) else None

    def _read(self, tokens: Callable[[], Sequence[int]]) -> list[int]:
        try:
            return list(tokens())
        except Exception as error:  # of half a surrogate pair, or of a character that it does not know
            raise UserError(f"the tokenizer cannot read this text ({first_line(error)})") from error

    @cached_property
    def _tokenize(self) -> Any:
        return tokenize_with(self.tokenizer)

    @cached_property
    def _go_on(self) -> Any:
        return continue_with(self.tokenizer)

    @cached_property
    def _mark(self) -> Any:
        return marker_for(self.tokenizer)

    @cached_property
    def _show(self) -> Any:
        return text_of(self.tokenizer, skip_special=False)

    @cached_property
    def _special(self) -> frozenset[int]:
        return special_ids(self.tokenizer)


@cache
def byte_letters() -> dict[str, int]:
    """The letters in which byte-level tokenizers write bytes: printable ones as they are, the others moved
    above U+0100."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return {chr(byte) if byte in plain else chr(next(spare)): byte for byte in range(256)}
