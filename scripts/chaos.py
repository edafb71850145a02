"""Kills processes of a distributed run at random instants, and checks that the result is that of an
undisturbed run.

    python scripts/chaos.py --kills 200 [--seed 0] [--ranks 2] [--seconds 250]

Real runs by the real command on a tiny random model, their samplers in processes of their own (`samplers=1`,
`samplers=2`, and with `--ranks` the models on ranks too). A kill (SIGKILL) hits a sampler, the process that
samplers are forked from, a rank, or the controller, which without ranks is the learner too. A sampler must be
replaced while the run goes on. After the loss of a controller or a rank the run is resumed. At the end

- every step has trained the prompts of that step of the undisturbed run: none is lost, none trained twice;
- metrics, transcripts, evaluations and the last checkpoint are those of the undisturbed run byte for byte;
- the weights are those of a run in a single process, which no kill has disturbed (without ranks: ranks add up
  gradients in another order);
- nothing of a killed session is still running.

One kill counts as one test.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from kill_and_resume import command, differences, finish, fork, make_inputs, warm_up, words_for

from menon.record.layout import Layout
from menon.record.reader import RunView

MOST_KILLS = 8
"""Most kills of one run."""
VICTIMS = ("sampler", "sampler", "sampler", "controller", "rank", "forkserver")
"""Kinds of processes to kill, by their share. Where there is none of a kind the controller is killed."""
GONE_LIMIT = 30.0
"""Seconds after which nothing of a killed session may still run."""


@dataclass(frozen=True)
class Undisturbed:
    path: Path
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further run after them")
    asked = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        end = time.monotonic() + asked.seconds
        passed, failed = try_all(Path(name), asked.kills, random.Random(asked.seed), asked.ranks, end)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def try_all(folder: Path, kills: int, chance: random.Random, ranks: int, end: float) -> tuple[int, int]:
    assert finish(fork(lambda: make_inputs(folder), folder / "log")) == 0, (folder / "log").read_text()
    more = [f"ranks={ranks}"] * (ranks > 1)
    single = undisturbed(folder, "single", [])
    kinds = {f"samplers={count}": [f"samplers={count}", *more] for count in (1, 2)}
    whole = {name: undisturbed(folder, name, settings) for name, settings in kinds.items()}
    for name, run in whole.items():
        if ranks == 1 and (wrong := unlike(run.path, single.path)):
            print(f"{name} without kills is not the run in one process: {wrong}")
            return 0, 1
    passed = failed = number = 0
    killed: Counter[str] = Counter()
    while passed + failed < kills and time.monotonic() < end:
        name = [*kinds][number % len(kinds)]
        most = min(MOST_KILLS, kills - passed - failed)
        path = folder / f"{name}-{number}"
        done, wrong = disturbed(path, kinds[name], whole[name].seconds, chance, most)
        killed.update(done)
        wrong = wrong or differences(path, whole[name].path) or unlike(path, whole[name].path)
        print(f"{name} lost {', '.join(done) or 'nothing'}: {wrong or 'identical'}", flush=True)
        number += 1
        passed, failed = (passed, failed + max(1, len(done))) if wrong else (passed + len(done), failed)
    print(", ".join(f"{count} of a {kind}" for kind, count in sorted(killed.items())))
    return passed, failed


def undisturbed(folder: Path, name: str, settings: Sequence[str]) -> Undisturbed:
    path, log, start = folder / name, folder / f"{name}.log", time.monotonic()
    words = [*words_for(path, "grpo", 2), *settings]
    code = finish(fork(lambda: command(words), log))
    assert code == 0, log.read_text()
    return Undisturbed(path, time.monotonic() - start)


def disturbed(
    path: Path, settings: Sequence[str], seconds: float, chance: random.Random, most: int
) -> tuple[list[str], str]:
    """Runs to the end through at most `most` kills; what was killed, and what went wrong."""
    words = [*words_for(path, "grpo", chance.choice((1, 2, 3))), *settings]
    log, done = path.with_suffix(".log"), list[str]()
    while True:
        now = ["train", "--resume", str(path)] if Layout(path).about.exists() else words
        child = fork(lambda now=now: command(now), log)  # type: ignore[misc]
        family = psutil.Process(child)
        seen: list[psutil.Process] = []
        code: int | None = None
        while code is None and len(done) < most:
            code = ended_within(child, chance.uniform(0, seconds / 2))
            if code is None:
                seen = [*seen, *descendants(family)]
                done.append(kill(family, chance.choice(VICTIMS), chance))
        code = finish(child) if code is None else code
        if lasting := still_running(seen):
            return done, f"{len(lasting)} processes of a session outlive it"
        if code == 0 or (code != -signal.SIGKILL and "rank" not in done):
            return done, "" if code == 0 else f"exit code {code}: {log.read_text()[-800:]}"


def ended_within(child: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def descendants(family: psutil.Process) -> list[psutil.Process]:
    try:
        return family.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(family: psutil.Process, kind: str, chance: random.Random) -> str:
    """Kills a process of a kind; returns its kind."""
    found: dict[str, list[psutil.Process]] = {
        "controller": [family],
        "sampler": [],
        "rank": [],
        "forkserver": [],
    }
    for one in descendants(family):
        try:
            line, parent = " ".join(one.cmdline()), one.ppid()
        except psutil.NoSuchProcess:
            continue
        if "menon.assembly.ranks" in line:
            found["rank"].append(one)
        elif "remote_sampler_process" in line:
            found["forkserver" if parent == family.pid else "sampler"].append(one)
    kind = kind if found[kind] else "controller"
    with contextlib.suppress(psutil.NoSuchProcess):
        chance.choice(found[kind]).kill()
    return kind


def still_running(seen: Sequence[psutil.Process]) -> list[psutil.Process]:
    end = time.monotonic() + GONE_LIMIT
    left = list(seen)
    while left and time.monotonic() < end:
        left = [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        time.sleep(0.05 if left else 0)
    return left


def unlike(path: Path, other: Path) -> str:
    """How the prompts of the steps, or the weights after each, differ from those of another run."""
    one, two = (trained(run) for run in (path, other))
    if one == two:
        return ""
    odd = [step for step in sorted(one.keys() | two.keys()) if one.get(step) != two.get(step)]
    return f"step {odd[0]} has trained other prompts, or has other weights"


def trained(path: Path) -> dict[int, tuple[str, tuple[tuple[int, int], ...]]]:
    """By step: the fingerprint of the weights after it, and prompt and sample of each of its answers."""
    import pyarrow.parquet

    found = {}
    for line in RunView(path).metrics:
        step = int(line["step"])
        table = pyarrow.parquet.read_table(
            Layout(path).transcripts / f"step_{step:06d}.parquet", columns=["prompt_index", "sample"]
        )
        answers = zip(table["prompt_index"].to_pylist(), table["sample"].to_pylist(), strict=True)
        found[step] = str(line["fingerprint"]), tuple(answers)
    return found


if __name__ == "__main__":
    sys.exit(main())
