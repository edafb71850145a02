"""The shipped folder, loaded the way any user of `transformers` would load it."""

import json
import random

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from menon.base import WEIGHTS  # noqa: E402
from menon.base.corpus import PretrainRecipe  # noqa: E402
from menon.base.tokenizer import END_ID, PAD_ID, VOCABULARY, build, byte_letters, decode, encode  # noqa: E402
from menon.prompts.tasks import ChainSum  # noqa: E402

TEXTS = [
    "",
    " ",
    "  two  spaces  ",
    " lead",
    "tail \n",
    "a . b , c ' s n't",
    "\r\n\t\x00\x7f",
    "Ménōn 數學 🧮 e\u0301",
    "<|endoftext|",
]


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def model():
    return transformers.AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype=torch.float32).eval()


def test_tokens_are_bytes_and_text_comes_back_exactly(tokenizer):
    rng = random.Random(0)
    letters = [*range(0xD800), *range(0xE000, 0x110000)]
    drawn = ["".join(map(chr, rng.choices(letters, k=20))) for _ in range(50)]
    for text in TEXTS + drawn:
        tokens = tokenizer(text).input_ids
        assert tokens == list(text.encode()) == encode(text)
        assert tokenizer.decode(tokens) == text == decode(tokens)


def test_special_tokens_follow_the_bytes(tokenizer):
    assert (
        (tokenizer.eos_token_id, tokenizer.pad_token_id, len(tokenizer))
        == (END_ID, PAD_ID, VOCABULARY)
        == (256, 257, 258)
    )
    assert tokenizer.bos_token is None
    assert tokenizer("a<|endoftext|>").input_ids == [97, 256]
    assert tokenizer.decode([97, 256, 257], skip_special_tokens=True) == "a" == decode([97, 256, 257])


def test_the_byte_letters_are_those_of_gpt2():
    letters = byte_letters()
    assert len(set(letters)) == 256
    assert (letters[ord(" ")], letters[ord("\n")], letters[ord("a")], letters[0], letters[0xAD]) == (
        "Ġ",
        "Ċ",
        "a",
        "Ā",
        "Ń",
    )


def test_the_shipped_tokenizer_is_the_one_that_is_built(tokenizer):
    assert tokenizer.backend_tokenizer.to_str() == build().backend_tokenizer.to_str()


def test_the_folder_is_small_ordinary_and_of_the_recipes_shape(model):
    names = {path.name for path in WEIGHTS.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    } <= names
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 2_500_000
    assert json.loads((WEIGHTS / "generation_config.json").read_text())["eos_token_id"] == END_ID
    config = model.config.to_dict()
    for name, value in PretrainRecipe().shape.config().items():
        assert config[name] == value


def answers(model, tokenizer, prompts: list[str], do_sample: bool) -> list[str]:
    """Responses of `transformers`' own generation; unfinished ones come without an end and are graded like
    the others."""
    torch.manual_seed(0)
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    kind = (
        {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        if do_sample
        else {"do_sample": False}
    )
    with torch.no_grad():
        out = model.generate(**batch, max_new_tokens=110, **kind)
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.fixture(scope="module")
def rows():
    return ChainSum().rows("heldout", 256, seed=11)


def accuracy(rows, texts: list[str]) -> float:
    return sum(
        ChainSum().grade(row["question"], text, row["answer"]) for row, text in zip(rows, texts, strict=True)
    ) / len(rows)


def test_the_base_has_a_bad_habit_and_a_skill(model, tokenizer, rows):
    """The measured numbers are in docs/base.md; a band of three standard deviations of 256 answers is .09
    wide each way."""
    plain = answers(model, tokenizer, [row["question"] for row in rows], do_sample=True)
    assert accuracy(rows, plain) == pytest.approx(0.34, abs=0.09)
    assert sum(map(len, plain)) / len(plain) < 25
    worked = answers(model, tokenizer, [row["question"] + "\nSteps:" for row in rows], do_sample=True)
    assert accuracy(rows, worked) == pytest.approx(0.83, abs=0.08)


def test_the_likeliest_answer_is_one_line_and_a_wrong_guess(model, tokenizer, rows):
    """Were greedy text good already, learning would only have to sharpen."""
    texts = answers(model, tokenizer, [row["question"] for row in rows], do_sample=False)
    assert accuracy(rows, texts) <= 0.15
    assert sum(text.count("\n") == 2 for text in texts) > 200
