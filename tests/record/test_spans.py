"""The text of each token: written out by hand on three kinds of tokenizers, and against the definition on
random sequences of them."""

from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from menon.base import tokenizer as bytes_tokenizer
from menon.engines.decoding.stop_strings import text_of
from menon.record.spans import TextSpans
from menon.types import Prompt, Rollout, Verdict

END = "<|end|>"
Decode = Callable[[list[int]], str]


def decode_of(core: Tokenizer) -> Decode:
    return text_of(PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END), skip_special=False)


def byte_level() -> Tokenizer:
    """A byte-level BPE tokenizer whose merges split some characters of several bytes and keep others."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END],
        show_progress=False,
    )
    core.train_from_iterator(["the sum is √2 ≈ 1.41", "the sum is √3 ≤ 2 €", "naïve naïve sums"], trainer)
    return core


def metaspace() -> Tokenizer:
    """Of the kind that Llama 2 has: words begin with a mark in place of the space, the first space of a text
    is dropped, and a character without a token is spelt in bytes."""
    words = ["▁", "▁the", "▁sum", "▁is", "s", "is", "1", "2", "+", "=", "é", "▁é"]
    names = [END, *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    vocab = {name: i for i, name in enumerate(names)}
    merges = [("▁", "é")]
    core = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token=END))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    core.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return core


def pieces(spans: TextSpans, tokens: list[int]) -> list[str]:
    text, start = spans(np.array(tokens, dtype=np.int32))
    assert start.dtype == np.int32
    assert "".join(piece for piece in cut(text, start)) == text
    return cut(text, start)


def cut(text: str, start: np.ndarray) -> list[str]:
    ends = [*start[1:].tolist(), len(text)][: len(start)]
    return [text[a:b] for a, b in zip(start.tolist(), ends, strict=True)]


def test_the_built_in_tokenizer():
    """A token is a byte; the character stands with its last one; the end token shows."""
    built = bytes_tokenizer.build()
    spans = TextSpans(text_of(built, skip_special=False))
    assert pieces(spans, [*"a=é".encode(), bytes_tokenizer.END_ID]) == ["a", "=", "", "é", "<|endoftext|>"]
    assert pieces(spans, list("√2".encode())) == ["", "", "√", "2"]
    # Two bytes of three and then a letter: one replacement character, shown with the first of them.
    assert pieces(spans, [0xE2, 0x88, ord("a")]) == ["\ufffd", "", "a"]
    assert pieces(spans, []) == []


def test_byte_level_pairs():
    core = byte_level()
    spans, vocab = TextSpans(decode_of(core)), core.get_vocab()
    tokens = core.encode("the sum is √2 ≈ €").ids
    found = pieces(spans, tokens)
    assert "".join(found) == "the sum is √2 ≈ €"
    letters = bytes_tokenizer.byte_letters()
    split = [vocab[letters[byte]] for byte in "€".encode()]
    assert pieces(spans, [vocab["t"], *split, vocab["h"], vocab[END]]) == ["t", "", "", "€", "h", END]
    # A token that begins a character after a space, and one that ends a character before other letters.
    assert pieces(spans, [vocab["Ġâī"], vocab[letters[0x88]], vocab["is"]]) == [" ", "≈", "is"]
    assert pieces(spans, [vocab["naÃ"], vocab["¯ve"]]) == ["na", "ïve"]


def test_a_leading_space():
    """The first word loses its space and later ones keep it, after a special token too; bytes that spell a
    character; bytes that spell none."""
    core = metaspace()
    spans, vocab = TextSpans(decode_of(core)), core.get_vocab()
    the, total, euro = vocab["▁the"], vocab["▁sum"], [vocab[f"<0x{byte:02X}>"] for byte in "€".encode()]
    assert pieces(spans, [the, total, vocab["s"]]) == ["the", " sum", "s"]
    assert pieces(spans, [total, the, total]) == ["sum", " the", " sum"]
    assert pieces(spans, [vocab[END], the, total]) == [END, " the", " sum"]
    assert pieces(spans, [the, *euro, vocab["="]]) == ["the", "", "", "€", "="]
    newline = vocab["<0x0A>"]
    assert pieces(spans, [the, *euro, newline, total]) == ["the", "", "", "€", "\n", " sum"]
    assert pieces(spans, [the, euro[0], newline, total]) == ["the", "\ufffd", "\ufffd", " sum"]


def prefix(one: str, other: str) -> str:
    """The longest text that both begin with."""
    size = max(size for size in range(len(one) + 1) if other.startswith(one[:size]))
    return one[:size]


def definition(decode: Decode, tokens: list[int]) -> list[int]:
    """Where each token begins: what the tokens before it have settled."""
    text, start = decode(tokens), [0]
    for count in range(1, len(tokens)):
        start.append(max(start[-1], len(prefix(decode(tokens[:count]), text))))
    return start


@pytest.mark.parametrize("kind", [byte_level, metaspace, lambda: bytes_tokenizer.build().backend_tokenizer])
def test_random_tokens_by_the_definition(kind):
    core = kind()
    decode, draw = decode_of(core), np.random.default_rng(0)
    spans = TextSpans(decode)
    size = core.get_vocab_size()
    texts = ["the sum is √2 ≈ €", "naïve é é", "𝒳 the is"]
    written = [token for text in texts for token in core.encode(text).ids]
    for _ in range(300):
        length = int(draw.integers(1, 12))
        random = draw.integers(0, size, length)
        likely = draw.choice(written, length)
        tokens = np.where(draw.random(length) < 0.3, random, likely).astype(np.int32)
        text, start = spans(tokens)
        assert text == decode(tokens.tolist())
        assert start.tolist() == definition(decode, tokens.tolist()), tokens.tolist()


def test_a_sequence_is_decoded_once():
    """The pieces are known after the first sequence; a split character costs a few more decodings of its
    own tokens."""
    built = text_of(bytes_tokenizer.build(), skip_special=False)
    calls: list[int] = []

    def decode(tokens: list[int]) -> str:
        calls.append(len(tokens))
        return built(tokens)

    spans = TextSpans(decode)
    text = np.frombuffer(b"16+9=25, so it is 25", dtype=np.uint8).astype(np.int32)
    spans(text)
    calls.clear()
    spans(text)
    assert calls == [len(text)]
    both = np.frombuffer("16 ≈ 9".encode(), dtype=np.uint8).astype(np.int32)
    spans(both)
    calls.clear()
    spans(both)
    assert calls == [len(both), 4, 2, 3, 4]


def test_a_transcript_has_the_text_of_each_token(tmp_path):
    from menon.record.transcripts import read_transcript, write_answers
    from menon.types import Graded

    spans = TextSpans(text_of(bytes_tokenizer.build(), skip_special=False))
    graded = []
    for answer in (b"7", "é".encode(), b""):
        tokens = np.array([*b"3+4=", *answer, bytes_tokenizer.END_ID], dtype=np.int32)
        zeros = np.zeros(len(tokens), dtype=np.float32)
        rollout = Rollout(
            prompt=Prompt(0, tokens[:4], "3+4=", "7"),
            tokens=tokens,
            is_action=np.arange(len(tokens)) >= 4,
            logp=zeros,
            log_kept=zeros,
            entropy=zeros,
            version=zeros.astype(np.int32),
            finish="stop",
            text=answer.decode(),
            group=0,
        )
        graded.append(Graded(rollout, Verdict(0.0, 0.0)))
    write_answers(tmp_path / "t.parquet", 3, graded, spans)
    rows = read_transcript(tmp_path / "t.parquet", ["text", "text_start", "tokens"])
    assert [row["text"] for row in rows] == [f"3+4={answer}<|endoftext|>" for answer in ("7", "é", "")]
    assert [row["text_start"] for row in rows] == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 4, 5], [0, 1, 2, 3, 4]]
    write_answers(tmp_path / "u.parquet", 3, graded)
    assert not {"text", "text_start"} & read_transcript(tmp_path / "u.parquet")[0].keys()
