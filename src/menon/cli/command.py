"""The commands, from words to a run."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.base import default_model
from menon.errors import UserError
from menon.record.layout import Layout
from menon.record.reader import RunView, current_settings, damaged, read_about
from menon.settings import Tree, merged, nested, override, read_file
from menon.threads import Threads

if TYPE_CHECKING:
    from menon.config import RunConfig
    from menon.loop import Run, Watcher
    from menon.record.folder import RunFolder
    from menon.record.trackers import Tracker

LATER = ("steps", "save_every", "evaluate_every", "tracker")
"""Settings that a resumed run may change: they do not touch what it has done."""


@dataclass(frozen=True)
class Asked:
    """What a command line says."""

    recipe: str | None = None
    again: Tree | None = None
    """The settings of an earlier run, to be repeated, in place of a recipe."""
    changes: tuple[Tree, ...] = ()
    """Files and overrides, in their order; overrides come last."""
    resume: Path | None = None

    @property
    def settings(self) -> Tree:
        """All changes as one tree, for what must be known before anything heavy is imported."""
        tree: Tree = dict(self.again or {})
        for change in self.changes:
            tree = merged(tree, nested(change))
        return tree


def understand(words: Sequence[str]) -> Asked:
    recipe: str | None = None
    again: Tree | None = None
    resume: Path | None = None
    files: list[Tree] = []
    overrides: list[Tree] = []
    rest = iter(words)
    for word in rest:
        if word == "--resume" or word.startswith("--resume="):
            folder = word.partition("=")[2] or next(rest, "")
            if not folder:
                raise UserError("--resume needs the folder of a run, like --resume runs/mine")
            resume = Path(folder)
        elif word.startswith("-"):
            raise UserError(
                f"there is no option {word.partition('=')[0]}; settings are written without dashes, like "
                "steps=20"
            )
        elif "=" in word:
            overrides.append(dict([override(word)]))
        elif word.endswith((".yaml", ".yml", ".toml")):
            files.append(read_file(Path(word)))
        elif word.endswith(".json"):
            again = {
                name: value
                for name, value in current_settings(read_about(Path(word))).items()
                if name not in ("out", "own_code")
            }
        elif recipe is None:
            recipe = word
        else:
            raise UserError(
                f"'{word}' is neither key=value nor a .yaml or .toml file, and the recipe is '{recipe}' "
                "already"
            )
    if again is not None and recipe:
        raise UserError(f"the run.json says all that the recipe '{recipe}' would; leave one of them out")
    if resume is not None and (recipe or files or again):
        raise UserError("--resume goes on with the run's own settings; leave the recipe and the files out")
    return Asked(recipe, again, (*files, *overrides), resume)


def train(words: Sequence[str]) -> int:
    asked = understand(words)
    if asked.resume is not None:
        resume(asked.resume, asked.settings)
    else:
        start(asked)
    return 0


def start(asked: Asked) -> dict[str, Any]:
    """A new run; its report."""
    settings = asked.settings
    chosen = threads.choose(settings)
    use(chosen, str(settings.get("device", "auto")))
    from menon.config import own_code
    from menon.record.folder import RunFolder
    from menon.settings import plain

    config = configured(asked, chosen.count)
    out = Path(config.out)
    if Layout(out).about.exists():
        raise UserError(
            f"{out} holds a run already; go on with it by `menon train --resume {out}` or set out= to a "
            "new folder"
        )
    config = replace(config, own_code=own_code(config))
    with built(config) as (run, notes), RunFolder.create(out, plain(config)) as folder:
        return drive(config, chosen, run, notes, folder)


def configured(asked: Asked, count: int) -> "RunConfig":
    """The whole configuration of a new run with so many threads."""
    from menon.config import RunConfig, changed
    from menon.recipes import recipe
    from menon.settings import read

    settings = asked.settings
    name = asked.recipe or str(settings.get("recipe") or "grpo")
    if asked.again is not None and asked.again.get("scale", "laptop") != settings.get("scale", "laptop"):
        raise UserError(
            "scale chooses the numbers of a recipe, and a run.json has its own; leave scale out, or name "
            "a recipe"
        )
    model, scale = (
        str(settings.get("model") or default_model(settings)),
        str(settings.get("scale") or "laptop"),
    )
    base = recipe(name, model, scale) if asked.again is None else read(RunConfig, asked.again)
    out = Path(str(settings.get("out") or f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    fixed = {"recipe": name, "scale": base.scale, "threads": count, "out": str(out)}
    return changed(base, *asked.changes, fixed if settings.get("model") else fixed | {"model": model})


def resume(path: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Goes on with a run; its report. Only settings of what is still to come can change."""
    late = [name for name in changes if name not in LATER]
    if late:
        raise UserError(
            f"a resumed run keeps its '{late[0]}'; only {', '.join(LATER)} can change, or start a new run"
        )
    view = RunView.open(path)
    view.check_resumable()
    settings = view.settings
    if not isinstance(settings.get("threads"), int):
        raise damaged(view.layout.about)
    chosen = Threads(settings["threads"], "as the run began")
    use(chosen, str(settings.get("device", "auto")))
    from menon.config import RunConfig, changed, own_code
    from menon.record.folder import RunFolder
    from menon.settings import read

    with RunFolder.open(path) as folder:
        config = changed(read(RunConfig, folder.settings), changes)
        now = own_code(config)
        odd = [name for name, code in config.own_code.items() if now.get(name) != code]
        if odd:
            raise UserError(
                f"{odd[0]} is not what it was when the run began; put the old code back, or start a new run"
            )
        with built(config) as (run, notes):
            return drive(config, chosen, run, notes, folder)


@contextmanager
def built(config: "RunConfig") -> Iterator[tuple["Run", list[str]]]:
    """The run, and what its user should know of the data."""
    from menon.assembly.build import build, close
    from menon.record.trackers import check

    if config.tracker is not None:
        check(config.tracker)

    notes: list[str] = []
    run = build(config, notes.append)
    try:
        yield run, notes
    finally:
        close(run)


def drive(
    config: "RunConfig", chosen: Threads, run: "Run", notes: list[str], folder: "RunFolder"
) -> dict[str, Any]:
    from menon.cli.terminal import terminal
    from menon.loop import loop
    from menon.study.report import at_the_end

    with (
        terminal(header(config, chosen, run)) as watch,
        mirrored(watch, config.tracker, folder.settings) as seen,
    ):
        for note in notes:
            watch.notify(note)
        return loop(replace(run, present=lambda path: at_the_end(path, watch.notify)), folder, seen)


@contextmanager
def mirrored(watch: "Watcher", tracker: "Tracker | None", settings: Mapping[str, Any]) -> Iterator["Watcher"]:
    """The watcher, and behind it the tracker that the run names."""
    from menon.assembly.tracking import Mirrored
    from menon.record.trackers import Tracked

    if tracker is None:
        yield watch
        return
    tracked = Tracked(tracker, watch.notify)
    try:
        yield Mirrored(watch, tracked, settings)
    finally:
        tracked.close()


def header(config: "RunConfig", chosen: Threads, run: "Run") -> dict[str, str]:
    """What a run is, line by line."""
    policy: Any = run.models["policy"]
    count = sum(weight.numel() for weight in policy.weights().values())
    updates = f"{config.updates_per_step} update" + ("s" if config.updates_per_step > 1 else "")
    return {
        "recipe": config.recipe,
        "model": f"{config.model}, {quantity(count)} parameters",
        "task": asked_in(config),
        "step": f"{size_of(config)}, {updates}, learning rate {config.optimiser.learning_rate:g}",
        "machine": f"{policy.device}, {config.dtype}, {threads.plural(chosen.count, 'thread')} ({chosen.reason})",
        **getattr(getattr(run.plan.grade, "reward", None), "header", {}),
    }


def asked_in(config: "RunConfig") -> str:
    """Where the questions come from, what answers the policy, and what grades it if that is not the task's
    own."""
    from menon.assembly.questions import own_questions
    from menon.prompts.tasks import name_of

    own = own_questions(config)
    reward = config.reward if isinstance(config.reward, str | None) else kind_or_name(config.reward)
    return ", ".join(
        [
            config.data or name_of(config.task or own),
            *(
                [f"environment {name_of(config.environment)}"]
                if config.environment is not None and own is None
                else []
            ),
            *([f"reward {reward}"] if reward else []),
        ]
    )


def size_of(config: "RunConfig") -> str:
    """What is written in a step, as far as the configuration settles it."""
    if (branching := getattr(config.rollout, "branching", None)) is not None:
        return f"{config.prompts_per_step} trees of {'-'.join(map(str, branching))}"
    return f"{config.prompts_per_step} prompts x {config.samples_per_prompt} samples"


def kind_or_name(reward: Any) -> str:
    return str(getattr(reward, "kind", None) or getattr(reward, "__name__", "your own"))


def quantity(count: int) -> str:
    """
    >>> quantity(5_984), quantity(886_400), quantity(494_032_768), quantity(7_600_000_000)
    ('5,984', '0.89 M', '494 M', '7.6 B')
    """
    if count < 1e5:
        return f"{count:,}"
    size, unit = (count / 1e6, "M") if count < 1e9 else (count / 1e9, "B")
    return f"{size:.2g} {unit}" if size < 10 else f"{size:.0f} {unit}"


def use(chosen: Threads, device: str) -> None:
    """Sets the threads; where torch is loaded already (in a notebook) it is told directly."""
    threads.prepare(chosen, device, os.environ)
    import torch

    torch.set_num_threads(chosen.count)


def train_from_python(recipe: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`menon.train`."""
    return start(Asked(recipe, changes=(dict(overrides),)))


def pretrain(words: Sequence[str]) -> int:
    asked = understand(words)
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
    from menon.settings import nearest, read

    if name not in RECIPES:
        raise UserError(f"there is no corpus '{name}'{nearest(str(name), RECIPES)}")
    recipe = read(RECIPES[name], settings)
    print(f"menon pretrain  {threads.plural(chosen.count, 'thread')} ({chosen.reason})", flush=True)
    make(recipe, Path(str(out)), lambda line: print(line, flush=True))
    task = " task=countdown" if name == "search" else ""
    print(f"the model is in {out}; train it with `menon train{task} model={out} learning_rate=5e-4`")
    return 0
