"""Does a run on ranks that Ray places, written by vLLM, learn what the same run in a single process learns?

    python scripts/placements.py FOLDER --vllm /opt/vllm/bin/python [--seeds 0 1 2] [key=value ...]

Each seed is trained twice by the real command, into FOLDER: `single-SEED` with the settings that are given,
and `placed-SEED` with `placement=ray sampler=vllm ranks=N` beside them. Runs that are finished already are
taken as they are, so the same command goes on where it was stopped.

The table has the held-out accuracy before and after with 95 % intervals over the questions, the seconds of
the steps, and the publication's share of them. `within_noise` is true if 0 is in the interval of the mean
difference after training: the wider one of that over the questions of all seeds and, with two seeds or more,
that over the seeds.
"""

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from menon.record.layout import Layout
from menon.record.reader import RunView
from menon.study.seeds import half_width


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


def difference(one: Sequence[RunView], other: Sequence[RunView]) -> tuple[float, float]:
    """The mean of `other` - `one` after training, and half the width of its interval."""
    after = [[(run.report or {})["after"] for run in runs] for runs in (one, other)]
    each = [b["accuracy"] - a["accuracy"] for a, b in zip(*after, strict=True)]
    variance = sum(
        mean(run["accuracy"] for run in runs)
        * (1 - mean(run["accuracy"] for run in runs))
        / sum(run["n"] for run in runs)
        for runs in after
    )
    half = 1.96 * math.sqrt(variance)
    if len(each) > 1:
        half = max(half, half_width(each))
    return mean(each), half


if __name__ == "__main__":
    sys.exit(main())
