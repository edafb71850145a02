"""`menon posterior`: the table, the file of draws, and what it refuses."""

import doctest
import json

import numpy as np
import pytest

import menon
from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.assembly import posterior
from menon.assembly.posterior import read_posterior
from menon.assembly.posterior_numbers import means
from menon.cli import main
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.prompts.given import GivenText
from menon.rollout.posterior import SIR
from menon.types import Completion, Graded, Request, Rollout, Sampling, Verdict
from scripted import complete, question

ALIKE = ["threads=1", "device=cpu", "seed=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3", vocab=len(ALPHABET) + 1), tiny_tokenizer(len(ALPHABET) + 1), path)
    return str(path)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [{"question": f"{n}+1=", "answer": str(n + 1)} for n in range(3)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "mine.py").write_text(
        "def even(prompt, completion, answer):\n    return float(len(completion) % 2 == 0)\n"
        "def never(prompt, completion, answer):\n    return 0.0\n"
    )


def test_draws_of_a_data_set_with_a_reward_of_ones_own(folder, capsys, tmp_path):
    """Beta .05: an odd length is e^20 times less likely, so after the first steps every draw is even."""
    words = ["data=sums.jsonl", "reward=mine.py:even", "beta=.05", "draws=6", "max_new_tokens=8"]
    method = ["method=suffix_mh", "method.chains=3", "method.burn_in=12", "method.thin=2", "truncated=score"]
    assert main(["posterior", folder, *words, *method, *ALIKE, "out=draws.jsonl"]) == 0
    text = capsys.readouterr().out
    numbers = json.loads(text.splitlines()[-1])
    draws = [json.loads(line) for line in (tmp_path / "draws.jsonl").read_text().splitlines()]
    assert numbers["questions"] == 3
    assert numbers["draws"] == len(draws) == 18
    assert numbers["reward"] == 1
    assert 0 < numbers["prior_reward"] < 1
    assert {"acceptance", "ess", "tokens", "tokens_per_draw", "distinct"} <= numbers.keys()
    assert [(d["row"], d["chain"], d["step"]) for d in draws[:6]] == [
        (0, chain, step) for step in (14, 16) for chain in (0, 1, 2)
    ]
    for draw in draws:
        assert draw["reward"] == float(len(draw["answer"]) % 2 == 0) == 1
        assert draw["weight"] == pytest.approx(1 / 6)
        assert draw["question"] == f"{draw['row']}+1="
        assert draw["gold"] == str(draw["row"] + 1)
        assert 1 <= len(draw["tokens"]) <= 8
    assert "menon posterior" in text
    assert f"  reward      {numbers['prior_reward']:>9.3f}{1:>9.3f}" in text


def test_the_same_command_gives_the_same_draws(folder, tmp_path):
    words = ["data=sums.jsonl", "reward=mine.py:even", "method=imh", "method.burn_in=2", "truncated=score"]
    for name in ("a", "b"):
        words_of = ["posterior", folder, *words, "max_new_tokens=6", "draws=2", *ALIKE, f"out={name}.jsonl"]
        assert main(words_of) == 0
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()


def test_methods_without_answers_of_the_model_are_compared_with_some(folder, capsys):
    words = ["data=sums.jsonl", "reward=mine.py:even", "truncated=score", "max_new_tokens=6", "draws=2"]
    for method in (["power", "method.blocks=2", "method.moves=2"], ["smc", "method.particles=4"]):
        out = f"out={method[0]}.jsonl"
        assert main(["posterior", folder, f"method={method[0]}", *method[1:], *words, *ALIKE, out]) == 0
        numbers = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert {"reward", "prior_reward", "tokens"} <= numbers.keys()


def test_draws_are_read_as_examples(folder, tmp_path):
    words = ["data=sums.jsonl", "reward=mine.py:even", "method=sir", "truncated=score", "max_new_tokens=6"]
    assert main(["posterior", folder, *words, *ALIKE, "out=draws.jsonl"]) == 0
    assert GivenText(data="draws.jsonl").form == "answers"
    from menon.prompts.reader import read_rows

    rows, skipped = read_rows(str(tmp_path / "draws.jsonl"))
    assert (len(rows), skipped) == (12, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=chain_sum"], "posterior takes one model"),
        (["base", "beta=0", "n=1"], "beta is 0.0; it weighs the model against the reward and is positive"),
        (["base", "method=mcmc"], "mcmc"),
        (["base", "temperature=0", "n=1"], "at temperature 0 there is one answer only"),
        (["base", "draws=0"], "draws is 0"),
        (["base", "environment=calculator"], "draws are single turns, and the environment calculator"),
        (["base", "max_turns=3"], "max_turns"),
        (["base", "out=sums.jsonl"], "sums.jsonl exists already; set out= to a new file"),
        (["base", "method=rso", "method.candidates=2", "n=1"], "4 of 2 candidates"),
    ],
)
def test_what_is_refused(words, said, capsys):
    assert main(["posterior", *words, *ALIKE]) == 2
    assert said in capsys.readouterr().err


def test_no_draw_at_all_is_an_error_with_the_reason(folder, capsys):
    words = ["data=sums.jsonl", "reward=mine.py:never", "beta=.01", "max_new_tokens=4", "truncated=score"]
    method = ["method=rejection", "method.max_tries=5"]
    assert main(["posterior", folder, *words, *method, *ALIKE]) == 2
    assert capsys.readouterr().err == (
        "menon: no question has a draw; of the first one, 0 of 4 draws were accepted among 5 answers; raise "
        "beta or method.max_tries\n"
    )


def test_an_environment_of_a_run_is_left_out_by_name():
    assert read_posterior({"model": "base", "environment": None}).asked.environment is None
    with pytest.raises(UserError, match="environment=null"):
        read_posterior({"model": "base", "environment": {"kind": "calculator"}})


def test_means_are_over_questions_and_leave_out_what_is_not_known():
    """Rewards 1 and 0 with weights .75, .25 and a question with 0 and a failed grader: (.75 + 0) / 2."""

    def one(score: float) -> Graded:
        written: Completion = complete(Request(question(0), Sampling(max_new_tokens=9)), "ab")
        return Graded(Rollout.of(written, 0), Verdict(score, np.nan))

    found = means([[(one(1.0), 0.75), (one(0.0), 0.25)], [(one(0.0), 0.5), (one(np.nan), 0.5)], []])
    assert found == {"reward": 0.375, "length": 3.0, "truncated": 0.0}


def test_without_a_length_an_answer_may_have_what_the_context_leaves(folder, monkeypatch):
    """The model is not built in, so nothing else says how long an answer may be: 128 tokens less a prompt of
    four."""
    asked, made = [], posterior.sampling_of
    monkeypatch.setattr(posterior, "sampling_of", lambda config: asked.append(config) or made(config))
    words = ["data=sums.jsonl", "reward=mine.py:even", "truncated=score", "draws=1", "n=2", "method=sir"]
    assert main(["posterior", folder, *words, *ALIKE, "out=long.jsonl"]) == 0
    assert [config.max_new_tokens for config in asked] == [128 - 4]


def test_the_example_of_the_function(tmp_path):
    """From Python: the docstring's own example, and the file that it leaves."""
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(menon.posterior, "posterior", globs={"menon": menon})
    assert doctest.DocTestRunner().run(example).attempted == 3
    lines = [json.loads(line) for line in (tmp_path / "draws.jsonl").read_text().splitlines()]
    assert [line["gold"] for line in lines] == ["34", "34", "23", "23"]
    assert all(line["answer"].endswith(f"#{line['gold']}") for line in lines)


def test_from_python_it_is_the_command(folder, capsys, tmp_path):
    words = ["data=sums.jsonl", "beta=.5", "draws=2", "max_new_tokens=8", "truncated=score"]
    assert (
        main(["posterior", folder, *words, "method=sir", "reward=mine.py:even", *ALIKE, "out=a.jsonl"]) == 0
    )
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    settings = {"data": tmp_path / "sums.jsonl", "beta": 0.5, "draws": 2, "max_new_tokens": 8, "seed": 0}
    alike = {"truncated": "score", "method": SIR(), "threads": 1, "device": "cpu", "out": "b.jsonl"}
    found = menon.posterior(folder, reward="mine.py:even", **settings, **alike)
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()
    assert found.draws == [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert {**found.numbers, "seconds": 0, "out": ""} == {**said, "seconds": 0, "out": ""}
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="exists already; set out= to a new file"):
        menon.posterior(folder, **settings, **alike)
    with pytest.raises(KeyError, match="there is no 'accurcy'; did you mean 'accuracy'"):
        found.numbers["accurcy"]
