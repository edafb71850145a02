"""The names of everything in a run folder, in one place; `docs/run_folder.md` says what each file holds."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

LINES = ("metrics.jsonl", "evaluations.jsonl")
"""Files with one line per step or evaluation, which a resumed run cuts back to its step."""
TEMPORARY = re.compile(r"(\.[0-9a-f]{8})?\.tmp$")
"""The end of the names of unfinished files (`disk.temporary`)."""
OWN = re.compile(rf"(step_\d{{6,}}(\.parquet|\.damaged)?|latest|best)({TEMPORARY.pattern})?")
"""Names of what a run writes into its folders, unfinished files too."""
SWEEP = "sweep.json"
"""The arms and seeds of a sweep, in the folder that holds its runs."""
PIPELINE = "pipeline.json"
"""The stages of a pipeline, in the folder that holds those of its stages."""


@dataclass(frozen=True)
class Layout:
    """The paths within a run folder, whether the files exist or not."""

    run: Path

    @property
    def about(self) -> Path:
        return self.run / "run.json"

    @property
    def metrics(self) -> Path:
        return self.run / LINES[0]

    @property
    def evaluations(self) -> Path:
        return self.run / LINES[1]

    @property
    def events(self) -> Path:
        return self.run / "events.jsonl"

    @property
    def sessions(self) -> Path:
        return self.run / "sessions.json"

    @property
    def sittings(self) -> Path:
        """The sessions of format 1."""
        return self.run / "sittings.json"

    @property
    def report(self) -> Path:
        return self.run / "report.json"

    @property
    def report_text(self) -> Path:
        return self.run / "report.md"

    @property
    def page(self) -> Path:
        return self.run / "report.html"

    @property
    def lock(self) -> Path:
        """The lock file, held by the process that writes to the folder."""
        return self.run / "lock"

    @property
    def workers(self) -> Path:
        """What each worker process has to do and when it was last heard, while a run with some goes on."""
        return self.run / "workers.json"

    @property
    def notes(self) -> Path:
        """What people noted of the run in the workbench; it is theirs, so a resumed run leaves it alone."""
        return self.run / "notes.jsonl"

    @property
    def transcripts(self) -> Path:
        """Folder of the steps' answers, one file per step (`step_file`)."""
        return self.run / "transcripts"

    @property
    def answers(self) -> Path:
        """Folder of the evaluations' answers, in the form of transcripts."""
        return self.run / "evaluations"

    @property
    def indices(self) -> tuple[Path, ...]:
        """The answers of transcripts and of evaluations without their tokens (`record.answer_index`)."""
        return index_file(self.transcripts), index_file(self.answers)

    @property
    def updates(self) -> Path:
        """Folder of what the updates of each step did to its tokens, one file per step."""
        return self.run / "updates"

    @property
    def checkpoints(self) -> Path:
        return self.run / "checkpoints"

    @property
    def step_folders(self) -> tuple[Path, ...]:
        """Folders with one file per step (`step_file`)."""
        return self.transcripts, self.answers, self.updates

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders that a run writes and a resumed one cuts back."""
        return *self.step_folders, self.checkpoints

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that a run writes, in any format, except its lock."""
        lines = (self.metrics, self.evaluations, self.events, self.sessions, self.sittings)
        return self.about, *lines, *self.indices, self.report, self.report_text, self.page

    def written(self) -> list[Path]:
        """What a run has written into its folders, unfinished files of its own too."""
        names = {path.name for path in self.files}
        files = [name for name in names_in(self.run) if TEMPORARY.sub("", name) in names]
        inside = [path / name for path in self.folders for name in names_in(path) if OWN.fullmatch(name)]
        return [self.run / name for name in files] + inside

    def unfinished(self) -> list[Path]:
        """Of `written` what a process that was killed left half-written."""
        return [path for path in self.written() if path.suffix == ".tmp"]

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / step_name(step)

    @property
    def latest(self) -> Path:
        """Link to the newest checkpoint."""
        return self.checkpoints / "latest"

    @property
    def best(self) -> Path:
        """Link to the checkpoint of the best evaluation."""
        return self.checkpoints / "best"

    @property
    def study(self) -> Path:
        """Folder for what studies of the run have measured."""
        return self.run / "study"


def step_name(step: int) -> str:
    """
    >>> step_name(12)
    'step_000012'
    """
    return f"step_{step:06d}"


def step_file(folder: Path, step: int) -> Path:
    """The file of a step in a folder of transcripts, answers or updates."""
    return folder / f"{step_name(step)}.parquet"


def index_file(folder: Path) -> Path:
    """The index of a folder of transcripts or answers, beside it."""
    return folder.with_name(f"{folder.name}.index")


def names_in(folder: Path) -> list[str]:
    """Names in a folder, in order; none where there is no folder."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def steps_in(folder: Path, suffix: str = "") -> list[int]:
    """Steps with an entry `step_000012` + suffix in a folder, in order; unfinished and damaged entries have
    other names and are left out."""
    step = re.compile(rf"step_(\d{{6,}}){re.escape(suffix)}")
    return sorted(int(match[1]) for name in names_in(folder) if (match := step.fullmatch(name)))


def runs_in(folder: Path) -> list[Path]:
    """Folders of runs: the folder itself and those right below it that have a run.json, in order."""
    with os.scandir(folder) as entries:  # it tells folders from files without asking for each of them
        near = [folder, *(Path(one.path) for one in entries if one.is_dir())]
    return sorted(path for path in near if os.path.exists(Layout(path).about))
