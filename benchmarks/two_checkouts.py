"""The same work by two checkouts of Menon, in turns: has a change made anything slower?

    python benchmarks/two_checkouts.py OLD NEW [--cases step-20 ...] [--repeats 5]

OLD and NEW are folders of checkouts, run by this interpreter from their own `src` and `benchmarks`. The cases
are Menon's sides of `step_vs_trl.py` (`step-20`, `step-50`, by the mean length of the answers) and of
`sampler.py` (`sampler-10`, `sampler-60`), each with all cores as threads and in float32, and the default
`menon train` (`train`), a process of its own each time. One checkout is stopped while the other works. Last
line: `slower=R`, the largest of the ratios of median times, NEW over OLD.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from menon.base import WEIGHTS
from menon.errors import UserError
from side_by_side import models
from side_by_side.crew import AS_THE_COMMAND, Crew, Process
from side_by_side.report import (
    Setting,
    alternate,
    cores,
    last_line,
    machine,
    measure_with,
    row,
    spread,
    times_faster,
)
from side_by_side.task import write_questions
from side_by_side.work import Work, ragged

FOLDER = str(WEIGHTS)
Measured = Callable[[Path, Path, Crew, int], dict[str, list[float]]]


def step(mean: int) -> Measured:
    """A step of GRPO, 32 questions with 8 answers each."""

    def measured(old: Path, new: Path, crew: Crew, repeats: int) -> dict[str, list[float]]:
        questions = write_questions(models.questions(320), crew.folder / "questions.jsonl")
        start = {"folder": FOLDER, "questions": questions, "samples": 8, "limits": ragged(256, mean)}

        def setting(checkout: Path) -> Setting:
            process = Process(
                "menon_step_side",
                start | {"dtype": "float32"},
                environment=AS_THE_COMMAND,
                checkout=str(checkout),
            )
            return Setting(checkout.name, process, {"threads": cores()})

        return alternate_warm({"old": setting(old), "new": setting(new)}, measure_with(crew), repeats)

    return measured


def sampler(mean: int) -> Measured:
    """512 answers to 64 prompts."""

    def measured(old: Path, new: Path, crew: Crew, repeats: int) -> dict[str, list[float]]:
        work = Work(models.prompts(64), ragged(512, mean))
        request = {"threads": cores(), "dtype": "float32", "slots": 512, "processes": cores()}

        def setting(checkout: Path) -> Setting:
            process = Process(
                "menon_sampler_side", {"folder": FOLDER}, environment=AS_THE_COMMAND, checkout=str(checkout)
            )
            return Setting(checkout.name, process, request)

        measure = measure_with(crew, **work.plain())
        return alternate_warm({"old": setting(old), "new": setting(new)}, measure, repeats)

    return measured


def train(old: Path, new: Path, crew: Crew, repeats: int) -> dict[str, list[float]]:
    """The default run, from the start of the interpreter to its end."""

    def measure(setting: Setting) -> float:
        environment = {**os.environ, "PYTHONPATH": str(Path(setting.label) / "src")}
        with tempfile.TemporaryDirectory(dir=crew.folder) as folder:
            command = [sys.executable, "-m", "menon", "train", f"out={folder}/run"]
            start = time.perf_counter()
            subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
            return time.perf_counter() - start

    process = Process("menon train")
    return alternate({"old": Setting(str(old), process), "new": Setting(str(new), process)}, measure, repeats)


def alternate_warm(
    settings: dict[str, Setting], measure: Callable[[Setting], float], repeats: int
) -> dict[str, list[float]]:
    """As `alternate`, after one time of each that does not count: it starts and compiles."""
    for setting in settings.values():
        measure(setting)
    return alternate(settings, measure, repeats)


CASES: dict[str, Measured] = {
    "step-20": step(20),
    "step-50": step(50),
    "sampler-10": sampler(10),
    "sampler-60": sampler(60),
    "train": train,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="only these")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each checkout")
    given = parser.parse_args()
    print(machine() + "\n\n" + row("case", "old, s", "new, s", "new over old") + "\n" + row(*["---"] * 4))
    ratios = []
    for name in given.cases:
        with Crew() as crew:
            seconds = CASES[name](given.old.resolve(), given.new.resolve(), crew, given.repeats)
        ratios.append(times_faster(seconds, "old", ["new"]))
        print(
            row(name, spread(seconds["old"], ".2f"), spread(seconds["new"], ".2f"), f"{ratios[-1]:.2f}"),
            flush=True,
        )
    print("\n" + last_line(slower=max(ratios)))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
