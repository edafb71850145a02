"""Writes a run folder: settings, numbers, answers, checkpoints, report. `record.reader` reads it."""

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import torch

from menon import __version__
from menon.errors import UserError
from menon.record import answer_index, checkpoint, disk
from menon.record.beside import shown, with_interval
from menon.record.events import Events
from menon.record.layout import LINES, Layout, step_file, steps_in
from menon.record.lock import Lock
from menon.record.origin import Origin, check_origin
from menon.record.reader import FORMAT, RunView
from menon.record.spans import TextSpans
from menon.record.transcripts import write_answers, write_transcript
from menon.record.updates import write_updates
from menon.settings import setting
from menon.types import Graded, StepReport


def determinism(settings: Mapping[str, Any]) -> str:
    """ "replay": the same configuration, machine and thread count give the same bits, also after a resume.
    "invariance", on a GPU, where some sums and the backward pass of attention add in any order: the same
    random streams, and numbers equal up to rounding. "order", with `staleness`: the same prompts in the same
    order with the same random streams; which weights write a token depends on timing."""
    if setting(settings, "staleness", 0):
        return "order"
    device = str(setting(settings, "device", "cpu"))
    gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    return "invariance" if gpu else "replay"


@dataclass(frozen=True)
class RunFolder:
    """An open run folder, locked until it is closed; use it in a `with`. Its files: docs/run_folder.md."""

    path: Path
    about: Mapping[str, Any]
    """The contents of run.json."""
    lock: Lock
    resume: str = ""
    """The command that resumes the run; "": `menon train --resume`."""

    @staticmethod
    def create(
        path: Path | str, settings: Mapping[str, Any], origin: Origin = MappingProxyType({})
    ) -> "RunFolder":
        """A new run's folder; `origin` are the fingerprints of what it begins with. What a run has left there
        that did not finish its first step is removed. UserError if a run is in it that did."""
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            check_own(Layout(path))
            lock = Lock(Layout(path).lock)
        except OSError as error:
            raise UserError(
                f"the run folder {path} cannot be made ({disk.cause(error)}); set out= to another folder"
            ) from None
        try:
            begun = Layout(path).about.exists()
            if begun and (RunView(path).metrics or steps_in(Layout(path).checkpoints)):
                how = f"go on with it by `{resume_command(path)}`, or set out= to a new folder"
                raise UserError(f"{path} holds a run already; {how}")
            if begun:
                with writing(path):
                    clear(Layout(path))
            about = {
                "format": FORMAT,
                "settings": dict(settings),
                "seed": setting(settings, "seed"),
                "began_in": os.getcwd(),
                "determinism": determinism(settings),
                "origin": dict(origin),
                **surroundings(),
            }
            with writing(path):
                created = time.strftime("%Y-%m-%dT%H:%M:%S%z")
                disk.write_json(Layout(path).about, about | {"created": created})
        except BaseException:
            lock.close()
            raise
        return RunFolder(path, about, lock)

    @staticmethod
    def open(path: Path | str) -> "RunFolder":
        """The folder of a run that is resumed. UserError: there is no run, it is damaged or of another
        format, or it is running."""
        view = RunView.open(path)
        view.check_resumable()
        check_own(view.layout)
        return RunFolder(view.path, view.about, Lock(view.layout.lock))

    def go_on(self, settings: Mapping[str, Any], changed_code: Sequence[str] = ()) -> "RunFolder":
        """The folder of a run that goes on with these settings, which run.json keeps from now on. Where code
        changed before the first step, what the old code graded is removed."""
        about = {**self.about, "settings": dict(settings)}
        with writing(self.path):
            if about != self.about:
                disk.write_json(self.layout.about, about)
            if changed_code:
                self.rewind(-1)
        return replace(self, about=about)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._failed(error)
        self.close()

    def _failed(self, error: BaseException) -> None:
        """Records that an error ended the session; does nothing where even that cannot be written."""
        sessions = [event for event in self.view.all_events if event["kind"].startswith("session_")]
        if sessions and sessions[-1].get("process") == os.getpid():  # started here, and not ended yet
            what = " ".join(str(error).split())[:200] or type(error).__name__
            with suppress(OSError):
                why = getattr(error, "why", "failed")
                self._events.write("session_ended", self.view.steps, why=why, error=what)

    def close(self) -> None:
        self.lock.close()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved configuration, as `create` was given it."""
        return self.about["settings"]

    @property
    def layout(self) -> Layout:
        return Layout(self.path)

    @property
    def view(self) -> RunView:
        """What the folder holds now."""
        return RunView(self.path)

    @property
    def resume_command(self) -> str:
        return self.resume or resume_command(self.path)

    @property
    def checkpoints(self) -> Path:
        return self.layout.checkpoints

    def changes(self) -> list[str]:
        """How versions and machine differ from those that the run began with. A resumed run is bit-identical
        only if nothing differs."""
        then, now = (
            _flat({k: about.get(k) for k in ("versions", "machine")})
            for about in (self.about, surroundings())
        )
        return [
            f"{name} was {then[name]} and is {now.get(name)}" for name in then if then[name] != now.get(name)
        ]

    def check_origin(self, now: Origin) -> bool:
        """Compares what the run began with and what it has now. UserError if they differ; returns whether
        that is known."""
        then = self.about.get("origin") or {}
        check_origin(then, now, self.settings, self.layout.latest)
        return bool(then)

    def check_checkpoints(self) -> None:
        """UserError if the run has saved checkpoints: it would begin again without them, and its recorded
        steps would be lost. Call it where none can be read."""
        view = self.view
        if view.metrics and any(event["kind"] == "saved" for event in view.events):
            done = f"{len(view.metrics)} recorded step{'s' if len(view.metrics) > 1 else ''}"
            raise UserError(
                f"{self.path} has {done} and no checkpoint to go on from; put its {self.checkpoints.name} "
                f"back, or start a new run: `menon train {self.layout.about} out={self.path}-2`"
            )

    # What happened

    @property
    def _events(self) -> Events:
        return Events(self.layout.events)

    def event(self, kind: str, step: int, **details: Any) -> None:
        """One event (`record.events.KINDS`) with `step` steps done."""
        with writing(self.path):
            self._events.write(kind, step, **details)

    # The record of the steps

    def record(self, report: StepReport, spans: TextSpans | None = None) -> None:
        """Records a step. The transcript is written first, so a line of metrics means that its step is
        recorded completely. A step on given rows has no transcript. `spans` gives the transcript the text of
        each token."""
        disk.own_folder(self.layout.transcripts)
        if len(report.graded) == len(report.offset) - 1:
            file = step_file(self.layout.transcripts, report.step)
            answer_index.append(file, report.step, write_transcript(file, report, spans))
        if report.updates:
            disk.own_folder(self.layout.updates)
            write_updates(step_file(self.layout.updates, report.step), report.step, report.updates)
        line = {"step": report.step, **report.metrics, "fingerprint": report.fingerprint}
        disk.append(self.layout.metrics, disk.json_line(line))

    def metrics(self) -> list[dict[str, Any]]:
        return self.view.metrics

    def record_evaluation(
        self,
        step: int,
        numbers: Mapping[str, Any],
        graded: Sequence[Graded] = (),
        spans: TextSpans | None = None,
        seconds: float | None = None,
    ) -> None:
        """Records an evaluation. The answers are written first, so a line of numbers means that its
        evaluation is recorded completely. `seconds`: how long the evaluation took."""
        if graded:
            disk.own_folder(self.layout.answers)
            file = step_file(self.layout.answers, step)
            answer_index.append(file, step, write_answers(file, step, graded, spans))
        disk.append(self.layout.evaluations, disk.json_line({"step": step, **numbers}))
        counted = {name: numbers.get(name) for name in ("accuracy", "reward", "n")}
        self._events.write("evaluated", step, **counted, seconds=seconds)

    def evaluation(self, step: int) -> dict[str, Any] | None:
        """The numbers of the evaluation after a step (0: before the first), if it was done."""
        return self.view.evaluation(step)

    def best(self) -> int | None:
        """The step whose evaluation was the best; see `RunView.best`."""
        return self.view.best()

    def mark_best(self) -> None:
        """Points `checkpoints/best` at the best evaluated checkpoint that there is."""
        if steps := steps_in(self.checkpoints):
            best = self.view.best(steps)
            if checkpoint.mark_best(self.checkpoints, best):
                self._events.write("best", self.view.steps, best=best)

    def save(self, snapshot: checkpoint.Snapshot, models: checkpoint.SaveModels) -> Path:
        """Saves a checkpoint. The metrics up to it are synced first, so that a checkpoint never exists
        without them."""
        for name in LINES:
            if (self.path / name).exists():
                disk.sync_file(self.path / name)
        start = time.perf_counter()
        path = checkpoint.save(self.checkpoints, snapshot, models)
        self._events.write("saved", snapshot.step, seconds=time.perf_counter() - start)
        return path

    def rewind(self, step: int) -> None:
        """Removes everything after a step: lines (an incomplete last one too), transcripts, temporary files,
        the report. Events after the step are marked as undone."""
        self._events.rewind(step)
        for name in LINES:
            file = self.path / name
            if file.exists():
                disk.write(
                    file,
                    b"".join(disk.json_line(line) for line in disk.read_lines(file) if line["step"] <= step),
                )
        for folder in self.layout.step_folders:
            for number in steps_in(folder, ".parquet"):
                if number > step:
                    step_file(folder, number).unlink()
        for folder in (self.layout.transcripts, self.layout.answers):
            answer_index.rewind(folder, step)
        for left in self.layout.unfinished():
            disk.remove(left)
        for file in (self.layout.report, self.layout.report_text, self.layout.page):
            file.unlink(missing_ok=True)

    # The whole

    def record_sessions(self, sessions: list[dict[str, Any]]) -> None:
        # It is written after every step, and a sync would cost more than it is worth.
        disk.write_json(self.layout.sessions, sessions, sync=False)

    def report(self) -> dict[str, Any] | None:
        """The report of a finished run."""
        report = self.view.report
        return None if report is None else dict(report)

    def write_report(self, report: Mapping[str, Any]) -> None:
        disk.write(self.layout.report_text, _readable(self.path.name, report).encode())
        disk.write_json(self.layout.report, dict(report))


def resume_command(path: Path) -> str:
    return f"menon train --resume {path}"


def restart_command(view: RunView) -> str:
    """The command that trains the policy of a run's newest checkpoint as a new run, with its settings."""
    return f"menon train {view.layout.about} model={view.layout.latest} out={view.path}-2"


def check_own(layout: Layout) -> None:
    """UserError if a file or folder that a run writes or deletes is a link: what it points at is not the
    run's."""
    for path in (*layout.files, *layout.folders, layout.lock):
        if path.is_symlink():
            raise disk.foreign(path)


def clear(layout: Layout) -> None:
    """Removes what a run writes, except its lock. Other files in the folder stay."""
    for path in layout.written():
        disk.remove(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Wraps everything that writes to a run folder: a full disk becomes a UserError that says what was
    kept."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause = disk.cause(error)
        if cause is None:
            raise
        steps = steps_in(Layout(path).checkpoints)
        kept = (
            f"everything up to the checkpoint of step {steps[-1]} is kept"
            if steps
            else "there is no checkpoint yet"
        )
        first = "make room" if cause == disk.NO_ROOM else "fix that"
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


def _readable(name: str, report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    before, after = report["before"] or {}, report["after"] or {}
    table = "\n".join(
        f"| {label} | {with_interval(before, key, form)} | {with_interval(after, key, form)} |"
        for key, label, form in shown(before, after)
    )
    warnings = "".join(f"> {sentence}\n\n" for sentence in report.get("warnings") or ())
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in (report.get("left_out") or {}).items())
    left_out = f"Left out ({reasons}).\n\n" if reasons else ""
    return f"""# {name}

{warnings}{report["steps"]} steps, {report["generated_tokens"]:,} generated tokens, {report["wall_s"]:.0f} s.

{left_out}Held-out questions{f" ({int(after['n']):,})" if "n" in after else ""}, with 95 % intervals:

| | before | after |
|---|---|---|
{table}
"""
