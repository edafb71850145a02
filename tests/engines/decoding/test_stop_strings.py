import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from helpers import BYTES, tiny_tokenizer
from menon.engines.decoding.stop_strings import StopStrings, special_ids, text_of
from menon.types import no_tokens


def first_end(
    tokenizer, stop: tuple[str, ...], tokens: list[int], prefix: list[int] | None = None
) -> int | None:
    """How many tokens are written when a stop string ends."""
    given = np.array(prefix, dtype=np.int32) if prefix else no_tokens()
    watch = StopStrings(text_of(tokenizer), special_ids(tokenizer), stop, given)
    return next((i + 1 for i, token in enumerate(tokens) if watch.ends(token)), None)


@pytest.fixture(scope="module")
def metaspace() -> PreTrainedTokenizerFast:
    """Words with a leading space that is dropped at the start of a decoded text, as in Llama 2."""
    pieces = ["▁the", "▁end", "▁", "en", "d", "▁answer", ":", "▁42", "</s>"]
    core = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token=":"))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    core.add_special_tokens([AddedToken("</s>", special=True), AddedToken("<turn>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")


def test_a_stop_string_across_many_tokens():
    tokenizer = tiny_tokenizer()
    text = tokenizer.encode("a long text before, then STOP and more")
    assert first_end(tokenizer, ("STOP",), text) == len("a long text before, then STOP")
    assert first_end(tokenizer, ("never", "STOP"), text) == len("a long text before, then STOP")
    assert first_end(tokenizer, ("STOP ",), text) == len("a long text before, then STOP ")
    assert first_end(tokenizer, ("stop",), text) is None


def test_characters_of_several_bytes():
    tokenizer = tiny_tokenizer()
    text = tokenizer.encode("日本 né答案: 42")
    assert first_end(tokenizer, ("é答",), text) == len("日本 né答".encode())
    assert first_end(tokenizer, ("\u7b54",), text) == len("日本 né答".encode())


def test_special_tokens_do_not_part_a_string():
    tokenizer = tiny_tokenizer()
    text = [*tokenizer.encode("ST"), *[BYTES - 1] * 30, *tokenizer.encode("OP")]
    assert first_end(tokenizer, ("STOP",), text) == 34
    assert first_end(tokenizer, ("T",), text) == 2  # and a special token after it is not a second end


def test_special_tokens_without_a_role_count_as_special(metaspace):
    assert special_ids(metaspace) == set(metaspace.convert_tokens_to_ids(["</s>", "<turn>"]))
    text = metaspace.convert_tokens_to_ids(["▁the", *["<turn>"] * 30, "▁end"])
    assert first_end(metaspace, ("the end",), text) == 32


def test_a_string_may_begin_in_the_prefix_but_must_end_in_new_tokens():
    tokenizer = tiny_tokenizer()
    encode = tokenizer.encode
    assert first_end(tokenizer, ("STOP",), encode("OP."), encode("first ST")) == 2
    assert first_end(tokenizer, ("STOP",), encode("more"), encode("first STOP")) is None
    assert first_end(tokenizer, ("\n",), encode("ab\nc"), encode("line\n")) == 3
    assert first_end(tokenizer, ("\n",), encode("\nc"), encode("line\n")) == 1


def test_a_decoder_that_drops_the_first_space(metaspace):
    def encode(*pieces: str) -> list[int]:
        return metaspace.convert_tokens_to_ids(list(pieces))

    text = encode("▁the", "▁answer", ":", "▁42", "▁the", "▁", "en", "d")
    assert first_end(metaspace, (": 4",), text) == 4  # in the middle of a token
    assert first_end(metaspace, (" the end",), text) == 8
    assert first_end(metaspace, (" en",), text) == 7
    assert first_end(metaspace, (" e",), text) == 7
    assert first_end(metaspace, (" the",), text) == 5  # at the start of a text there is no space
    assert first_end(metaspace, ("the",), text) == 1


def test_every_place_agrees_with_decoding_everything():
    tokenizer = tiny_tokenizer()
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        tokens = rng.choice(
            [97, 98, 99, 195, 169, 256], size=30
        ).tolist()  # a b c, the two bytes of é, the end token
        stop = ("".join(rng.choice(list("abcé"), size=2)),)
        whole = (tokenizer.decode(tokens[: i + 1], skip_special_tokens=True) for i in range(30))
        expected = next((i + 1 for i, text in enumerate(whole) if stop[0] in text), None)
        assert first_end(tokenizer, stop, tokens) == expected
        found += expected is not None
    assert found > 50


def test_text_is_the_tokenizers_own(metaspace):
    """Also where a tokenizer decodes in a way of its own."""

    class Shouting(PreTrainedTokenizerFast):
        def _decode(self, *args, **kwargs):
            return super()._decode(*args, **kwargs).upper()

    shouting = Shouting(tokenizer_object=metaspace.backend_tokenizer, eos_token="</s>")
    tokens = [0, 1, 5, 6, 7, 8, 9]
    for tokenizer, want in ((metaspace, "the end answer: 42"), (shouting, "THE END ANSWER: 42")):
        assert tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False) == want
        assert text_of(tokenizer)(tokens) == want
