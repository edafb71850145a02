"""What an evaluation takes over from a run, so that it asks and grades as the run did."""

from dataclasses import fields
from pathlib import Path

from menon.assembly.trust import changed_code, check_allowed, without_word
from menon.config import OnlineSource
from menon.errors import UserError
from menon.eval.config import EvalConfig
from menon.old_formats import settings_as_begun
from menon.record.layout import Layout
from menon.record.reader import RunView
from menon.settings import Tree, merged, read

QUESTIONS = ("task", "data", "set")
"""Settings that name the questions; without any of them, a run's held-out questions are asked."""
WITH_QUESTIONS = ("reward", "max_new_tokens", "on_bad")
"""Settings that belong to the questions: a public set has its own."""
OF_TRAINING = (*QUESTIONS, *WITH_QUESTIONS, "columns", "temperature", "top_p")
"""Settings of both, a run and an evaluation, that are not taken over as they are. A run's own evaluation
draws at temperature 1 and top_p 1, whatever it trains with."""
SHARED = tuple(
    sorted({f.name for f in fields(EvalConfig)} & {f.name for f in fields(OnlineSource)} - set(OF_TRAINING))
)
"""Settings that say how the policy answers: environment, template, stop strings and so on."""


def run_of(model: str) -> Path | None:
    """The folder of the run that a model is the newest checkpoint of, or a named checkpoint; None for other
    models."""
    folder = Path(model).expanduser().absolute()
    if Layout(folder).about.is_file() and not (folder / "config.json").exists():
        return Path(model).expanduser()
    for place in (folder, folder.resolve()):
        run = place.parent.parent
        if place.parent == Layout(run).checkpoints and Layout(run).about.is_file():
            return run
    return None


def as_run(settings: Tree) -> Tree:
    """The settings of an evaluation with those of a run filled in: the run that `run` names, or the one that
    the model comes from. Settings that are given, also as null, stay as they are.

    How the policy answers is always taken over (`SHARED`). The reward and the length are taken over for all
    questions but those of a public set. UserError: there is no such run.
    """
    settings, word = without_word(settings)
    run = settings.get("run") or run_of(str(settings.get("model", EvalConfig.model)))
    if run is None:
        return settings
    source = source_tree(Path(run))
    check_allowed(source, Layout(Path(run)).about, word)
    own = not any(settings.get(name) is not None for name in QUESTIONS)
    names = [*SHARED]
    if settings.get("set") is None:
        names += WITH_QUESTIONS if own else WITH_QUESTIONS[:2]
    filled = {name: source[name] for name in names if source.get(name) is not None}
    if own and source.get("heldout_seed"):
        filled["seed"] = source["heldout_seed"]
    # A table such as environment.time_s=9 changes the run's own part.
    return merged(filled, settings) | {"run": str(run)}


def source_tree(run: Path) -> Tree:
    """The settings of a run's source, as they were written."""
    source = settings_as_begun(RunView.open(run).settings).get("source")
    if not isinstance(source, dict):
        raise UserError(f"{run} does not learn from questions; name them, like task=chain_sum or data=FILE")
    return source


def source_of_run(run: str) -> OnlineSource:
    """The source of a run, whose held-out questions are asked."""
    return read(OnlineSource, source_tree(Path(run)))


def notes_on_code(run: str | None) -> list[str]:
    """A sentence for each part or function of the user's that is not what it was when the run began."""
    return [
        f"{name} is not what it was when {run} began, so this is not quite that run's evaluation"
        for name in (() if run is None else changed_code(RunView.open(run).settings))
    ]


def environment_left_out(model: str) -> str | None:
    """The kind of the environment that a model was trained with; None where there was none."""
    run = run_of(model)
    environment = source_tree(run).get("environment") if run is not None else None
    return environment["kind"] if isinstance(environment, dict) else environment
