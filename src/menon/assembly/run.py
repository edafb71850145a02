"""Starting, resuming and driving a run: what the command and `menon.train` call.

Threads are chosen and set before anything imports torch, so heavy modules are imported inside the functions.
"""

import difflib
import os
import resource
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.assembly.trust import WORD, changed_code, check_allowed, remember_given, without_word
from menon.base import BASES, default_model
from menon.errors import UserError
from menon.other_names import answer_for
from menon.record.layout import Layout
from menon.record.reader import RunView, damaged, read_about
from menon.settings import Tree, leaves, merged, nested, setting, value_text
from menon.threads import Threads
from menon.user_code import source_hash

if TYPE_CHECKING:
    from menon.config import RunConfig
    from menon.loop import Run, Watcher
    from menon.record.folder import RunFolder
    from menon.record.trackers import Tracker

LATER = (
    *("steps", "minutes", "save_every", "save_dtype", "evaluate_every", "stop_without_signal", "tracker"),
    *("wandb_project", "ranks"),
)
"""Settings that a resumed run may change, because they do not affect the steps that are done. Another number
of ranks changes later ones by rounding."""
LEAST_SPACE = 1 << 30
"""Bytes of address space that the libraries map before a model is read."""
Show = Callable[[Mapping[str, str]], "AbstractContextManager[Watcher]"]
"""The header of a run, line by line -> the watcher that reports its progress."""


def start(
    recipe: str | None, changes: Sequence[Tree], show: Show, again: Tree | None = None
) -> dict[str, Any]:
    """Starts a new run and returns its report. `again`, in place of a recipe, are the settings of an earlier
    run that is repeated."""
    settings = together(changes, again)
    chosen = threads.choose(settings)
    use(chosen, str(setting(settings, "device", "auto")))
    from menon.record.folder import RunFolder
    from menon.settings import plain_data

    config = configured(recipe, changes, chosen.count, again)
    out = Path(config.control.out)
    check_free(out)
    remember_given(together(changes), plain_data(config) if again is None else {})
    config = config.with_own_code()
    return drive(config, out, chosen, lambda run: RunFolder.create(out, run.settings, run.origin), show)


def readable(view: RunView) -> bool:
    try:
        return bool(view.about)
    except UserError:
        return False


def check_free(out: Path) -> None:
    """UserError if a run in the folder has done a step, or is running."""
    if not Layout(out).about.exists():
        return
    view = RunView(out)
    if readable(view) and view.state == "running":
        raise UserError(f"{out} holds a run that is running now; set out= to a new folder")
    if not readable(view) or view.metrics or view.checkpoints:
        raise UserError(
            f"{out} holds a run already; go on with it by `menon train --resume {out}` or set out= "
            "to a new folder"
        )


def resume(path: Path, changes: Mapping[str, Any], show: Show) -> dict[str, Any]:
    """Resumes a run and returns its report. Only the settings in `LATER` can change."""
    changes, word = without_word(changes)
    refuse_fixed(path, changes)
    view = RunView.open(path)
    view.check_resumable()
    settings = settings_in(view.layout.about)
    check_place(view)
    odd = changed_code(view.settings)
    if odd and view.checkpoints:
        raise UserError(learned_from(view, odd[0], bool(source_hash(odd[0]))))
    chosen = Threads(int(setting(settings, "threads")), "as the run began")
    use(chosen, str(setting(settings, "device", "auto")))
    from menon.config import RunConfig, changed
    from menon.old_formats import settings_as_begun
    from menon.record.folder import RunFolder
    from menon.settings import read

    with RunFolder.open(path) as folder:
        if not view.checkpoints:
            folder.check_checkpoints()
        check_allowed(settings, view.layout.about, word)
        config = changed(read(RunConfig, settings_as_begun(folder.settings)), changes)
        check_steps(view, config.control.steps)
        config = config.with_own_code()
        return drive(config, path, chosen, lambda run: folder.go_on(run.settings, odd), show)


def refuse_fixed(path: Path, changes: Mapping[str, Any]) -> None:
    """UserError for a setting that a resumed run keeps, with the command that trains its policy with
    another."""
    from menon.record.folder import restart_command

    given = dict(leaves(changes))
    fixed = {place: value for place, value in given.items() if place.rpartition(".")[2] not in LATER}
    if not fixed:
        return
    name = next(iter(fixed))
    if "." not in name and (answer := answer_for(name)):
        raise UserError(answer)
    if near := difflib.get_close_matches(name, LATER, 1, 0.75):
        raise UserError(f"unknown setting '{name}'; did you mean '{near[0]}'?")
    view = RunView(path)
    instead = "start a new run"
    if view.checkpoints:
        others = " ".join(f"{place}={as_typed(value)}" for place, value in fixed.items())
        instead = (
            f"train the policy of step {max(view.checkpoints)} with another as a new run: "
            f"`{restart_command(view)} {others}`"
        )
    raise UserError(f"a resumed run keeps its '{name}'; only {', '.join(LATER)} can change, or {instead}")


def as_typed(value: Any) -> str:
    """A value as it is typed on a command line."""
    return shlex.quote(value if isinstance(value, str) else value_text(value))


def check_place(view: RunView) -> None:
    """UserError if a file of the run's is named from another folder: the one that the run began in."""
    began = view.about.get("began_in")
    modules = [name.rpartition(":")[0] for name in view.settings.get("own_code") or ()]
    named = [name if name.endswith(".py") else f"{name.replace('.', '/')}.py" for name in modules]
    named += [str(setting(view.settings, name) or "") for name in ("data", "heldout_data", "model")]
    for name in named:
        file = Path(name.partition("@")[0])
        if name in BASES or file.is_absolute() or file.exists():
            continue
        if began is not None and (Path(began) / file).exists():
            raise UserError(f"{name} is not here; the run began in {began}, so resume it there")
        if began is None and name in modules:
            raise UserError(f"{name} is not in this folder; resume the run from the folder that it began in")


def check_steps(view: RunView, steps: int) -> None:
    """UserError if a run has done more steps than it is to do."""
    done = max(view.checkpoints, default=0)
    if done > steps:
        raise UserError(f"{view.path} has done {done} steps already; set steps= to {done} or more")


def learned_from(view: RunView, name: str, there: bool) -> str:
    """Why a run cannot go on with changed code, and what to do."""
    from menon.record.folder import restart_command

    done = max(view.checkpoints)
    what = "has changed" if there else "is not found"
    return (
        f"{name} {what}, and {done} step{'s' if done > 1 else ''} of {view.path} learned from the old code; "
        f"put the old code back to go on, or train the policy of step {done} with the new code as a new run: "
        f"`{restart_command(view)}`"
    )


def together(changes: Sequence[Tree], again: Tree | None = None) -> Tree:
    """All changes as one tree, for the settings that are read before anything heavy is imported."""
    tree: Tree = dict(again or {})
    for change in changes:
        tree = merged(tree, nested(change))
    return tree


def configured(
    recipe: str | None, changes: Sequence[Tree], count: int, again: Tree | None = None
) -> "RunConfig":
    """The whole configuration of a new run with `count` threads."""
    from menon.config import RunConfig, changed
    from menon.old_formats import settings_as_begun
    from menon.recipes import recipe as named
    from menon.settings import read

    word = together(changes).get(WORD)
    changes = [without_word(change)[0] for change in changes]
    if again is not None:
        again, _ = without_word(again)
        check_allowed(again, "the run.json", word)
    settings = together(changes, again)
    names_given = [recipe, *(setting(tree, "recipe") for tree in (again or {}, *changes))]
    names = list(dict.fromkeys(str(one) for one in names_given if one is not None))
    if len(names) > 1:
        raise UserError(
            f"the recipe is {names[0]}, and recipe={names[1]} names another; leave one of them out"
        )
    name = names[0] if names else "grpo"
    scale = str(setting(settings, "scale") or "laptop")
    if again is not None and setting(again, "scale", "laptop") != scale:
        raise UserError(
            "scale chooses the numbers of a recipe, and a run.json has its own; leave scale out, or "
            "name a recipe"
        )
    given = setting(settings, "model") or default_model(settings)
    model = {} if isinstance(given, Mapping) else {"model": str(given)}  # a table is refused with the others
    base = named(name, str(given), scale) if again is None else read(RunConfig, settings_as_begun(again))
    out = Path(str(setting(settings, "out") or f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    last = {"recipe": name, "scale": base.scale, "threads": count, "out": str(out), **model}
    if setting(settings, "dtype") == "auto":
        last["dtype"] = dtype_for(str(setting(settings, "device", "auto")))
    return changed(base, *changes, last)


def dtype_for(device: str) -> str:
    """What dtype=auto means there: bfloat16 where the hardware multiplies in it, else float32."""
    from menon.assembly.models import device_of
    from menon.engines.machine import has_bf16

    return "bfloat16" if has_bf16(device_of(device)) else "float32"


def settings_in(file: Path) -> Tree:
    """The settings in a run's run.json of any format, read before torch is imported."""
    settings: Tree = read_about(file)["settings"]
    if not isinstance(setting(settings, "threads"), int):
        raise damaged(file)
    return settings


def drive(
    config: "RunConfig", out: Path, chosen: Threads, open_folder: Callable[["Run"], "RunFolder"], show: Show
) -> dict[str, Any]:
    """Builds the run, opens its folder `out`, and runs the loop; notices about the data are shown above its
    progress."""
    began = time.perf_counter()
    from menon.assembly.adapter_advice import advice_on_rate
    from menon.assembly.build import build
    from menon.assembly.given import build_given
    from menon.assembly.models import device_of
    from menon.assembly.room import check_folder
    from menon.engines.machine import emulated
    from menon.loop import loop
    from menon.record.budget import Budget
    from menon.record.trackers import check
    from menon.study.report import at_the_end

    if config.control.tracker is not None:
        check(config.control.tracker)
    notes = list(advice_on_rate(config.models.policy, config.recipe, config.scale))
    if said := emulated(config.engine.dtype, device_of(config.engine.device)):
        notes.append(said)
    check_folder(config.models, config.control, out)
    building = build if config.rows is None else build_given
    minutes = config.control.minutes
    budget = Budget(None if minutes is None else 60 * minutes, began)
    with building(config, notes.append) as run, open_folder(run) as folder:
        machine = f"{run.header['machine']}, {threads.plural(chosen.count, 'thread')} ({chosen.reason})"
        with (
            show({**run.header, "machine": machine, **in_words(minutes, run.steps)}) as watch,
            tracked(watch, config.control.tracker, folder.settings) as seen,
        ):
            for note in notes:
                watch.notify(note)
            present = partial(at_the_end, notify=watch.notify)
            return loop(replace(run, present=present, budget=budget), folder, seen)


def in_words(minutes: float | None, steps: int) -> dict[str, str]:
    """The line of the header about a budget of time.

    >>> in_words(5, 30)
    {'budget': 'at most 5 minutes and 30 steps; the evaluation after the last step counts'}
    """
    if minutes is None:
        return {}
    return {
        "budget": f"at most {minutes:g} minute{'s' * (minutes != 1)} and {steps:,} steps; the evaluation "
        "after the last step counts"
    }


@contextmanager
def tracked(watch: "Watcher", tracker: "Tracker | None", settings: Mapping[str, Any]) -> Iterator["Watcher"]:
    """The watcher, which also sends the numbers to the trackers that the run names."""
    from menon.assembly.tracking import Mirrored
    from menon.record.trackers import Tracked, trackers_of

    mirrors = [Tracked(name, watch.notify) for name in (trackers_of(tracker) if tracker else ())]
    for mirror in mirrors:
        watch = Mirrored(watch, mirror, settings)
    try:
        yield watch
    finally:
        for mirror in mirrors:
            mirror.close()


def use(chosen: Threads, device: str) -> None:
    """Sets the number of threads, also in torch if it is loaded already (in a notebook). UserError: the
    system does not let this process map what the libraries need; they would abort without a word."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_SPACE:
        raise UserError(
            f"the address space of this process is limited to {limit >> 20:,} MiB (ulimit -v), and the "
            f"libraries alone need {LEAST_SPACE >> 20:,}; raise it by `ulimit -v unlimited`"
        )
    threads.prepare(chosen, device, os.environ)
    import torch

    torch.set_num_threads(chosen.count)
