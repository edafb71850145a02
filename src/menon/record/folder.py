"""The run folder: what a run was told, what it measured, what it wrote (design, section 6)."""

import os
import platform
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from menon import __version__
from menon.errors import UserError
from menon.record import checkpoint, disk
from menon.record.lock import Lock
from menon.record.transcripts import write_answers, write_transcript
from menon.types import Graded, StepReport


def determinism(device: str) -> str:
    """`replay`: same configuration, machine and thread count give the same bits, resume included. On a GPU,
    where some sums and the backward pass of attention add in any order, only `invariance`: the same random
    stream, numbers up to rounding."""
    gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    return "invariance" if gpu else "replay"


def recorded(run: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What run.json and metrics.jsonl hold, of a run that is done or under way. UserError: no run, no
    step."""
    about = disk.read_json(run / "run.json")
    if not isinstance(about, dict):
        raise UserError(f"{run} holds no run (it has no run.json); name the folder that menon train wrote")
    lines = disk.read_lines(run / "metrics.jsonl")
    if not lines:
        raise UserError(f"{run} has not finished a step yet, so there is nothing to report; wait for one")
    return about, lines


@dataclass(frozen=True)
class RunFolder:
    """An open run folder; locked until it is closed. Use it in a `with`.

    run.json, metrics.jsonl, evaluations.jsonl, sittings.json, transcripts/step_000012.parquet,
    evaluations/step_000012.parquet, checkpoints/, report.json, report.md.
    """

    path: Path
    about: Mapping[str, Any]
    """run.json."""
    lock: Lock
    resume: str = ""
    """What goes on with the run; "": `menon train --resume`."""

    @staticmethod
    def create(path: Path | str, settings: Mapping[str, Any]) -> "RunFolder":
        """A new run's folder. UserError if a run is in it already, finished or not."""
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = Lock(path / "lock")
        except OSError as error:
            raise UserError(
                f"the run folder {path} cannot be made ({disk.cause(error)}); set out= to another folder"
            ) from None
        try:
            if (path / "run.json").exists():
                how = f"go on with it by `{resume_command(path)}`, or set out= to a new folder"
                raise UserError(f"{path} holds a run already; {how}")
            level = determinism(str(settings.get("device", "cpu")))
            about = {
                "settings": dict(settings),
                "seed": settings.get("seed"),
                "determinism": level,
                **surroundings(),
            }
            with writing(path):
                disk.write_json(path / "run.json", about | {"created": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
        except BaseException:
            lock.close()
            raise
        return RunFolder(path, about, lock)

    @staticmethod
    def open(path: Path | str) -> "RunFolder":
        """The folder of a run that is to go on. UserError if there is none, or if it is running."""
        path = Path(path)
        if not (path / "run.json").exists():
            raise UserError(
                f"{path} holds no run (it has no run.json); start one with `menon train out={path}`"
            )
        lock = Lock(path / "lock")
        about = disk.read_json(path / "run.json")
        if not isinstance(about, dict) or not isinstance(about.get("settings"), dict):
            lock.close()
            raise UserError(
                f"{path / 'run.json'} is damaged, so the run cannot go on; start a new one with another out="
            )
        return RunFolder(path, about, lock)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.lock.close()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved configuration, as `create` was given it."""
        return self.about["settings"]

    @property
    def resume_command(self) -> str:
        return self.resume or resume_command(self.path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def changes(self) -> list[str]:
        """What differs between here and where the run began; bit-identity is promised only when nothing
        does."""
        then, now = (
            _flat({k: about.get(k) for k in ("versions", "machine")})
            for about in (self.about, surroundings())
        )
        return [
            f"{name} was {then[name]} and is {now.get(name)}" for name in then if then[name] != now.get(name)
        ]

    # The record of the steps

    def record(self, report: StepReport) -> None:
        """Transcript first, so that a line of metrics says that its step is recorded whole. A step on rows that were
        given has none."""
        transcripts = self.path / "transcripts"
        transcripts.mkdir(exist_ok=True)
        if len(report.graded) == len(report.offset) - 1:
            write_transcript(transcripts / f"step_{report.step:06d}.parquet", report)
        line = {"step": report.step, **report.metrics, "fingerprint": report.fingerprint}
        disk.append(self.path / "metrics.jsonl", disk.json_line(line))

    def metrics(self) -> list[dict[str, Any]]:
        return disk.read_lines(self.path / "metrics.jsonl")

    def record_evaluation(self, step: int, numbers: Mapping[str, Any], graded: Sequence[Graded] = ()) -> None:
        """The answers first, so that a line of numbers says that its evaluation is recorded whole."""
        if graded:
            folder = self.path / "evaluations"
            folder.mkdir(exist_ok=True)
            write_answers(folder / f"step_{step:06d}.parquet", step, graded)
        disk.append(self.path / "evaluations.jsonl", disk.json_line({"step": step, **numbers}))

    def evaluation(self, step: int) -> dict[str, Any] | None:
        """The numbers of the evaluation after a step (0: before the first), if it was done."""
        lines = disk.read_lines(self.path / "evaluations.jsonl")
        return next(
            ({k: v for k, v in line.items() if k != "step"} for line in lines if line["step"] == step), None
        )

    def best(self, among: Collection[int] | None = None) -> int | None:
        """The step whose evaluation was the most accurate, the first of equal ones; of those `among`. Not the
        start."""
        lines = disk.read_lines(self.path / "evaluations.jsonl")
        scored = {
            line["step"]: line["accuracy"]
            for line in lines
            if line["step"] > 0 and line.get("accuracy") is not None
        }
        steps = [step for step in scored if among is None or step in among]
        return max(steps, key=lambda step: (scored[step], -step), default=None)

    def mark_best(self) -> None:
        """Points `checkpoints/best` at the best evaluated checkpoint that there is."""
        steps = checkpoint.steps_in(self.checkpoints)
        if steps:
            checkpoint.mark_best(self.checkpoints, self.best(steps))

    def save(self, snapshot: checkpoint.Snapshot, models: checkpoint.SaveModels) -> Path:
        """A checkpoint; the metrics up to it are made durable first, so that it never stands without them."""
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            if (self.path / name).exists():
                disk.sync_file(self.path / name)
        return checkpoint.save(self.checkpoints, snapshot, models)

    def rewind(self, step: int) -> None:
        """Takes back everything after a step: lines (a torn last one too), transcripts, leftovers, the
        report."""
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            file = self.path / name
            if file.exists():
                disk.write(
                    file,
                    b"".join(disk.json_line(line) for line in disk.read_lines(file) if line["step"] <= step),
                )
        kept = {f"step_{number:06d}.parquet" for number in range(step + 1)}
        for name in ("transcripts", "evaluations"):
            for file in (self.path / name).glob("*"):
                if file.name not in kept:
                    file.unlink()
        for left in self.checkpoints.glob("*.tmp"):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        for name in ("report.json", "report.md", "report.html"):
            (self.path / name).unlink(missing_ok=True)

    # The whole

    def sittings(self) -> list[dict[str, Any]]:
        """first_step, last_step and wall_s of every time that somebody let the run go on."""
        found = disk.read_json(self.path / "sittings.json")
        return found if isinstance(found, list) else []

    def record_sittings(self, sittings: list[dict[str, Any]]) -> None:
        disk.write_json(
            self.path / "sittings.json", sittings, sync=False
        )  # every step; a sync costs more than it is worth

    def report(self) -> dict[str, Any] | None:
        """The report of a finished run."""
        found = disk.read_json(self.path / "report.json")
        return found if isinstance(found, dict) else None

    def write_report(self, report: Mapping[str, Any]) -> None:
        disk.write(self.path / "report.md", _readable(self.path.name, report).encode())
        disk.write_json(self.path / "report.json", dict(report))


def resume_command(path: Path) -> str:
    return f"menon train --resume {path}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around everything that writes to a run folder: a full disk becomes one sentence that says what was
    kept."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = disk.cause(error)
        if cause is None:
            raise
        steps = checkpoint.steps_in(path / "checkpoints")
        kept = (
            f"everything up to the checkpoint of step {steps[-1]} is kept"
            if steps
            else "there is no checkpoint yet"
        )
        first = "make room" if cause == disk.NO_ROOM else "mend that"
        how = f"{first}, then go on with `{resume_command(path)}`"
        raise UserError(f"writing to {path} failed: {cause}; {kept}; {how}") from error


def surroundings() -> dict[str, Any]:
    """Versions and machine: what replay depends on."""
    versions = {"menon": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for name in ("transformers", "numpy", "numba"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "none"
    machine = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return {"versions": versions, "machine": machine}


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for part in tree.values() for name, value in (part or {}).items()}


ROWS = (
    ("accuracy", "accuracy", ".3f"),
    ("best_accuracy", "accuracy at the best temperature", ".3f"),
    ("maj_at_8", "accuracy of a vote of eight", ".3f"),
    ("mean_length", "mean length", ".1f"),
    ("entropy", "entropy", ".3f"),
)
"""Of report.md: name in report.json, words, digits."""


def _readable(name: str, report: Mapping[str, Any]) -> str:
    """The report for a person."""
    before, after = report["before"] or {}, report["after"] or {}
    table = "\n".join(
        f"| {words} | {before[key]:{form}} | {after[key]:{form}} |"
        for key, words, form in ROWS
        if key in before and key in after
    )
    return f"""# {name}

{report["steps"]} steps, {report["generated_tokens"]:,} generated tokens, {report["wall_s"]:.0f} s.

Held-out set, temperature 1:

| | before | after |
|---|---|---|
{table}
"""
