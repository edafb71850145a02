"""What a pipeline consists of: stages in their order, each of which may read what earlier ones made.

A setting of the form `stage:NAME` stands for what the stage NAME makes: the newest checkpoint of a run, the
rows of a stage that writes. `stage:NAME/PATH` is any other file in its folder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from menon.settings import Tree, leaves, merged, nested, plain_data, read
from menon.short_names import spelt_out

if TYPE_CHECKING:
    from menon.assembly.run import Show

PREFIX = "stage:"
REPORT = "report.json"
"""The file that a stage writes last: a stage whose folder has it is finished."""


def made_by(stage: str, file: str = "") -> str:
    """The text that stands in a setting for what a stage makes, or for another file in its folder.

    >>> made_by("write"), made_by("reason", "checkpoints/best")
    ('stage:write', 'stage:reason/checkpoints/best')
    """
    return f"{PREFIX}{stage}/{file}" if file else f"{PREFIX}{stage}"


@dataclass(frozen=True)
class Here:
    """What a stage is given when it runs."""

    folder: Path
    """Its own folder; it is there already."""
    seed: int
    threads: int
    show: "Show"
    """Shows the progress of a run."""
    tell: Callable[[str], None]
    """Shows a sentence."""


@dataclass(frozen=True)
class Stage:
    """One stage of a pipeline. Its fields are its settings, and any text among them may be `stage:NAME`.

    A subclass has `makes`, `run` and `words`. A stage that has more than one setting of a kind names in
    `owners` where names without dots are looked up, as `config.OWNERS` does for a run.
    """

    makes: ClassVar[str] = ""
    """The file or folder, within the stage's folder, that `stage:NAME` stands for."""
    shares: ClassVar[tuple[str, ...]] = ()
    """The tables of a run's settings that it has too, like source: settings that are given to the whole
    pipeline change them."""
    owners: ClassVar[tuple[tuple[str, ...], ...]] = ()

    def run(self, here: Here) -> None:
        """Does the work, writes what it makes into the folder, and last its report (`REPORT`): a table of
        numbers, and `summary`, a sentence. Called again after a kill, it goes on or begins anew, with the
        same result. A stage that was asked to stop returns without a report."""
        raise NotImplementedError

    def words(self) -> str:
        """What the stage does, in one line."""
        raise NotImplementedError

    def planned(self, shared: Sequence[Tree], own: Sequence[Tree], base: str, seed: int) -> "Stage":
        """With the settings of the user: those of the whole pipeline, with full names, then the stage's own.
        `base` and `seed` are the pipeline's. UserError for what cannot be."""
        return self.changed(*map(self.part_of, shared), *own)

    def part_of(self, shared: Tree) -> Tree:
        """Those of the settings of the whole pipeline that this stage has."""
        return {name: value for name, value in shared.items() if name in self.shares}

    def changed(self, *changes: Tree) -> Self:
        tree = plain_data(self)
        for change in changes:
            tree = merged(tree, spelt_out(nested(change), tree, type(self), self.owners))
        return read(type(self), tree)

    def resolved(self, place_of: Callable[[str], str]) -> Self:
        """With `place_of(TEXT)` in the place of every setting `stage:TEXT`."""
        return read(type(self), replaced(plain_data(self), place_of))


@dataclass(frozen=True)
class Pipeline:
    """The settings of a recipe of stages; a subclass has its own beside these, and `stages`."""

    model: str = "base"
    """The model that the stages begin with: a folder, a name on the hub, base or search_base."""
    seed: int = 0
    """Seed of every stage."""
    out: str = ""
    """The folder of the pipeline. Each stage has a folder in it."""
    threads: int | None = None
    """Threads; null: as many as are free."""
    skip: tuple[str, ...] = ()
    """Stages that are not run, like skip=cold_start,distill."""

    def stages(self) -> Mapping[str, Stage]:
        """The stages by name, in the order in which they run."""
        raise NotImplementedError

    def check(self) -> None:
        """UserError for a setting that has no default and is not given."""


def replaced(value: Any, place_of: Callable[[str], str]) -> Any:
    """A tree with `place_of(TEXT)` in place of each text `stage:TEXT`."""
    if isinstance(value, Mapping):
        return {key: replaced(item, place_of) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, place_of) for item in value]
    return place_of(value.removeprefix(PREFIX)) if is_made(value) else value


def is_made(value: Any) -> bool:
    """Whether a setting stands for what a stage makes."""
    return isinstance(value, str) and value.startswith(PREFIX)


def reads(stage: Stage) -> dict[str, str]:
    """The settings of a stage that stand for what earlier stages make: full name -> the text after
    `stage:`."""
    return {name: value.removeprefix(PREFIX) for name, value in leaves(plain_data(stage)) if is_made(value)}
