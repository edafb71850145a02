"""The functions of the package: what the command does, from Python. Heavy modules are imported when a
function is called."""

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from menon.errors import UserError
from menon.overrides import EvalOverrides, Overrides, RecipeName
from menon.results import EvalNumbers, Numbers, Report, RunLine, with_reasons

if TYPE_CHECKING:
    from menon.eval.compare import Comparison


def train(recipe: RecipeName | None = None, /, **overrides: Unpack[Overrides]) -> Report:
    """Trains and gives the report (`report.json` of the run folder). Without a recipe it is grpo. The report
    of a recipe of several stages has theirs under `stages`.

    Overrides are the settings of the command, and may hold objects, such as a function as the reward or a
    part. What lies deeper is a nested dictionary. Names with dots, and settings of parts by their short
    names, work as in the command, as `**{"objective.policy.loss.clip_high": 0.28}`; only a type checker does
    not know them.

    >>> menon.train("grpo", data="sums.jsonl", model="my-model", reward=mine, steps=20)  # doctest: +SKIP
    """
    from menon.assembly.run import start
    from menon.pipeline.run import start as start_pipeline
    from menon.recipes import PIPELINES
    from menon.report.terminal import starting, terminal

    if recipe in PIPELINES:
        return cast(Report, with_reasons(start_pipeline(recipe, (by_name(overrides),), terminal)))
    with starting() as show:
        return cast(Report, with_reasons(start(recipe, (by_name(overrides),), show)))


def evaluate(model: str = "base", /, **settings: Unpack[EvalOverrides]) -> EvalNumbers:
    """Evaluates a model, stores every verdict, and gives the numbers: the JSON of `menon eval`.

    Settings are those of the command (`menon.eval.config.EvalConfig`).

    >>> menon.evaluate("runs/mine", task="chain_sum", n=200, k=8)["avg@8"]  # doctest: +SKIP
    """
    from menon.assembly.evaluate import evaluate as measured
    from menon.assembly.evaluate import summary

    return Numbers(summary(measured(by_name({"model": model, **settings}))[0]))


def by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, paths as text. UserError for a model, tokenizer or data that is an object and no name."""
    found = {
        name: fspath(value) if isinstance(value, PathLike) else value for name, value in settings.items()
    }
    for name, value in found.items():
        kind = type(value).__name__
        if name in ("tokenizer", "processing_class"):
            raise UserError(
                f"{name} is no setting: the tokenizer is read from the model's folder; write it there by "
                "tokenizer.save_pretrained(FOLDER)"
            )
        if value is None or isinstance(value, str) or name not in ("model", "data", "heldout_data"):
            continue
        if name == "model":
            how = "write it and its tokenizer by save_pretrained(FOLDER), and give model=FOLDER"
            raise UserError(f"model is a {kind}, and must be the name of a folder or on the hub; {how}")
        write = (
            f"{name}.write_ndjson('{name}.jsonl')"
            if hasattr(value, "write_ndjson")
            else f"{name}.to_json('{name}.jsonl', orient='records', lines=True)"
            if hasattr(value, "to_json")
            else f"open('{name}.jsonl', 'w').writelines(json.dumps(row) + '\\n' for row in {name})"
        )
        raise UserError(
            f"{name} is a {kind}, and must be the name of a file or folder, or hub:NAME; write its rows by "
            f"{write}, and give {name}='{name}.jsonl'"
        )
    return found


def compare(a: str | PathLike[str], b: str | PathLike[str] | None = None) -> "Comparison":
    """Compares two results of `menon eval`, or the last evaluations of two runs, question by question: the
    difference b - a with its paired 95 % interval, and McNemar's test. Of one run alone, its evaluation after
    the last step with that before the first.

    UserError: a file or folder that holds neither, or different questions.

    >>> menon.compare("runs/a", "runs/b").difference  # doctest: +SKIP
    >>> menon.compare("runs/a").difference  # doctest: +SKIP
    """
    from menon.eval.compare import compare_results
    from menon.eval.stored import read_pair

    (_, before), (_, after) = read_pair([Path(place) for place in (a, b) if place is not None])
    return compare_results(before, after)


def metrics(run: str | PathLike[str]) -> list[dict[str, float]]:
    """The numbers of each finished step of a run, by name, its `step` among them (docs/metrics.md has every
    name); the run may be going on. UserError: the folder holds no run.

    >>> [line["reward/mean"] for line in menon.metrics("runs/mine")]  # doctest: +SKIP
    """
    from menon.record.reader import RunView

    lines = RunView.open(Path(run)).metrics
    return [
        Numbers({name: value for name, value in line.items() if isinstance(value, int | float)})
        for line in lines
    ]


def runs(folder: str | PathLike[str] = "runs") -> list[RunLine]:
    """The runs in a folder, by name: what `menon runs` shows. UserError: there is no folder, or no run in it.

    >>> [(one["run"], one["after"].get("accuracy")) for one in menon.runs()]  # doctest: +SKIP
    """
    from menon.study.listing import listed

    return [cast(RunLine, with_reasons(line)) for line in listed(Path(folder))]
