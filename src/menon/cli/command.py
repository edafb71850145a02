"""`menon train` and `menon pretrain`, from words to a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from menon import threads
from menon.assembly.run import resume, settings_in, start, together, use
from menon.cli.catalogue import run_settings
from menon.cli.words import understand
from menon.errors import UserError, nearest
from menon.other_names import answer_for
from menon.pipeline.run import resume as resume_pipeline
from menon.pipeline.run import start as start_pipeline
from menon.recipes import PIPELINES, RECIPES
from menon.record.layout import PIPELINE, Layout
from menon.record.reader import DamagedRun
from menon.report.terminal import starting, terminal
from menon.settings import Tree, read_file


@dataclass(frozen=True)
class Asked:
    """What a command line asks for."""

    recipe: str | None = None
    again: Tree | None = None
    """The settings of an earlier run that is repeated, in place of a recipe."""
    changes: tuple[Tree, ...] = ()
    """Files and overrides, in their order; overrides come last."""
    resume: Path | None = None

    @property
    def settings(self) -> Tree:
        return together(self.changes, self.again)


def asked_by(words: Sequence[str]) -> Asked:
    """What the words of `train` or `explain` ask for. UserError: words that do not go together."""
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("-") and option != "--resume" and (answer := answer_for(option)):
            raise UserError(answer)
    found = understand(words, ("resume",))
    recipe: str | None = None
    again: Tree | None = None
    files: list[Tree] = []
    for word in found.plain:
        if word.endswith((".yaml", ".yml", ".toml")):
            files.append(read_file(Path(word)))
        elif word.endswith(".json"):
            again = to_repeat(settings_of_run(Path(word)))
        elif recipe is None:
            recipe = word
        else:
            if recipe in run_settings():
                raise UserError(f"{recipe} is a setting; write {recipe}={word}")
            raise UserError(
                f"'{word}' is neither key=value nor a .yaml or .toml file, and the recipe is '{recipe}' "
                "already"
            )
    if recipe is not None and (what := instead_of_recipe(recipe)):
        raise UserError(what)
    folder = found.options.get("resume")
    if folder == "":
        raise UserError("--resume needs the folder of a run, like --resume runs/mine")
    if again is not None and recipe:
        raise UserError(f"the run.json says all that the recipe '{recipe}' would; leave one of them out")
    if folder and (recipe or files or again):
        raise UserError("--resume goes on with the run's own settings; leave the recipe and the files out")
    return Asked(recipe, again, (*files, *found.overrides), Path(folder) if folder else None)


def instead_of_recipe(word: str) -> str:
    """What a word in the place of a recipe is, and how to write it; "" for a recipe, and for a word of which
    nothing is known."""
    path, (name, _, value) = Path(word), word.partition(":")
    if word in RECIPES or word in PIPELINES:
        return ""
    if word == "help":
        return (
            "for help type `menon train --help`, or `menon help NAME` for a recipe, setting, part or metric"
        )
    if (about := Layout(path).about).is_file():
        return (
            f"{word} is a run; go on with it by `menon train --resume {word}`, or repeat it by "
            f"`menon train {about}`"
        )
    if (path / PIPELINE).is_file():
        return f"{word} is a pipeline; go on with it by `menon train --resume {word}`"
    if (path / "config.json").is_file():
        return f"{word} is the folder of a model; write model={word}"
    if path.is_file():
        what = f"reward={word}:FUNCTION" if path.suffix == ".py" else f"data={word}"
        return f"{word} is a file and no recipe; write {what}"
    if ".py:" in word:
        return f"{word} is code of your own; write which part it is, like reward={word}"
    if path.suffix:
        return f"there is neither a file nor a recipe '{word}'; `menon help recipes` lists the recipes"
    return f"{name} is a setting; write {name}={value or 'VALUE'}" if name in run_settings() else ""


def settings_of_run(file: Path) -> Tree:
    """The settings in a run.json, which may have another name; UserError where the file is something else."""
    is_named_so = file == Layout(file.parent).about
    if not is_named_so and not file.is_file():
        raise UserError(f"there is no file {file}")
    try:
        return settings_in(file)
    except DamagedRun:
        if is_named_so:
            raise
        raise UserError(f"{file} is not the run.json of a run; if it holds data, write data={file}") from None


def to_repeat(settings: Tree) -> Tree:
    """The settings without those that belong to the earlier run alone (like its folder)."""
    control = {name: value for name, value in settings.get("control", {}).items() if name != "out"}
    left = {name: value for name, value in settings.items() if name not in ("out", "own_code")}
    return left | ({"control": control} if "control" in settings else {})


def train(words: Sequence[str]) -> int:
    """Trains: a recipe, changed by files of settings and by key=value. A run.json in place of the recipe
    repeats that run; --resume RUN goes on with one.

    A recipe of several stages runs them in their order; STAGE.key=value is a setting of one of them, and
    --resume FOLDER goes on where it was stopped.
    """
    asked = asked_by(words)
    if asked.resume is not None and (asked.resume / PIPELINE).is_file():
        resume_pipeline(asked.resume, asked.settings, terminal)
        return 0
    if asked.recipe in PIPELINES:
        start_pipeline(asked.recipe, asked.changes, terminal)
        return 0
    with starting() as show:
        if asked.resume is not None:
            resume(asked.resume, asked.settings, show)
        else:
            start(asked.recipe, asked.changes, show, asked.again)
    return 0


def pretrain(words: Sequence[str]) -> int:
    """Makes a built-in base model from nothing and writes it to the folder out=: the model of sums, or with
    corpus=search that of searching and long chains. threads= as in `menon train`. Stopped and asked again,
    it goes on."""
    asked = asked_by(words)
    if asked.recipe or asked.resume:
        raise UserError("pretrain takes key=value only, like menon pretrain out=my-base seed=2")
    settings = asked.settings
    out = settings.pop("out", None)
    if out is None:
        raise UserError("pretrain needs a folder for the model: menon pretrain out=my-base")
    name = settings.pop("corpus", "sums")
    chosen = threads.choose(settings)
    settings.pop("threads", None)
    use(chosen, "cpu")
    from menon.assembly.pretrain import RECIPES
    from menon.assembly.pretrain import pretrain as make
    from menon.settings import read

    if name not in RECIPES:
        raise UserError(f"there is no corpus '{name}'{nearest(str(name), RECIPES)}")
    recipe = read(RECIPES[name], settings)
    print(f"menon pretrain  {threads.plural(chosen.count, 'thread')} ({chosen.reason})", flush=True)
    make(recipe, Path(str(out)), lambda line: print(line, flush=True))
    task = " task=countdown" if name == "search" else ""
    words = f"model={out} learning_rate=5e-4 max_new_tokens=96"
    print(f"the model is in {out}; train it with `menon train{task} {words}`")
    return 0
