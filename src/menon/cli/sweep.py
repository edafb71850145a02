"""`menon sweep`: several recipes and settings, each with several seeds, and a table of what came out."""

import json
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menon import threads
from menon.errors import UserError, at_least
from menon.record import disk
from menon.record.layout import SWEEP, Layout

if TYPE_CHECKING:
    from menon.config import RunConfig
    from menon.engine_settings import Engine
    from menon.study.sweep import Arm, Cell, Outcome

NAME = re.compile(r"[A-Za-z0-9_-]+")
OWN = ("seeds", "jobs", "out")
"""Settings of the sweep itself, besides `arms.NAME`."""
ON_RESUME = ("steps", "seeds", "jobs")


@dataclass(frozen=True)
class Plan:
    """What a sweep runs."""

    arms: tuple["Arm", ...]
    shared: tuple[str, ...]
    """The words of `menon train` that every arm has, recipes aside."""
    recipe: tuple[str, ...]
    """The recipe of an arm that names none: the first one of the sweep; () is the default of `menon
    train`."""
    seeds: tuple[int, ...]


def sweep(words: Sequence[str]) -> int:
    """Trains several arms with several seeds, and compares them: `menon sweep grpo drgrpo seeds=0,1,2
    steps=30`. Every recipe is an arm. `arms.NAME='WORDS'` adds an arm: words of `menon train` that come on
    top of those that all arms share, like `arms.low='learning_rate=1e-4 updates_per_step=2'`; without a
    recipe among them, the first recipe's. Differences are from the first arm.

    All settings of `menon train` can be shared, in files or as key=value. The sweep's own are `seeds=0,1,2`
    (without it 0, 1, 2), `out=FOLDER` for all runs (sweeps/RECIPE-TIME), and `jobs=2`, how many runs are
    trained at a time (as many as cores are free; one if they use a GPU). Runs have one thread each, unless
    threads= says otherwise.

    Ctrl-C finishes the steps under way; `menon sweep --resume FOLDER` goes on. It may add seeds and arms, and
    set steps= higher. The folder gets the tables sweep.md, arms.csv and runs.csv, the page report.html, and
    each run in ARM-SEED.
    """
    folder, own, rest = sorted_words(words)
    resumed = folder is not None
    plan = resumed_plan(folder, own, rest) if folder is not None else new_plan(own, rest)
    folder = folder or Path(own.get("out") or default_out(plan))
    if not resumed and (folder / SWEEP).exists():
        raise UserError(
            f"{folder} holds a sweep already; go on with it by `menon sweep --resume {folder}`, or set out= "
            "to a new folder"
        )
    configs = checked(plan)
    engines = [config.engine for config in configs.values()]
    jobs = jobs_of(own.get("jobs"), engines, len(plan.arms) * len(plan.seeds))
    folder.mkdir(parents=True, exist_ok=True)
    write_plan(folder, plan)
    steps = {name: config.control.steps for name, config in configs.items()}
    outcomes = trained(folder, plan, steps, jobs)
    return concluded(folder, outcomes)


# Words


def sorted_words(words: Sequence[str]) -> tuple[Path | None, dict[str, str], list[str]]:
    """The folder to resume, the sweep's own settings, and the words of `menon train`."""
    folder: Path | None = None
    own: dict[str, str] = {}
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if name == "--resume":
            given = value if equals else next(waiting, "")
            if not given:
                raise UserError("--resume needs the folder of a sweep, like --resume sweeps/mine")
            folder = Path(given)
        elif word.startswith("-"):
            raise UserError(
                f"there is no option {name}; settings are written without dashes, like seeds=0,1,2"
            )
        elif name in ("seed", "control.seed", "control.out"):
            use = "out=" if name == "control.out" else "seeds="
            raise UserError(f"a sweep has several runs; write {use} in place of {name}=")
        elif equals and (name in OWN or name.startswith("arms.")):
            own[name] = value
        else:
            rest.append(word)
    return folder, own, rest


def new_plan(own: dict[str, str], rest: Sequence[str]) -> Plan:
    """The plan of a new sweep."""
    from menon.study.sweep import Arm

    recipes = [word for word in rest if names_recipe(word)]
    shared = tuple(word for word in rest if not names_recipe(word))
    recipe = tuple(recipes[:1])
    arms = [Arm(arm_name(word), (word, *shared)) for word in recipes]
    arms += added_arms(own, recipe, shared)
    arms = arms or [Arm("grpo", ("grpo", *shared))]
    names = [arm.name for arm in arms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"two arms are named '{twice}'; give one of them a name of its own by arms.NAME")
    return Plan(tuple(arms), shared, recipe, seeds_of(own.get("seeds", "0,1,2")))


def resumed_plan(folder: Path, own: dict[str, str], rest: Sequence[str]) -> Plan:
    """The plan of a sweep that goes on, with what the words add to it."""
    from menon.assembly.trust import WORD, check_allowed
    from menon.cli.command import asked_by
    from menon.study.sweep import Arm

    stored = disk.read_json(folder / SWEEP)
    if not isinstance(stored, dict):
        raise UserError(f"{folder} holds no sweep (it has no {SWEEP}); name the folder of a `menon sweep`")
    allowed = next((word.partition("=")[2] for word in rest if word.startswith(f"{WORD}=")), None)
    rest = [word for word in rest if not word.startswith(f"{WORD}=")]
    steps = tuple(word for word in rest if word.startswith(("steps=", "control.steps=")))
    odd = next((word for word in rest if word not in steps), "out" if "out" in own else None)
    if odd:
        raise UserError(
            f"a resumed sweep keeps its settings, and takes only {', '.join(ON_RESUME)} and new arms.NAME; "
            f"leave {odd} out, or start a new sweep"
        )
    shared, recipe = (*stored["shared"], *steps), tuple(stored["recipe"])
    arms = [Arm(name, (*words, *steps)) for name, words in stored["arms"].items()]
    for arm in arms:
        check_allowed(asked_by(arm.words).settings, folder / SWEEP, allowed)
    added = added_arms(own, recipe, shared)
    known = {arm.name for arm in arms} & {arm.name for arm in added}
    if known:
        raise UserError(f"the sweep has an arm '{min(known)}' already; give the new one another name")
    seeds = (*stored["seeds"], *(seeds_of(own["seeds"]) if "seeds" in own else ()))
    return Plan((*arms, *added), shared, recipe, tuple(dict.fromkeys(seeds)))


def added_arms(own: dict[str, str], recipe: Sequence[str], shared: Sequence[str]) -> list["Arm"]:
    """The arms of `arms.NAME=WORDS`."""
    from menon.study.sweep import Arm

    found = []
    for key, value in own.items():
        if key in OWN:
            continue
        name = key.removeprefix("arms.")
        if not NAME.fullmatch(name):
            raise UserError(f"'{name}' is no name of an arm; use letters, digits, - and _")
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise UserError(f"{key} is not a list of words ({error}); close the quotes") from None
        if sorted_words(words)[1] or value.lstrip().startswith("{"):
            raise UserError(
                f"{key} takes a recipe, files and settings of `menon train`, like {key}='learning_rate=1e-4'"
            )
        named = [word for word in words if names_recipe(word)]
        others = [word for word in words if not names_recipe(word)]
        found.append(Arm(name, (*(named or recipe), *shared, *others)))
    return found


def names_recipe(word: str) -> bool:
    """Whether a word stands for a recipe: a plain word, or the run.json of an earlier run."""
    is_setting = "=" in word and not Path(word).exists()
    return not is_setting and not word.startswith("-") and not word.endswith((".yaml", ".yml", ".toml"))


def arm_name(recipe: str) -> str:
    """The name of an arm that is a recipe, or of one that repeats an earlier run."""
    name = Path(recipe).resolve().parent.name if recipe.endswith(".json") else recipe
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds from text: numbers with commas, in brackets or not.

    >>> seeds_of("0,1,2"), seeds_of("[3, 5]")
    ((0, 1, 2), (3, 5))
    """
    parts = [part.strip() for part in text.strip("[]() ").split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"seeds is '{text}'; write whole numbers with commas, like seeds=0,1,2")
    seeds = tuple(map(int, parts))
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds is '{text}', with a seed twice; two runs of it would be the same")
    return seeds


def default_out(plan: Plan) -> str:
    return f"sweeps/{'-'.join(arm.name for arm in plan.arms[:3])}-{time.strftime('%Y%m%d-%H%M%S')}"


# Running


def checked(plan: Plan) -> dict[str, "RunConfig"]:
    """The configuration of each arm by its name. UserError for settings that cannot be read, before anything
    runs."""
    from menon.assembly.run import configured, use
    from menon.cli.command import asked_by

    use(threads.choose({"threads": 1}), "auto")
    found: dict[str, RunConfig] = {}
    for arm in plan.arms:
        try:
            asked = asked_by(arm.words)
            given = (*asked.changes, {"out": "the sweep's"})  # the default holds the time, so it may differ
            found[arm.name] = configured(asked.recipe, given, 1, asked.again)
        except UserError as error:
            raise UserError(f"arm {arm.name}: {error}{values_apart(arm.words, str(error))}") from None
    for name, config in found.items():
        same = [other for other in found if other != name and found[other] == config]
        if same:
            raise UserError(f"the arms {name} and {same[0]} are the same; change a setting of one of them")
    return found


def values_apart(words: Sequence[str], said: str) -> str:
    """The end of a sentence about a setting with several values, like learning_rate=1e-4,1e-3: how each is an
    arm."""
    for word in words:
        name, equals, value = word.partition("=")
        values = [part.strip() for part in value.split(",")]
        if equals and len(values) > 1 and all(values) and value[0] not in "[{'\"" and f"'{value}'" in said:
            last = name.rpartition(".")[2]
            arms = [f"arms.{last}-{number}='{name}={one}'" for number, one in enumerate(values, start=1)]
            return f"; every value is an arm of a sweep: {' '.join(arms)}"
    return ""


def jobs_of(asked: str | None, engines: Sequence["Engine"], runs: int) -> int:
    """How many runs are trained at a time."""
    if asked is not None:
        if not asked.isdecimal():
            raise UserError(f"jobs is '{asked}'; give a whole number of at least 1")
        at_least(1, "jobs", int(asked))
        return min(int(asked), runs)
    from torch import cuda

    on_gpu = ("cuda", "auto") if cuda.is_available() else ("cuda",)
    if any(engine.device.startswith(on_gpu) for engine in engines):
        return 1
    each = max(engine.threads or 1 for engine in engines)
    free = threads.cores_here() - threads.busy_cores() + threads.SPARE_SMALL
    return max(1, min(int(free) // each, runs))


def write_plan(folder: Path, plan: Plan) -> None:
    """Stores the plan, so that the sweep can go on."""
    stored: dict[str, Any] = {
        "arms": {arm.name: list(arm.words) for arm in plan.arms},
        "shared": list(plan.shared),
        "recipe": list(plan.recipe),
        "seeds": list(plan.seeds),
    }
    disk.write(folder / SWEEP, (json.dumps(stored, indent=2) + "\n").encode())


def trained(folder: Path, plan: Plan, steps: dict[str, int], jobs: int) -> "dict[Cell, Outcome]":
    """Trains every run, with the steps of its arm; the tables are written again after each."""
    from menon.study.comparison import groups_in, write_tables
    from menon.study.sweep import cells_of
    from menon.study.sweep import sweep as swept

    if len(plan.seeds) == 1 and plan.seeds[0] > 1:
        one, several = plan.seeds[0], ",".join(map(str, range(plan.seeds[0])))
        if one > 8:
            several = "0,1,2,..."
        print(f"menon: seeds={one} is one seed, the number {one}; {one} seeds are seeds={several}")
    cells = cells_of(plan.arms, plan.seeds, folder)
    print(
        f"menon sweep  {folder}\n"
        f"  arms       {', '.join(arm.name for arm in plan.arms)}\n"
        f"  seeds      {', '.join(map(str, plan.seeds))}\n"
        f"  runs       {len(cells)}, {jobs} at a time\n",
        flush=True,
    )

    def after(cell: "Cell") -> None:
        if groups := groups_in(folder):
            write_tables(folder, groups)

    return swept(cells, lambda cell: steps[cell.arm.name], jobs, after)


def concluded(folder: Path, outcomes: "dict[Cell, Outcome]") -> int:
    """Writes tables and page, and prints the table. UserError where a run failed."""
    from menon.study.comparison import INTERVALS, arms_table, groups_in, notes, write_page, write_tables

    again = f"`menon sweep --resume {folder}`"
    if groups := groups_in(folder):
        write_tables(folder, groups)
        write_page(Layout(folder).page, folder.resolve().name, groups)
        print("\n" + "\n".join(arms_table(groups).aligned()))
        print(f"\n{INTERVALS}")
        for note in notes(groups):
            print(f"menon: {note}")
        print(f"\n  tables     {folder / 'sweep.md'}, arms.csv, runs.csv\n  page       {Layout(folder).page}")
    failed = [cell for cell, outcome in outcomes.items() if outcome == "failed"]
    if failed:
        lost = sum(outcome in ("failed", "skipped") for outcome in outcomes.values())
        raise UserError(
            f"{lost} of {len(outcomes)} runs failed, first {failed[0].path.name}: "
            f"{failed[0].last_words().removeprefix('menon: ')} (then go on with {again})"
        )
    if "stopped" in outcomes.values():
        print(f"\nstopped; go on with {again}")
    return 0
