"""The names of everything in a run folder, in one place; `docs/run_folder.md` says what each file holds."""

import re
from dataclasses import dataclass
from pathlib import Path

LINES = ("metrics.jsonl", "evaluations.jsonl")
"""Files with one line per step or evaluation, which a resumed run cuts back to its step."""
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
    def transcripts(self) -> Path:
        """Folder of the steps' answers, one file per step (`step_file`)."""
        return self.run / "transcripts"

    @property
    def answers(self) -> Path:
        """Folder of the evaluations' answers, in the form of transcripts."""
        return self.run / "evaluations"

    @property
    def updates(self) -> Path:
        """Folder of what the updates of each step did to its tokens, one file per step."""
        return self.run / "updates"

    @property
    def checkpoints(self) -> Path:
        return self.run / "checkpoints"

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


def steps_in(folder: Path, suffix: str = "") -> list[int]:
    """Steps with an entry `step_000012` + suffix in a folder, in order; unfinished and damaged entries have
    other names and are left out."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    found = [re.fullmatch(rf"step_(\d{{6,}}){re.escape(suffix)}", name) for name in names]
    return sorted(int(match[1]) for match in found if match)


def runs_in(folder: Path) -> list[Path]:
    """Folders of runs: the folder itself and those right below it that have a run.json, in order."""
    near = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    return sorted(path for path in near if Layout(path).about.exists())
