"""Runs arms with several seeds by the command, each in its own folder, resumable at any point.  An arm is a
name and the words of `menon train`. Finished runs are not repeated, so a sweep can be stopped and started.
All arms run with the first seed, then all with the second, so that an interrupted sweep still compares arms
with the same seeds.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from menon.cli.words import last_of_each
from menon.errors import NothingLearned
from menon.record import disk
from menon.record.reader import RunView

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
Outcome = Literal["done", "nothing learned", "stopped", "failed", "skipped"]
"""done: all its steps; stopped: by a request; skipped: its arm has failed before its first step."""


@dataclass(frozen=True)
class Arm:
    """One of the settings that are compared."""

    name: str
    words: tuple[str, ...]
    """Words of `menon train`: a recipe and key=value."""


@dataclass(frozen=True)
class Cell:
    """One arm with one seed."""

    arm: Arm
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / f"{self.arm.name}-{self.seed}"

    @property
    def log(self) -> Path:
        """What the command printed."""
        return Path(f"{self.path}.log")

    @property
    def view(self) -> RunView:
        """The run as it is now."""
        return RunView(self.path)

    @property
    def begun(self) -> bool:
        """Whether there is a run."""
        return self.view.layout.about.exists()

    @property
    def report(self) -> dict[str, Any] | None:
        return None if (report := self.view.report) is None else dict(report)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The metrics, one line per step."""
        return self.view.metrics

    def train(self, steps: int, children: "Children") -> Outcome:
        """Trains or resumes the run up to that many steps. A run that learned nothing is not resumed. The
        command's output goes to FOLDER/NAME-SEED.log."""
        report, view = self.report, self.view
        if report is not None and report["steps"] >= steps:
            return "done"
        if view.ended.get("why") == NothingLearned.why:
            return "nothing learned"
        if self.begun:
            # A run that was stopped may be further already.
            words = ["--resume", str(self.path), f"steps={max(steps, len(self.lines))}"]
        else:
            own = [f"seed={self.seed}", f"steps={steps}", f"out={self.path}"]
            words = last_of_each([*self.arm.words, *own])  # an arm's words come on top of the shared ones
            if not any(word.startswith(("threads=", "engine.threads=")) for word in words):
                words.append("threads=1")
        with open(disk.own_file(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a") as log:
            command = [sys.executable, "-m", "menon", "train", *words]
            code = children.run(command, log)
        report = self.report
        if report is not None and report["steps"] >= steps:
            return "done"
        if code == NothingLearned.exit_code:
            return "nothing learned"
        return "stopped" if code == 0 or children.stopping else "failed"

    def last_words(self) -> str:
        """The last line that the command has printed."""
        lines = self.log.read_text("utf-8", "replace").split("\n") if self.log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


class Children:
    """The processes of a sweep. They are in sessions of their own, so that Ctrl-C reaches them only through
    `stop`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a second signal may interrupt the handler of the first
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopping = False

    def run(self, command: Sequence[str], log: Any) -> int:
        """Runs a command to its end and returns its exit code. After `stop` nothing is started, code 0."""
        with self.lock:
            if self.stopping:
                return 0
            child = subprocess.Popen(
                command, env=os.environ | ONE_THREAD, stdout=log, stderr=log, start_new_session=True
            )
            self.running.add(child)
        try:
            return child.wait()
        finally:
            with self.lock:
                self.running.discard(child)

    def stop(self) -> None:
        """Passes a request to stop to every process; starts none from now on."""
        with self.lock:
            self.stopping = True
            for child in self.running:
                child.send_signal(signal.SIGTERM)  # SIGINT may be ignored, as in a script


def cells_of(arms: Iterable[Arm], seeds: Sequence[int], folder: Path) -> list[Cell]:
    """All arms with the first seed, then with the second, and so on."""
    arms = list(arms)
    folder.mkdir(parents=True, exist_ok=True)
    return [Cell(arm, seed, folder) for seed in seeds for arm in arms]


def sweep(
    cells: Sequence[Cell],
    steps: Callable[[Cell], int],
    jobs: int,
    after: Callable[[Cell], None],
) -> dict[Cell, Outcome]:
    """Trains every cell to its number of steps, `jobs` at a time; `after` is called with each that is done,
    in the calling thread. Returns what became of each.

    An arm that fails before its first step would fail with every seed, so its other cells are skipped. Ctrl-C
    and SIGTERM stop the running cells after their step, and start no others; a second request ends them at
    once.
    """
    children, broken = Children(), set[str]()
    found: dict[Cell, Outcome] = {}

    def one(cell: Cell) -> Outcome:
        if children.stopping or cell.arm.name in broken:
            return "stopped" if children.stopping else "skipped"
        outcome = cell.train(steps(cell), children)
        if outcome == "failed" and not cell.lines:
            broken.add(cell.arm.name)
        return outcome

    with ThreadPoolExecutor(jobs) as pool, requests_to_stop(children):
        waiting: dict[Future[Outcome], Cell] = {pool.submit(one, cell): cell for cell in cells}
        for future in as_completed(waiting):
            cell, outcome = waiting[future], future.result()
            found[cell] = outcome
            print(line_of(cell, outcome), flush=True)
            after(cell)
    return {cell: found[cell] for cell in cells}


def line_of(cell: Cell, outcome: Outcome) -> str:
    """What became of a cell, in one line."""
    told = {"failed": f" ({cell.last_words()}; all of it is in {cell.log})"}
    return f"{cell.path.name}: {outcome}{told.get(outcome, '')}"


@contextmanager
def requests_to_stop(children: Children) -> Iterator[None]:
    """Passes Ctrl-C and SIGTERM on to the processes. Only the main thread can set handlers; in any other
    nothing is changed."""
    before: dict[int, Any] = {}

    def hear(number: int, frame: FrameType | None) -> None:
        if not children.stopping:
            sentence = (
                "stop request received: the steps under way are finished and saved first; a second request "
                "loses them"
            )
            threading.Thread(target=print, args=(f"menon: {sentence}",), daemon=True).start()
        children.stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, hear)
    try:
        yield
    finally:
        for heard, handler in before.items():
            signal.signal(heard, handler)


def by_arm(cells: Iterable[Cell]) -> Iterator[tuple[Arm, list[Cell]]]:
    """The arms in their order, each with those of its cells that have a report."""
    arms: dict[str, list[Cell]] = {}
    cells = list(cells)
    for cell in cells:
        arms.setdefault(cell.arm.name, [])
        if cell.report is not None:
            arms[cell.arm.name].append(cell)
    first = {cell.arm.name: cell.arm for cell in reversed(cells)}
    for name, found in arms.items():
        yield first[name], found
