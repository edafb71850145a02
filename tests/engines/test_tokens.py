"""Text to tokens: what comes in front of a prompt, and texts that go on from earlier tokens."""

import numpy as np
import pytest
from tokenizers import processors

from helpers import tiny_tokenizer
from menon.engines.decoding.stop_strings import text_of
from menon.engines.tokens import continue_with, ids_with, tokenize_with
from tokenizer_kinds import EXACT, LOSSY, SPECIAL, tokenizer_of

GIVEN = (
    "2+8=",
    "the",
    "ok\n",
    "1",
    "a ",
    "2+8=10</s>",
    "<turn>ok<turn>\n",
    ".",
    "the " * 9,
)
OBSERVED = ("10", "ok", " ok", "\nok", "\n", " ", "  the\n\n  ok", "0.1", "...", "=1", "+=", "k", "\tok")


@pytest.mark.parametrize("kind", EXACT)
def test_an_observation_goes_on_from_the_text_before_it(kind):
    """No space in front that it does not have, whatever the tokens before it are."""
    tokenizer = tokenizer_of(kind)
    bare, go_on = ids_with(tokenizer), continue_with(tokenizer)
    decode = text_of(tokenizer, skip_special=False)
    for given in GIVEN:
        before = np.array(bare(given), dtype=np.int32)
        for text in OBSERVED:
            assert decode([*before.tolist(), *go_on(text, before)]) == decode(before.tolist()) + text
        assert go_on("", before) == []


@pytest.mark.parametrize("kind", [*EXACT, *LOSSY])
@pytest.mark.parametrize("text", ["10", "the ok", "ok ok"])
def test_its_tokens_are_those_of_the_text_as_one(kind, text):
    """Where no token joins the two: after a sign, or where the text begins with a space."""
    tokenizer = tokenizer_of(kind)
    bare, go_on = ids_with(tokenizer), continue_with(tokenizer)
    for given, observed in (("2+8=", text), ("the", f" {text}")):
        assert [*bare(given), *go_on(observed, bare(given))] == bare(given + observed)


def test_special_tokens_in_an_observation_are_read_as_in_a_prompt():
    for kind in EXACT:
        tokenizer = tokenizer_of(kind)
        bare, go_on = ids_with(tokenizer), continue_with(tokenizer)
        found = go_on("ok<turn>ok</s>", bare("2+8="))
        assert found == [*go_on("ok", bare("2+8=")), *bare("<turn>ok</s>")]
        assert found[1] == SPECIAL.index("<turn>")


def test_a_character_that_the_tokenizer_does_not_know_gets_no_space():
    tokenizer = tokenizer_of("metaspace_first")
    assert continue_with(tokenizer)("é", ids_with(tokenizer)("2+8=")) == [0]


@pytest.mark.parametrize(
    ("single", "text", "want"),
    [
        ("$A", "ok", "ok"),
        ("<s> $A", "ok", "<s>ok"),
        ("<s> $A", "<s>ok", "<s>ok"),
        ("<s> $A </s>", "ok", "<s>ok"),
        ("$A </s>", "ok", "ok"),
        ("<turn> <s> $A", "ok", "<turn><s>ok"),
        ("<turn> <s> $A", "<turn><s>ok", "<turn><s>ok"),
        ("<turn> <s> $A", "<s>ok", "<s>ok"),
        ("<s> $A", "ok<s>", "<s>ok<s>"),
        ("<s> $A", "", "<s>"),
    ],
)
def test_what_the_tokenizer_puts_around_a_text(single, text, want):
    """The front once, nothing after the text; nothing at all where a chat template wrote the text."""
    for kind in ("byte_level", "metaspace_first", "word_piece"):
        tokenizer = tokenizer_of(kind)
        ids = [(name, SPECIAL.index(name)) for name in SPECIAL if name in single]
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=single, special_tokens=ids
        )
        tokenize, bare = tokenize_with(tokenizer), ids_with(tokenizer)
        front = [SPECIAL.index(f"{name}>") for name in want.removesuffix(text).split(">")[:-1]]
        assert tokenize(text) == [*front, *bare(text)]
        assert tokenize(text, special=False) == bare(text)


def test_a_tokenizer_that_puts_nothing_in_front():
    assert tokenize_with(tiny_tokenizer())("ab") == [97, 98]
