"""Small tokenizers of the usual kinds, over letters, digits and a few joined pieces."""

from collections.abc import Callable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from menon.base.tokenizer import byte_letters

SPECIAL = ("<unk>", "<s>", "</s>", "<turn>")
CHARACTERS = "0123456789+=.-()abcdefghijklmnopqrstuvwxyz\n\t"
MERGES = [("o", "k"), ("1", "0"), ("t", "h"), ("th", "e")]


def bpe(letters: str, space: str, **settings) -> Tokenizer:
    merges = [*MERGES, (space, "ok"), (space, "the"), (space, "1")]
    words = [*SPECIAL, *letters, *("".join(pair) for pair in merges)]
    return Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges, **settings))


def byte_level(prefix_space: bool) -> Tokenizer:
    """As GPT-2's, and most of today's without the space in front."""
    core = bpe("".join(byte_letters()), "Ġ")
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    core.decoder = decoders.ByteLevel()
    return core


def sentencepiece() -> Tokenizer:
    core = bpe("▁" + CHARACTERS, "▁", unk_token="<unk>", fuse_unk=True)
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return core


def metaspace(scheme: str, split: bool = True) -> Tokenizer:
    core = sentencepiece()
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    return core


def llama_2() -> Tokenizer:
    """A normalizer puts the space in front, also after every special token."""
    core = sentencepiece()
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return core


def unigram() -> Tokenizer:
    pieces = [*SPECIAL, "▁", *CHARACTERS, "▁ok", "ok", "▁the", "the", "10"]
    core = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=0))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.decoder = decoders.Metaspace()
    return core


def word_piece() -> Tokenizer:
    words = [*SPECIAL, *CHARACTERS, *(f"##{letter}" for letter in CHARACTERS), "ok", "##ok", "the", "10"]
    core = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    return core


def words_alone() -> Tokenizer:
    words = [*SPECIAL, "ok", "the", "10", "=", "2", "+", "8"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return core


EXACT: dict[str, Callable[[], Tokenizer]] = {
    "byte_level": lambda: byte_level(False),
    "byte_level_with_space": lambda: byte_level(True),
    "metaspace_first": lambda: metaspace("first"),
    "metaspace_first_whole": lambda: metaspace("first", split=False),
    "metaspace_always": lambda: metaspace("always"),
    "metaspace_never": lambda: metaspace("never"),
    "llama_2": llama_2,
    "unigram": unigram,
}
"""Kinds whose tokens say where there are spaces."""
LOSSY: dict[str, Callable[[], Tokenizer]] = {"word_piece": word_piece, "words_alone": words_alone}
"""Kinds whose tokens do not."""


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    core = (EXACT | LOSSY)[kind]()
    core.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
