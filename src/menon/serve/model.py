"""The model that is served, and how text becomes its tokens."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from menon.assembly.chat_template import chat_with
from menon.assembly.evaluation import folder_of
from menon.assembly.models import device_of
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.engines.tokens import ids_with, marker_for, tokenize_with
from menon.errors import UserError, first_line
from menon.foreign import with_marks
from menon.record.spans import BROKEN
from menon.serve.writer import ALTERNATIVES, Writer

UNBOUNDED = 2**17
"""The context of a model whose configuration does not say."""


@dataclass(frozen=True)
class Served:
    """A model, ready to write."""

    names: tuple[str, ...]
    """Under which it is asked for; answers carry the first."""
    writer: Writer
    tokenizer: Any

    @staticmethod
    def load(model: str, names: Sequence[str] = (), device: str = "auto", slots: int = 64) -> "Served":
        """Of a model folder, a run (its newest checkpoint), or a built-in model. UserError: there is none."""
        loaded, tokenizer = load_policy(folder_of(model), device=device_of(device))
        sampler = TorchSampler(loaded, tokenizer, slots=slots, alternatives=ALTERNATIVES)
        own = Path(model).expanduser().resolve().name if "/" in model or Path(model).exists() else model
        return Served(tuple(names) or (own,), Writer(sampler), tokenizer)

    @property
    def words(self) -> Detokenizer:
        return self.writer.sampler.detokenizer

    @property
    def vocabulary(self) -> int:
        return self.writer.sampler.vocabulary

    @property
    def context(self) -> int:
        """The most tokens of a prompt and its answer."""
        found = self.writer.sampler.context
        return UNBOUNDED if found is None else int(found)

    @property
    def has_chat(self) -> bool:
        return bool(self.tokenizer.chat_template)

    def tokenize(self, text: str, special: bool) -> list[int]:
        """With `special` what the model expects in front of a text is put there. UserError: the tokenizer
        cannot read the text."""
        return self._read(lambda: self._tokenize(text, special))

    def _read(self, tokens: Callable[[], Sequence[int]]) -> list[int]:
        try:
            return list(tokens())
        except Exception as error:  # of half a surrogate pair, or of a character that it does not know
            raise UserError(f"the tokenizer cannot read this text ({first_line(error)})") from error

    @cached_property
    def _tokenize(self) -> Any:
        return tokenize_with(self.tokenizer)

    def chat(self, messages: list[dict[str, Any]], arguments: Mapping[str, Any]) -> tuple[str, Sequence[int]]:
        """The text of a conversation up to where the model is to write, and its tokens. What spells a special
        token in a message is read as ordinary text. UserError: there is no chat template, or it refuses the
        messages."""
        render = chat_with(self.tokenizer, arguments)
        if render is None:
            raise UserError(
                f"{self.names[0]} has no chat template; ask /v1/completions, or serve a model with one"
            )
        try:
            text = render(with_marks(messages, marker_for(self.tokenizer)))
        except UserError:
            raise
        except Exception as error:  # a template raises what it likes
            raise UserError(f"the chat template refuses these messages: {error}") from error
        return text, self._read(lambda: ids_with(self.tokenizer)(text))

    def token_text(self, token: int) -> str:
        """The text of one token alone; special ones by their names, and parts of a character as
        bytes:\\xe6\\x97, so that no two tokens look the same."""
        text = self.words.show([token])
        if BROKEN not in text or (data := self.token_bytes(token)) is None:
            return text
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)

    def token_bytes(self, token: int) -> bytes | None:
        """The bytes that a token stands for; None where its name does not say."""
        text = self.words.show([token])
        if BROKEN not in text:
            return text.encode()
        name = str(self.tokenizer.convert_ids_to_tokens(token))
        if match := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", name):
            return bytes.fromhex(match[1])
        letters = byte_letters()
        return bytes(letters[one] for one in name) if name and all(one in letters for one in name) else None


@cache
def byte_letters() -> dict[str, int]:
    """The letters in which byte-level tokenizers write bytes: printable ones as they are, the others moved
    above U+0100."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return {chr(byte) if byte in plain else chr(next(spare)): byte for byte in range(256)}
