"""The protocol of what turns text into tokens, and tokens into text."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from menon.types import Tokens


class Texts(Protocol):
    """What gives tokens their text."""

    def text(self, tokens: list[int], /) -> str:
        """The text of an answer, as its client reads it."""
        ...


class Voice(Texts, Protocol):
    """The model that answers, as far as its clients can tell."""

    @property
    def names(self) -> tuple[str, ...]:
        """Under which it is asked for; answers carry the first."""
        ...

    @property
    def vocabulary(self) -> int:
        """The number of its tokens."""
        ...

    def tokenize(self, text: str, special: bool) -> list[int]:
        """With `special` what the model expects in front of a text is put there. UserError: the tokenizer
        cannot read the text."""
        ...

    def go_on(self, text: str, before: Sequence[int] | Tokens) -> list[int]:
        """The tokens of a text that follows these tokens. UserError as of `tokenize`."""
        ...

    def chat(self, messages: list[dict[str, Any]], arguments: Mapping[str, Any]) -> str:
        """The text of a conversation up to where the model is to write, by the chat template; `arguments` are
        variables of it. What spells a special token in a message is marked as foreign text
        (`menon.foreign`). UserError: there is no chat template, or it refuses the messages."""
        ...

    def is_special(self, token: int) -> bool:
        """Whether it is left out of texts."""
        ...

    def token_text(self, token: int) -> str:
        """The text of one token alone; special ones by their names."""
        ...

    def token_bytes(self, token: int) -> bytes | None:
        """The bytes that a token stands for; None where its name does not say."""
        ...
