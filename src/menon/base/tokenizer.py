"""A tokenizer of bytes: token i is byte i, then two special tokens.

Bytes need no training, lose nothing and make every text of n bytes n tokens, so lengths on the page are
lengths in the model. It is an ordinary fast tokenizer of `transformers`, so every engine can load the saved
folder.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
PAD = "<|pad|>"
END_ID = 256
PAD_ID = 257
VOCABULARY = 258


def encode(text: str) -> list[int]:
    """The tokens of a text without special tokens: what the built tokenizer gives, without loading it."""
    return list(text.encode())


def decode(tokens: Sequence[int]) -> str:
    """The text of tokens, special ones left out, broken bytes replaced."""
    return bytes(token for token in tokens if token < END_ID).decode(errors="replace")


def byte_letters() -> list[str]:
    """The printable stand-in that byte-level tokenizers use for each byte (GPT-2's table), in byte order.

    Printable Latin-1 characters stand for themselves; the other bytes get the letters from U+0100 on, in
    order.
    """
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]


def build(context: int = 256) -> "PreTrainedTokenizerFast":
    """The tokenizer, ready to save with `save_pretrained(folder)` and to load with `AutoTokenizer`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: byte for byte, letter in enumerate(byte_letters())}
    core = Tokenizer(models.BPE(vocab=letters, merges=[]))
    # No split by regular expression and no space put in front: only the map from bytes to letters.
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (END, PAD)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        padding_side="left",  # what batched generation needs
    )
