"""Kills processes of a distributed run at random instants, and checks that the result is that of an
undisturbed run.

    python scripts/chaos.py --kills 200 [--jobs 2] [--seed 0] [--ranks 2] [--seconds 250] [--folder RUNS]

Real runs by the real command on a tiny random model, their samplers in processes of their own (`samplers=1`,
`samplers=2`, and with `--ranks` the models on ranks too). A kill (SIGKILL) hits a sampler, the process that
samplers are forked from, a rank (or what ranks are forked from), or the controller, which without ranks is
the learner too. A sampler must be replaced while the run goes on. After the loss of a controller or a rank
the run is resumed. At the end

- every step has trained the prompts of that step of the undisturbed run: none is lost, none trained twice;
- metrics, transcripts, evaluations and the last checkpoint are those of the undisturbed run byte for byte;
- the weights are those of a run in a single process, which no kill has disturbed (without ranks: ranks add up
  gradients in another order);
- nothing of a killed session is still running.

One kill counts as one test. `--jobs` runs go on at a time: a run keeps about one core busy, because its
processes take turns. With `--folder` the results are kept, and the same command goes on where it was stopped.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from kill_and_resume import command, differences, finish, fork, make_inputs, warm_up, words_for

from menon.record.layout import Layout
from menon.record.reader import RunView

STEPS = 48
MOST_KILLS = 12
"""Most kills of one run. Its start and its report take longer than a step, so a run is killed many times."""
VICTIMS = {"sampler": 6, "controller": 2, "forkserver": 1}
"""Kinds of processes to kill, with their shares. Where there is none of a kind the controller is killed."""
LATER = 1.5
"""Most seconds between the moment when a process is there and its kill."""
GONE_LIMIT = 30.0
"""Seconds after which nothing of a killed session may still run."""


@dataclass(frozen=True)
class Undisturbed:
    path: Path
    seconds: float


@dataclass(frozen=True)
class Trial:
    """What a disturbed run lost, and what was wrong with it."""

    killed: Sequence[str]
    wrong: str


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="disturbed runs at a time")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further run after them")
    parser.add_argument("--folder", type=Path, help="keeps the results, and the next call goes on there")
    asked = parser.parse_args()
    warm_up()
    end = time.monotonic() + asked.seconds
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        folder = (asked.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        passed, failed = try_all(folder, asked.kills, asked.seed, asked.ranks, asked.jobs, end)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def try_all(folder: Path, kills: int, seed: int, ranks: int, jobs: int, end: float) -> tuple[int, int]:
    if ranks > 1:
        VICTIMS["rank"] = 6
    if not (folder / "model").exists():
        assert finish(fork(lambda: make_inputs(folder), folder / "log")) == 0, (folder / "log").read_text()
    more = [f"ranks={ranks}"] * (ranks > 1)
    single = undisturbed(folder, "single", [])
    kinds = {f"samplers={count}": [f"samplers={count}", *more] for count in (1, 2)}
    whole = {name: undisturbed(folder, f"{name}-{ranks}", own) for name, own in kinds.items()}
    for name, run in whole.items():
        if ranks == 1 and (wrong := unlike(run.path, single.path)):
            print(f"{name} without kills is not the run in one process: {wrong}")
            return 0, 1
    passed = failed = number = 0
    killed: Counter[str] = Counter()
    going: dict[int, tuple[Path, str, int]] = {}
    """Process of a trial -> its run, its kind, and its most kills."""
    while True:
        left = kills - passed - failed - sum(most for _, _, most in going.values())
        if left > 0 and len(going) < jobs and time.monotonic() < end:
            name = [*kinds][number % len(kinds)]
            path, most = folder / f"{name}-{ranks}-{seed}-{number}", min(MOST_KILLS, left)
            work = partial(try_one, path, kinds[name], whole[name], most)
            going[fork(work, path.with_suffix(".log"))] = path, name, most
            number += 1
            continue
        if not going:
            break
        process, status = os.wait()
        path, name, _ = going.pop(process)
        trial = trial_of(path, status)
        killed.update(trial.killed)
        right, wrong_ones = (0, max(1, len(trial.killed))) if trial.wrong else (len(trial.killed), 0)
        passed, failed = passed + right, failed + wrong_ones
        lost = ", ".join(trial.killed) or "nothing"
        print(f"{passed + failed:4} {name} lost {lost}: {trial.wrong or 'identical'}", flush=True)
    print(", ".join(f"{count} of a {kind}" for kind, count in sorted(killed.items())))
    return passed, failed


def try_one(path: Path, settings: Sequence[str], whole: Undisturbed, most: int) -> int:
    """A disturbed run, unless an earlier call has had it; its result is in a file beside it."""
    file = path.with_suffix(".json")
    if file.exists():
        return 0
    shutil.rmtree(path, ignore_errors=True)  # an earlier call was stopped in the middle of it
    chance = random.Random(path.name)
    done, wrong = disturbed(path, settings, whole.seconds, chance, most)
    wrong = wrong or differences(path, whole.path) or unlike(path, whole.path)
    file.write_text(json.dumps({"killed": done, "wrong": wrong}))
    if not wrong:
        shutil.rmtree(path)
    return 0


def trial_of(path: Path, status: int) -> Trial:
    file = path.with_suffix(".json")
    if status or not file.exists():
        return Trial(
            [], f"the trial itself ended with {status}: {path.with_suffix('.log').read_text()[-800:]}"
        )
    return Trial(**json.loads(file.read_text()))


def words_of(path: Path, save_every: int, settings: Sequence[str]) -> list[str]:
    words = words_for(path, "grpo", save_every)
    return [*(word for word in words if not word.startswith("steps=")), f"steps={STEPS}", *settings]


def undisturbed(folder: Path, name: str, settings: Sequence[str]) -> Undisturbed:
    path, log, start = folder / name, folder / f"{name}.log", time.monotonic()
    if Layout(path).report.exists():
        return Undisturbed(path, float(Layout(path).report.with_suffix(".seconds").read_text()))
    words = words_of(path, 2, settings)
    code = finish(fork(lambda: command(words), log))
    assert code == 0, log.read_text()
    seconds = time.monotonic() - start
    Layout(path).report.with_suffix(".seconds").write_text(str(seconds))
    return Undisturbed(path, seconds)


def disturbed(
    path: Path, settings: Sequence[str], seconds: float, chance: random.Random, most: int
) -> tuple[list[str], str]:
    """Runs to the end through at most `most` kills; what was killed, and what went wrong."""
    words = words_of(path, chance.choice((1, 2, 3)), settings)
    log, done = path.with_suffix(".log"), list[str]()
    while True:
        now = ["train", "--resume", str(path)] if Layout(path).about.exists() else words
        child = fork(lambda now=now: command(now), log)  # type: ignore[misc]
        family = psutil.Process(child)
        seen: list[psutil.Process] = []
        code: int | None = None
        while code is None and len(done) < most:
            (kind,) = chance.choices([*VICTIMS], [*VICTIMS.values()])
            code = until_there(child, family, kind, seconds)
            if code is None:
                code = ended_within(child, chance.uniform(0, seconds / 3 if kind == "controller" else LATER))
            if code is None:
                seen = [*seen, *descendants(family)]
                done.append(kill(family, kind, chance))
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


def until_there(child: int, family: psutil.Process, kind: str, seconds: float) -> int | None:
    """Waits for a process of this kind; the exit code if the run ends before."""
    end, code = time.monotonic() + 2 * seconds, None
    while code is None and not by_kind(family)[kind] and time.monotonic() < end:
        code = ended_within(child, 0.05)
    return code


def by_kind(family: psutil.Process) -> dict[str, list[psutil.Process]]:
    found: dict[str, list[psutil.Process]] = {name: [] for name in VICTIMS}
    found["controller"].append(family)
    for one in descendants(family):
        with contextlib.suppress(psutil.NoSuchProcess):
            line, child = " ".join(one.cmdline()), one.ppid() == family.pid
            if "menon.assembly.ranks" in line:  # what ranks are forked from ends with them, and they with it
                found["rank"].append(one)
            elif "remote_sampler_process" in line:
                found["forkserver" if child else "sampler"].append(one)
    return found


def kill(family: psutil.Process, kind: str, chance: random.Random) -> str:
    """Kills a process of a kind, or the controller where there is none; what was killed."""
    found = by_kind(family)
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
