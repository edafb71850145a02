import pickle

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from helpers import BYTES, tiny_tokenizer
from menon.engines.decoding.stop_strings import Detokenizer, StopStrings, special_ids, text_of
from menon.types import no_tokens


def first_end(
    tokenizer,
    stop: tuple[str, ...],
    tokens: list[int],
    prefix: list[int] | None = None,
    keep: bool = False,
) -> int | None:
    """How many tokens are written when a stop string ends."""
    given = np.array(prefix, dtype=np.int32) if prefix else no_tokens()
    watch = StopStrings(Detokenizer.of(tokenizer, keep_special=keep), stop, given)
    return next((i + 1 for i, token in enumerate(tokens) if watch.ends(token)), None)


@pytest.fixture(scope="module")
def metaspace() -> PreTrainedTokenizerFast:
    """Words with a leading space that is dropped at the start of a decoded text, as in Llama 2."""
    pieces = ["▁the", "▁end", "▁", "en", "d", "▁answer", ":", "▁42", "</s>"]
    core = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token=":"))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    core.add_special_tokens([AddedToken(name, special=True) for name in ("</s>", "<turn>", "<▁s>")])
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
    assert special_ids(metaspace) == set(metaspace.convert_tokens_to_ids(["</s>", "<turn>", "<▁s>"]))
    text = metaspace.convert_tokens_to_ids(["▁the", *["<turn>"] * 30, "▁end"])
    assert first_end(metaspace, ("the end",), text) == 32


@pytest.mark.parametrize(
    ("stop", "pieces", "count"),
    [
        ("<turn>", ["▁the", "▁end", "<turn>", "▁42"], 3),
        ("<turn>", ["<turn>"], 1),
        ("end<turn>", ["▁end", "<turn>"], 2),
        ("end<turn>", ["▁answer", "<turn>", "▁end"], None),
        ("<turn>answer", ["<turn>", "▁answer"], 2),  # some decoders show a space there, and some do not
        ("<turn> answer", ["<turn>", "▁answer"], 2),
        ("<turn><turn>:", ["<turn>", "<turn>", ":"], 3),
        ("<turn></s>", ["<turn>", "▁the", "</s>", "<turn>", "</s>"], 5),
        ("▁s", ["▁the", "<▁s>"], None),  # in the middle of a special token, which the text does not show
        ("<▁s>", ["▁the", "<▁s>"], 2),  # a decoder may write the special token otherwise
        ("turn", ["<turn>", "▁the"], None),
        ("the end", ["▁the", "<turn>", "▁end"], 3),  # in the text without special tokens
    ],
)
def test_a_stop_string_of_special_tokens(metaspace, stop, pieces, count):
    assert first_end(metaspace, (stop,), metaspace.convert_tokens_to_ids(pieces)) == count
    assert first_end(metaspace, ("never", stop), metaspace.convert_tokens_to_ids(pieces)) == count


def test_kept_special_tokens_part_a_string(metaspace):
    ids = metaspace.convert_tokens_to_ids(["▁the", "<turn>", "▁end", "▁the", "▁end"])
    assert first_end(metaspace, ("the end",), ids, keep=True) == 5
    assert first_end(metaspace, ("turn",), ids, keep=True) == 2


def test_a_special_stop_string_in_the_prefix_does_not_count(metaspace):
    turn, end = metaspace.convert_tokens_to_ids(["<turn>", "▁end"])
    assert first_end(metaspace, ("<turn>",), [end, turn], [end, turn]) == 2
    assert first_end(metaspace, ("end<turn>",), [turn], [turn, end]) == 1


def test_text_with_special_tokens(metaspace):
    """All but the end-of-text token that ends it."""
    end, turn, answer, number = metaspace.convert_tokens_to_ids(["</s>", "<turn>", "▁answer", "▁42"])
    kept, hidden = (Detokenizer.of(metaspace, [end], keep_special=keep) for keep in (True, False))
    for tokens, shown, plain in (
        ([turn, answer, turn, number, end], "<turn> answer<turn> 42", "answer 42"),
        ([answer, end, number], "answer</s> 42", "answer 42"),
        ([end], "", ""),
        ([], "", ""),
    ):
        assert (kept.text(tokens), hidden.text(tokens)) == (shown, plain)
        assert pickle.loads(pickle.dumps(kept)).text(tokens) == shown


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
