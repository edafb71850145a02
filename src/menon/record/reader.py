"""Reads run folders, for commands, reports, studies and scripts: of runs that have finished, were stopped or
are running."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from menon.errors import UserError
from menon.record import disk
from menon.record.heartbeat import Heartbeat, read_heartbeat
from menon.record.layout import PIPELINE, Layout, runs_in, step_file, steps_in
from menon.record.lock import held

if TYPE_CHECKING:
    from menon.batch import Batch
    from menon.types import UpdateRecord

Line = dict[str, Any]
"""One line of a JSON-lines file, or one entry of a JSON list."""
FORMAT = 2
"""The number under `format` in `run.json`. Folders of format 1 have no such number; they keep their sessions
in `sittings.json`, and have neither events nor the text of each token."""
State = Literal["running", "stopped", "finished"]


class NoRun(UserError):
    """The folder has no run.json."""


class DamagedRun(UserError):
    """The run.json cannot be read, or lacks what every run.json has."""


class NewerFormat(UserError):
    """A newer menon wrote the folder."""


@dataclass(frozen=True)
class StepFiles:
    """The Parquet files of a folder, one per step: transcripts of training, or answers of evaluations."""

    folder: Path
    holds: str
    """What the files are called in messages, like "transcripts"."""

    @property
    def steps(self) -> list[int]:
        """Steps that have a file, in order."""
        return steps_in(self.folder, ".parquet")

    def path(self, step: int) -> Path:
        """The file of a step. UserError if there is none, with the steps that there are."""
        file = step_file(self.folder, step)
        if not file.exists():
            known = self.steps
            there = ranges(known) or f"no {self.holds} at all"
            raise UserError(f"{self.folder.parent} has no {self.holds} of step {step}; it has {there}")
        return file

    def require(self) -> list[int]:
        """`steps`. UserError if there are none."""
        if not (steps := self.steps):
            raise UserError(
                f"{self.folder.parent} holds no {self.holds} (no {self.folder.name}/step_*.parquet); name a "
                "whole run folder"
            )
        return steps

    def columns(self, step: int) -> list[str]:
        """Names of the columns of a step's file."""
        import pyarrow.parquet as pq

        return list(pq.read_schema(self.path(step)).names)

    def rows(self, step: int, columns: Sequence[str] | None = None, group: int | None = None) -> list[Line]:
        """One dictionary per answer of the step, or of one of its groups, with the named columns, or with all
        (docs/run_folder.md lists them)."""
        from menon.record.transcripts import read_transcript

        return read_transcript(self.path(step), columns, group)

    def batch(self, step: int) -> "Batch":
        """The tokens of a step as the flat batch, without texts."""
        from menon.record.stored_batch import read_batch

        return read_batch(self.path(step))


@dataclass(frozen=True)
class RunView:
    """The contents of a run folder. `RunView(path)` reads nothing; each part is read on first use and then
    kept, so a view shows a running run as it was at that time, and a new view shows its present state.

    Only `about`, `format` and `settings` need a run.json; `RunView.open` reads it at once.
    """

    path: Path

    @staticmethod
    def open(path: Path | str) -> "RunView":
        """The view of a folder that holds a run. Errors: NoRun, DamagedRun, NewerFormat."""
        view = RunView(Path(path))
        _ = view.about
        return view

    @property
    def layout(self) -> Layout:
        """The paths of the files."""
        return Layout(self.path)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """run.json as it was written: format, settings, seed, determinism, versions, machine, created."""
        return read_about(self.layout.about)

    @property
    def format(self) -> int:
        return int(self.about.get("format", 1))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved configuration as it was written; `menon.settings.setting` finds a name in those of
        every format."""
        return dict(self.about["settings"])

    @property
    def imported(self) -> Mapping[str, Any]:
        """Of a run that `menon import` wrote: `kinds`, `folder`, `missing`, `settings` and `faults`; {} of a
        run of menon."""
        found = self.about.get("imported")
        return found if isinstance(found, dict) else {}

    @cached_property
    def metrics(self) -> list[Line]:
        """One line per finished step; [] before the first."""
        return disk.read_lines(self.layout.metrics)

    def finished_steps(self) -> list[Line]:
        """`metrics` of a run that has finished a step. UserError if it has not."""
        if not self.metrics:
            raise UserError(
                f"{self.path} has not finished a step yet, so there is nothing to report; wait for one"
            )
        return self.metrics

    @property
    def steps(self) -> int:
        """Steps done."""
        return int(self.metrics[-1]["step"]) if self.metrics else 0

    @cached_property
    def evaluations(self) -> list[Line]:
        """One line per evaluation of the held-out questions; `step` 0 is the one before the first step."""
        return disk.read_lines(self.layout.evaluations)

    def evaluation(self, step: int) -> Line | None:
        """The numbers of the evaluation after a step (0: before the first), if it was done."""
        lines = (line for line in self.evaluations if line["step"] == step)
        return next(({name: value for name, value in line.items() if name != "step"} for line in lines), None)

    @property
    def accuracy_known(self) -> bool:
        """Whether every evaluation so far knows which answers are right; True before the first."""
        return all(line.get("accuracy") is not None for line in self.evaluations)

    @property
    def measure(self) -> Literal["accuracy", "reward"]:
        """The number that a run is judged by: accuracy, or the reward where it is not known."""
        return "accuracy" if self.accuracy_known else "reward"

    def best(self, among: Collection[int] | None = None) -> int | None:
        """The step (of those `among`) whose evaluation was the most accurate, or earned the most where
        accuracy is not known; on given text alone the one that puts the most pairs right, or has the lowest
        loss or divergence from the teacher. The first of equal ones, never the start. None if no trained
        policy was evaluated."""
        scored = {
            line["step"]: worth
            for line in self.evaluations
            if line["step"] > 0 and (worth := worth_of(line, self.measure)) is not None
        }
        steps = [step for step in scored if among is None or step in among]
        return max(steps, key=lambda step: (scored[step], -step), default=None)

    @cached_property
    def sessions(self) -> list[Line]:
        """first_step, last_step and wall_s of each session: one process's stretch of the run."""
        for file in (self.layout.sessions, self.layout.sittings):
            if isinstance(found := disk.read_json(file), list):
                return found
        return []

    @cached_property
    def all_events(self) -> list[Line]:
        """Every event, including those that a resume has undone."""
        return disk.read_lines(self.layout.events)

    @property
    def warnings(self) -> list[str]:
        """What the run was warned of, in order; each sentence once."""
        return list(dict.fromkeys(event["sentence"] for event in self.events if event["kind"] == "warned"))

    @property
    def signs(self) -> list[str]:
        """The kinds of what the run was warned of, in order; each once."""
        return list(dict.fromkeys(event["sign"] for event in self.events if event["kind"] == "warned"))

    @property
    def notes(self) -> list[Line]:
        """What people noted of the run in the workbench: `time` and `text`, in order."""
        return disk.read_lines(self.layout.notes)

    @property
    def events(self) -> list[Line]:
        """The events of the run that were not undone, in order (`record.events.KINDS`); [] in format 1."""
        return [event for event in self.all_events if not event.get("undone")]

    @property
    def ended(self) -> Line:
        """The event that ended the last session, with `why` and perhaps `error`; {} if it has not ended."""
        sessions = [event for event in self.all_events if event["kind"].startswith("session_")]
        return sessions[-1] if sessions and sessions[-1]["kind"] == "session_ended" else {}

    @property
    def wall_s(self) -> float:
        """Seconds of all sessions."""
        return sum(float(session["wall_s"]) for session in self.sessions)

    @cached_property
    def report(self) -> Mapping[str, Any] | None:
        """The report of a finished run."""
        found = disk.read_json(self.layout.report)
        return found if isinstance(found, dict) else None

    @property
    def state(self) -> State:
        """finished: it has a report. running: a process holds its lock. stopped: neither."""
        if self.layout.report.exists():
            return "finished"
        return "running" if held(self.layout.lock) else "stopped"

    @property
    def heartbeat(self) -> Heartbeat | None:
        """What each worker process has to do; of a run that died what it last had to do. None: the run has
        none, or has ended in order."""
        return None if self.state == "finished" else read_heartbeat(self.layout.workers)

    @property
    def transcripts(self) -> StepFiles:
        """Every answer of each training step."""
        return StepFiles(self.layout.transcripts, "transcripts")

    @property
    def answers(self) -> StepFiles:
        """Every answer of each evaluation, by the step that it followed."""
        return StepFiles(self.layout.answers, "answers of evaluations")

    @property
    def updates(self) -> StepFiles:
        """What the updates of each training step did to its tokens; without files if the run did not record
        it."""
        return StepFiles(self.layout.updates, "updates")

    def update_records(self, step: int) -> "list[UpdateRecord]":
        """`updates` of a step as arrays. UserError where they were not recorded."""
        from menon.record.updates import read_updates

        return read_updates(self.updates.path(step))

    @property
    def checkpoints(self) -> list[int]:
        """Steps with a checkpoint, in order; `layout.checkpoint(step)` is its folder."""
        return steps_in(self.layout.checkpoints)

    def check_resumable(self) -> None:
        """UserError for a folder of an earlier format: this version reads it and does not write to it."""
        if self.format != FORMAT:
            raise UserError(
                f"{self.path} was written by an earlier menon (run folder format {self.format}), and this "
                f"one cannot resume it; repeat it with `menon train {self.layout.about} out=NEW`, or train "
                f"its model further with model={self.layout.latest}"
            )


def worth_of(line: Line, measure: str) -> float | None:
    """How good an evaluation was; larger is better."""
    if line.get(measure) is not None or "reward" in line:
        return line.get(measure)
    loss = line.get("nll", line.get("distill/divergence"))
    return line.get("pairs/accuracy", line.get("kto/accuracy", None if loss is None else -loss))


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in rising order as words, neighbours together.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0 to 2, 5, 7 to 8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if not runs or number != runs[-1][-1] + 1:
            runs.append([])
        runs[-1].append(number)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def read_about(file: Path) -> Mapping[str, Any]:
    """A run.json. Errors: NoRun, DamagedRun, NewerFormat."""
    try:
        there = file.is_file()
    except OSError:
        there = False
    if not there:
        above = [folder for folder in file.parent.parents if (folder / file.name).is_file()]
        if above:
            raise NoRun(f"{file.parent} lies in the folder of a run; name that, {above[0]}")
        if (file.parent / PIPELINE).is_file():
            inside = ", ".join(str(one) for one in runs_in(file.parent)) or "still to come"
            raise NoRun(f"{file.parent} is a pipeline, and its runs are {inside}; name one of those")
        raise NoRun(
            f"{file.parent} holds no run (it has no {file.name}); name the folder that menon train wrote, or "
            f"start one with `menon train out={file.parent}`"
        )
    about = disk.read_json(file)
    if not isinstance(about, dict) or not isinstance(about.get("settings"), dict):
        raise damaged(file)
    number = about.get("format", 1)
    if not isinstance(number, int) or number < 1:
        raise damaged(file)
    if number > FORMAT:
        raise NewerFormat(
            f"{file.parent} was written by a newer menon (run folder format {number}; this one reads up to "
            f"{FORMAT}); update menon"
        )
    return about


def damaged(file: Path) -> DamagedRun:
    return DamagedRun(f"{file} is damaged; put back a copy of it, or start a new run with another out=")
