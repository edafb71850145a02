"""Does a run on ranks that Ray places, written by vLLM, learn what the same run in a single process learns?

    python scripts/placements.py FOLDER --vllm /opt/vllm/bin/python [--seeds 0 1 2] [key=value ...]

Each seed is trained twice by the real command, into FOLDER: `single-SEED` with the settings that are given,
and `placed-SEED` with `placement=ray sampler=vllm ranks=N` beside them. Runs that are finished already are
taken as they are, so the same command goes on where it was stopped.

The table has the held-out accuracy before and after as the runs measured it, one answer to each question by
their own sampler, with 95 % intervals over the questions; the seconds of the steps, and the publication's
share of them. Two samplers draw other answers, and those of one seed are the same draws in every run. So what
was learned is compared by eight answers of the built-in sampler to each question. `within_noise` is true if 0
is in the interval of the mean difference: the wider one of that over questions and, with two seeds or more,
that over the seeds.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import menon
from menon.eval.compare import compare_results
from menon.eval.config import read_result
from menon.eval.run import Item
from menon.record.layout import Layout
from menon.record.reader import RunView
from menon.study.seeds import half_width

K = 8
"""Answers to each question by which runs are compared."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", nargs="*", default=[], metavar="key=value")
    parser.add_argument("--vllm", required=True, help="the interpreter of an environment that has vLLM")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ranks", type=int, default=2)
    asked = parser.parse_intermixed_args()
    placed = ["placement=ray", "sampler=vllm", f"sampler.python={asked.vllm}", f"ranks={asked.ranks}"]
    kinds: dict[str, list[str]] = {"single": [], "placed": placed}
    found: dict[str, list[RunView]] = {kind: [] for kind in kinds}
    for seed in asked.seeds:
        for kind, own in kinds.items():
            out = asked.folder / f"{kind}-{seed}"
            found[kind].append(trained(out, [f"seed={seed}", *asked.settings, *own]))
            print(line_of(found[kind][-1]), flush=True)
    print(
        "\n| run | before | after | seconds of the steps | publication, share |\n| -- | -- | -- | -- | -- |"
    )
    for pair in zip(*found.values(), strict=True):
        for run in pair:
            print(line_of(run))
    middle, half = difference(found["single"], found["placed"])
    print(f"\nplaced - single after training: {middle:+.3f} ({middle - half:+.3f} to {middle + half:+.3f})")
    print(f"within_noise={str(abs(middle) <= half).lower()}")
    return 0


def trained(out: Path, settings: Sequence[str]) -> RunView:
    """The finished run in a folder; it is begun, or resumed, if it is not."""
    if not Layout(out).report.exists():
        begun = Layout(out).about.exists()
        words = ["--resume", str(out)] if begun else ["grpo", f"out={out}", *settings]
        out.parent.mkdir(parents=True, exist_ok=True)
        with (out.parent / f"{out.name}.log").open("a") as log:
            subprocess.run(
                [sys.executable, "-m", "menon", "train", *words],
                check=True,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
    return RunView.open(out)


def line_of(run: RunView) -> str:
    report = run.report or {}
    seconds = sum(line["time/step"] for line in run.metrics)
    share = sum(line["time/sync"] for line in run.metrics) / seconds
    cells = [run.path.name, accuracy(report["before"]), accuracy(report["after"])]
    return f"| {' | '.join([*cells, f'{seconds:.1f}', f'{share:.1%}'])} |"


def accuracy(numbers: dict[str, float]) -> str:
    low, high = numbers["accuracy_low"], numbers["accuracy_high"]
    return f"{numbers['accuracy']:.3f} ({low:.3f} to {high:.3f})"


def answered(run: RunView) -> list[Item]:
    """`K` answers of the trained policy to each held-out question, written by the built-in sampler."""
    file = run.path.with_name(f"{run.path.name}.json")
    if not file.exists():
        menon.evaluate(str(run.path), k=K, threads=1, out=str(file))
    return read_result(file)[1]


def difference(one: Sequence[RunView], other: Sequence[RunView]) -> tuple[float, float]:
    """The mean of `other` - `one` after training, and half the width of its interval."""
    found = [compare_results(answered(a), answered(b)) for a, b in zip(one, other, strict=True)]
    each = [pair.difference for pair in found]
    half = mean((pair.high - pair.low) / 2 for pair in found)
    return mean(each), max(half, half_width(each)) if len(each) > 1 else half


if __name__ == "__main__":
    sys.exit(main())
