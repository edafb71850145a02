"""Running a pipeline: its stages in their order, from where an earlier start has come to."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.errors import UserError
from menon.pipeline.folder import PipelineView, table_of
from menon.pipeline.page import write_page
from menon.pipeline.stage import REPORT, Here, reads
from menon.record import disk
from menon.record.layout import PIPELINE, Layout
from menon.record.lock import Lock
from menon.settings import Tree, plain_data

if TYPE_CHECKING:
    from menon.assembly.run import Show
    from menon.pipeline.plan import Plan

FORMAT = 1
Tell = Callable[[str], None]


def start(recipe: str, changes: Sequence[Tree], show: "Show", tell: Tell = print) -> dict[str, Any]:
    """Starts a pipeline in a new folder and returns its report. Errors: those of its settings, before
    anything runs; those of its stages."""
    from menon.assembly.run import together, use
    from menon.settings import setting

    settings = together(changes)
    chosen = threads.choose(settings)
    use(chosen, str(setting(settings, "device", "auto")))
    from menon.pipeline.plan import planned

    plan = planned(recipe, changes)
    plan.settings.check()
    if (plan.out / PIPELINE).exists():
        raise UserError(
            f"{plan.out} holds a pipeline already; go on with it by `menon train --resume {plan.out}` or set "
            "out= to a new folder"
        )
    if plan.out.is_dir() and any(plan.out.iterdir()):
        raise UserError(f"{plan.out} is not empty; set out= to a new folder")
    check_inputs(plan)
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {plan.out} cannot be made ({disk.cause(error)}); set out= to another folder"
        ) from None
    return drive(plan, chosen.count, show, tell)


def resume(path: Path, changes: Tree, show: "Show", tell: Tell = print) -> dict[str, Any]:
    """Goes on with the pipeline in a folder, and returns its report. Only `skip` can be changed."""
    other = [name for name in changes if name != "skip"]
    if other:
        raise UserError(
            f"a resumed pipeline keeps its '{other[0]}'; only skip can change, or start a new one with out="
        )
    view = PipelineView.open(path)
    chosen = threads.Threads(view.threads, "as the pipeline began")
    from menon.assembly.run import use

    use(chosen, view.device)
    plan = view.plan(path, changes)
    check_inputs(plan)
    return drive(plan, chosen.count, show, tell)


def check_inputs(plan: "Plan") -> None:
    """UserError for a stage that reads what a skipped stage makes and has not made."""
    skipped = {name for name in plan.skipped if not (plan.folder(name) / REPORT).exists()}
    for name, stage in plan.stages.items():
        for setting, text in reads(stage).items():
            if name not in plan.skipped and (source := text.partition("/")[0]) in skipped:
                raise UserError(
                    f"stage {name} reads what {source} makes ({setting}), and {source} is skipped; name a "
                    f"file or folder in its place, like {name}.{short(setting)}=..., or leave {source} out "
                    "of skip"
                )


def short(setting: str) -> str:
    """The setting of a stage by the name to type."""
    return setting.removeprefix("settings.").removeprefix("models.policy.").removeprefix("rows.")


def drive(plan: "Plan", count: int, show: "Show", tell: Tell) -> dict[str, Any]:
    """Runs the stages that are not finished, and returns the report."""
    with closing(Lock(plan.out / "lock")):
        write_about(plan, count)
        for number, (name, stage) in enumerate(plan.stages.items(), 1):
            folder = plan.folder(name)
            title = f"stage {number} of {len(plan.stages)}, {name}"
            if (folder / REPORT).exists():
                tell(f"{title}: done")
                continue
            if name in plan.skipped:
                tell(f"{title}: skipped")
                continue
            ready = stage.resolved(lambda text, name=name: place_of(plan, name, text))  # type: ignore[misc]
            folder.mkdir(exist_ok=True)
            write_about(plan, count)
            tell(f"{title}: {stage.words()}")
            try:
                ready.run(Here(folder, plan.settings.seed, count, show, tell))
            except UserError as error:
                raise type(error)(f"stage {name}: {error}") from error
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"stopped in stage {name}; {go_on(plan)}") from None
            finally:
                write_about(plan, count)
            if not (folder / REPORT).exists():
                tell(f"stopped in stage {name}; {go_on(plan)}")
                return PipelineView.open(plan.out).report
        report = PipelineView.open(plan.out).report
        disk.write_json(plan.out / REPORT, report)
        write_page(PipelineView.open(plan.out))
    tell("\n".join(["", *table_of(report).aligned()]))
    tell(f"\nthe report of the pipeline is in {Layout(plan.out).page}")
    return report


def go_on(plan: "Plan") -> str:
    return f"go on with `menon train --resume {plan.out}`"


def place_of(plan: "Plan", reader: str, text: str) -> str:
    """The file or folder that `stage:TEXT` stands for. UserError: it is not there."""
    source, _, file = text.partition("/")
    path = plan.folder(source) / (file or plan.stages[source].makes)
    if not path.exists():
        raise UserError(
            f"stage {reader} reads {path} of stage {source}, and it is not there; remove the folder "
            f"{plan.folder(source)} and {go_on(plan)}, which makes it again"
        )
    return str(path)


def write_about(plan: "Plan", count: int) -> None:
    """Writes pipeline.json: the settings, and the stages with their state and what they have made."""
    stages = []
    for name, stage in plan.stages.items():
        folder, product = plan.folder(name), plan.folder(name) / stage.makes
        stages.append(
            {
                "name": name,
                "folder": folder.name,
                "does": stage.words(),
                "reads": reads(stage),
                "makes": str(product.relative_to(plan.out)) if stage.makes and product.exists() else None,
                "state": state_of(folder, name in plan.skipped),
                "settings": plain_data(stage),
            }
        )
    about = {"format": FORMAT, "recipe": plan.recipe, "threads": count}
    settings = plain_data(replace(plan.settings, threads=count))
    disk.write_json(plan.out / PIPELINE, {**about, "settings": settings, "stages": stages})


def state_of(folder: Path, skipped: bool) -> str:
    if (folder / REPORT).exists():
        return "finished"
    return "skipped" if skipped else "unfinished" if folder.exists() else "waiting"
