"""The shipped search base, loaded the way any user of `transformers` would load it."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import json  # noqa: E402

import numpy as np  # noqa: E402

from menon.base import BASE_OF_TASK, BASES, SEARCH_WEIGHTS, default_model  # noqa: E402
from menon.base.search import SearchRecipe  # noqa: E402
from menon.base.tokenizer import END_ID, build, encode  # noqa: E402
from menon.engines.decoding.torch_sampler import TorchSampler  # noqa: E402
from menon.prompts.tasks import TASKS, Countdown, LongChain  # noqa: E402
from menon.types import Prompt, Request, Sampling  # noqa: E402
from scripted import written_by  # noqa: E402

N = 128


@pytest.fixture(scope="module")
def sampler():
    model = transformers.AutoModelForCausalLM.from_pretrained(SEARCH_WEIGHTS, dtype=torch.float32).eval()
    return TorchSampler(model, transformers.AutoTokenizer.from_pretrained(SEARCH_WEIGHTS), seed=0)


def answers(sampler, texts: list[str], temperature: float) -> list[str]:
    prompts = [Prompt(i, np.array(encode(text), dtype=np.int32), text) for i, text in enumerate(texts)]
    found = written_by(sampler, [Request(prompt, Sampling(96, temperature)) for prompt in prompts])
    said = {completion.request.prompt.index: completion.text for completion in found}
    return [said[i] for i in range(len(texts))]


def accuracy(task, rows, texts) -> float:
    return sum(
        task.grade(row["question"], text, row["answer"]) for row, text in zip(rows, texts, strict=True)
    ) / len(rows)


def share(said: list[bool]) -> float:
    return sum(said) / len(said)


def test_the_folders_are_small_ordinary_and_of_the_recipes_shape(sampler):
    assert sum(path.stat().st_size for folder in BASES.values() for path in folder.iterdir()) < 8_000_000
    assert json.loads((SEARCH_WEIGHTS / "generation_config.json").read_text())["eos_token_id"] == END_ID
    config = sampler.model.config.to_dict()
    for name, value in SearchRecipe().shape.config().items():
        assert config[name] == value
    assert sampler.tokenizer.backend_tokenizer.to_str() == build().backend_tokenizer.to_str()


def test_a_run_that_names_no_model_begins_with_the_base_that_has_seen_its_task():
    assert (
        default_model({"task": "countdown"})
        == default_model({"task": {"kind": "long_chain", "steps": 9}})
        == "search_base"
    )
    assert (
        default_model({})
        == default_model({"task": "sorting"})
        == default_model({"task": {"steps": 9}})
        == "base"
    )
    assert set(BASE_OF_TASK) <= set(TASKS)
    assert set(BASE_OF_TASK.values()) <= set(BASES)


def test_it_gives_up_too_early_and_can_search(sampler):
    """A small sample, drawn with a seed; larger ones are in docs/base.md. Two answers may fall otherwise by
    rounding."""
    rows = Countdown().rows("heldout", N, seed=11)
    plain = answers(sampler, [row["question"] for row in rows], 1.0)
    assert accuracy(Countdown(), rows, plain) == pytest.approx(50 / N, abs=2.5 / N)
    assert share(list(map(Countdown().works, plain))) == pytest.approx(84 / N, abs=2.5 / N)
    assert share(list(map(Countdown().reflects, plain))) == pytest.approx(25 / N, abs=2.5 / N)
    steps = answers(sampler, ["Steps: " + row["question"] for row in rows], 1.0)
    assert accuracy(Countdown(), rows, steps) == pytest.approx(111 / N, abs=2.5 / N)
    found = [(row, text) for row, text in zip(rows + rows, plain + steps, strict=True) if " yes\n#" in text]
    assert len(found) > 100
    assert accuracy(Countdown(), *zip(*found, strict=True)) > 0.9
    guesses = answers(sampler, [f"{row['question']}#" for row in rows], 0.0)
    assert accuracy(Countdown(), rows, [f"#{text}" for text in guesses]) <= 0.25


def test_long_chains_are_worked_with_slips(sampler):
    rows = LongChain().rows("heldout", N, seed=11)
    plain = answers(sampler, [row["question"] for row in rows], 1.0)
    assert accuracy(LongChain(), rows, plain) == pytest.approx(46 / N, abs=2.5 / N)
    guesses = answers(sampler, [f"{row['question']}#" for row in rows], 0.0)
    assert accuracy(LongChain(), rows, [f"#{text}" for text in guesses]) <= 0.25
