"""The package from Python: what is public, and the types of its arguments and results."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import menon
from helpers import tiny_model, tiny_tokenizer
from menon import overrides, python, results
from menon.config import OWNERS, RunConfig
from menon.errors import UserError
from menon.loop import loop
from menon.overrides import EvalOverrides, Overrides, RecipeName
from menon.recipes import PIPELINES, RECIPES, recipe
from menon.record.folder import RunFolder
from menon.settings import plain_data
from menon.short_names import spelt_out
from tiny_run import Watching, tiny_run

ROOT = Path(__file__).parents[1]


def test_the_types_are_those_of_the_configuration(tmp_path):
    """`python scripts/typed_overrides.py` writes them."""
    written = runpy.run_path(str(ROOT / "scripts" / "typed_overrides.py"))
    file = tmp_path / "overrides.py"
    file.write_text(written["text"](), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "-q",
        "--config",
        str(ROOT / "pyproject.toml"),
        str(file),
    ]
    subprocess.run(command, check=True)
    assert file.read_text(encoding="utf-8") == Path(str(overrides.__file__)).read_text(encoding="utf-8")
    assert get_args(RecipeName) == (*RECIPES, *PIPELINES)


@pytest.mark.parametrize("name", sorted(Overrides.__annotations__))
def test_every_override_is_a_setting(name):
    tree = plain_data(recipe("ppo"))
    (place,) = spelt_out({name: None}, tree, RunConfig, OWNERS)
    assert place in tree


def test_types_are_simple():
    hints = get_type_hints(Overrides)
    assert hints["steps"] is int
    assert hints["learning_rate"] is float
    assert hints["threads"] == int | None
    assert get_args(hints["device"]) == ()
    assert set(get_args(hints["on_bad"])) == {"stop", "skip"}
    assert hints["reward"] == str | overrides.Table | Callable[..., Any] | None
    assert get_type_hints(EvalOverrides)["k"] is int
    assert Any not in hints.values()
    assert get_type_hints(menon.train)["return"] is results.Report


def test_what_is_public():
    assert {"train", "evaluate", "metrics", "runs", "compare"} <= set(menon.__all__) <= set(dir(menon))
    assert "Any" not in dir(menon)


def test_the_report_has_its_type(tmp_path):
    with RunFolder.create(tmp_path / "a", {"recipe": "grpo"}) as folder:
        report = loop(tiny_run(steps=1), folder, Watching())
    assert report.keys() <= get_type_hints(results.Report).keys()
    assert report["before"].keys() <= get_type_hints(results.Evaluation).keys()
    (line,) = menon.runs(tmp_path)
    with pytest.raises(KeyError, match=r"there is no 'accurracy'; did you mean 'accuracy'\?"):
        line["after"]["accurracy"]  # type: ignore[typeddict-item]
    with pytest.raises(KeyError, match="there is no 'reward/maen'; did you mean 'reward/mean'"):
        menon.metrics(tmp_path / "a")[0]["reward/maen"]
    assert line.keys() == get_type_hints(results.RunLine).keys()


def test_two_runs_are_compared_by_their_last_evaluations(tmp_path):
    """Run b answers the same two questions as a with other weights; c is not evaluated after a step."""
    for name, seed, most in (("a", 0, 9), ("b", 1, 9), ("c", 0, 1)):
        with RunFolder.create(tmp_path / name, {"recipe": "grpo"}) as folder:
            watch = Watching()
            run = tiny_run(steps=2, seed=seed)
            loop(run, folder, watch, lambda watch=watch, most=most: len(watch.steps) >= most)
    found = menon.compare(tmp_path / "a", tmp_path / "b")
    lines = menon.runs(tmp_path)
    a, b = (line["after"]["accuracy"] for line in lines[:2])
    assert (found.n, found.a, found.b, found.judged) == (2, a, b, "first sample")
    assert found.difference == pytest.approx(b - a)
    with pytest.raises(UserError, match="c was not evaluated after a step yet; wait for it, or use"):
        menon.compare(tmp_path / "a", tmp_path / "c")
    with pytest.raises(UserError, match="is no run; compare takes results of `menon eval`, or run folders"):
        menon.compare(tmp_path, tmp_path / "a")


class Frame(list):
    def to_json(self, file): ...


class Polars(list):
    def write_ndjson(self, file): ...


ROWS = [{"question": "1+1=", "answer": "2"}]


@pytest.mark.parametrize("call", [menon.train, menon.evaluate])
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "model",
            tiny_model(),
            "model is a Qwen3ForCausalLM, and must be the name of a folder or on the hub",
        ),
        (
            "data",
            ROWS,
            "data is a list, and must be the name of a file or folder, or hub:NAME; write its rows by "
            "open('data.jsonl', 'w').writelines(json.dumps(row) + '\\n' for row in data), and give "
            "data='data.jsonl'",
        ),
        (
            "data",
            Frame(),
            "write its rows by data.to_json('data.jsonl', orient='records', lines=True), and give",
        ),
        ("data", Polars(), "data is a Polars, and must be the name"),
        (
            "tokenizer",
            tiny_tokenizer(),
            "tokenizer is no setting: the tokenizer is read from the model's folder",
        ),
    ],
)
def test_objects_in_place_of_names(call, name, value, sentence):
    with pytest.raises(UserError) as caught:
        call(**{name: value}) if name != "model" or call is menon.train else call(value)
    assert sentence in str(caught.value)


def test_paths_are_names():
    assert python.by_name({"model": Path("a"), "data": None, "steps": 3, "reward": len}) == {
        "model": "a",
        "data": None,
        "steps": 3,
        "reward": len,
    }


def test_a_number_that_is_not_there_says_why():
    report = results.with_reasons({"before": None, "after": {"reward": 0.7, "n": 4}, "steps": 2})
    assert json.loads(json.dumps(report)) == {"before": None, "after": {"reward": 0.7, "n": 4}, "steps": 2}
    assert report["after"].get("accuracy") is None
    for table, name, sentence in (
        (
            report["after"],
            "accuracy",
            "'accuracy' is not known, because the reward does not say which answers "
            "are right; take ['reward'], or let it return {'score': ..., 'acc': 0 or 1}",
        ),
        (report["after"], "rewards", "there is no 'rewards'; did you mean 'reward'?"),
        (report, "reward", "there is no 'reward' here; it is in ['after']['reward']"),
    ):
        with pytest.raises(KeyError) as caught:
            table[name]
        assert str(caught.value) == sentence


def test_a_wrong_name_is_refused_when_it_runs():
    with pytest.raises(UserError, match="unknown setting 'stepz'; did you mean 'steps'"):
        menon.train(stepz=2, threads=1)  # type: ignore[call-arg]


def test_a_recipe_may_be_named_as_a_setting_is():
    """As in the command; it is not passed over for the default."""
    with pytest.raises(UserError, match="there is no recipe 'gropo'; did you mean 'grpo'"):
        menon.train(recipe="gropo", threads=1)  # type: ignore[call-arg]
    with pytest.raises(
        UserError, match="the recipe is ppo, and recipe=grpo names another; leave one of them"
    ):
        menon.train("ppo", recipe="grpo", threads=1)  # type: ignore[call-arg]
