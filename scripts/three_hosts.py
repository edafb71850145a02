"""A run on three hosts through their failures: one host learns, two write, joined by Ray.

    python scripts/three_hosts.py [--steps 6] [--only sampler,link,learner]

The hosts are network namespaces of this machine on a bridge of their own; the script needs root and `ip`, and
removes all of them at the end. `menon cluster up` starts Ray on them. The run is `menon train grpo
placement=ray samplers=2` on the built-in base. It is disturbed in three ways:

- sampler: a sampler is killed in the middle of a step's text; the run must go on with another one;
- link: the cable of one sampler's host is pulled for 20 s; the run must go on;
- learner: the process that learns is killed; the run is resumed.

Each must be over within its stated deadline, and the weights after every step must be those of an undisturbed
run in one process. The last line is `N passed, N failed`.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from menon.record.layout import Layout
from menon.record.reader import RunView

ROOT = Path(__file__).resolve().parents[1]
BRIDGE, NETWORK = "mnbridge", "10.77.0"
HOSTS = ("mnlearner", "mnwriter1", "mnwriter2")
PORT = 6399
CUT = 20.0
"""Seconds without a link."""
DEADLINES = {"sampler": 120.0, "link": CUT + 120.0, "learner": 180.0}
"""Seconds from a failure to the end of the next step, on a busy machine (docs/cluster.md)."""
SETTINGS = (
    "threads=1",
    "device=cpu",
    "prompts_per_step=8",
    "samples_per_prompt=8",
    "heldout=8",
    "save_every=1",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", default=",".join(DEADLINES))
    asked = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="three-hosts-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        single = Run(folder / "single", asked.steps)
        single.start([])
        assert single.wait() == 0, single.said()
        with three_hosts(folder) as address:
            where = ["placement=ray", f"placement.address={address}", f"placement.interface={NETWORK}.10"]
            for kind in asked.only.split(","):
                run = Run(folder / kind, asked.steps)
                wrong = disturbed(kind, run, [*where, "samplers=2"], single)
                print(
                    f"{kind}: {wrong or 'the weights of every step are those of an undisturbed run'}",
                    flush=True,
                )
                passed, failed = (passed, failed + 1) if wrong else (passed + 1, failed)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


@dataclass
class Run:
    """A run of the command, its output in a file."""

    path: Path
    steps: int
    process: "subprocess.Popen[bytes] | None" = None
    words: list[str] = field(default_factory=list)

    def start(self, more: list[str], host: str = "") -> None:
        inside = ["ip", "netns", "exec", host] if host else []
        resumed = ["--resume", str(self.path)]
        new = ["grpo", f"out={self.path}", f"steps={self.steps}", *SETTINGS, *more]
        words = resumed if Layout(self.path).about.exists() else new
        with open(self.path.with_suffix(".log"), "ab") as log:
            self.process = subprocess.Popen(
                [*inside, sys.executable, "-m", "menon", "train", *words],
                env=environment(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def wait(self, seconds: float = 900.0) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def said(self) -> str:
        return self.path.with_suffix(".log").read_text()[-1500:]

    @property
    def done(self) -> int:
        """How many steps are done."""
        return len(self.fingerprints())

    def fingerprints(self) -> list[str]:
        file = Layout(self.path).metrics
        return [str(line["fingerprint"]) for line in RunView(self.path).metrics] if file.exists() else []

    def writers(self) -> list[int]:
        """The pids of the samplers that are writing, by the heartbeat file."""
        try:
            lines = json.loads(Layout(self.path).workers.read_text())["workers"]
        except (OSError, ValueError):
            return []
        return [line["pid"] for line in lines if line["pid"] and "write" in line["task"]]

    def until(self, holds: Callable[[], bool], seconds: float) -> float:
        """Seconds until it holds; raises if the run ends before, or it takes too long."""
        assert self.process is not None
        began = time.monotonic()
        while not holds():
            if self.process.poll() is not None and not holds():
                raise RuntimeError(f"the run has ended with {self.process.returncode}: {self.said()}")
            if time.monotonic() - began > seconds:
                raise RuntimeError(f"nothing for {seconds:.0f} s: {self.said()}")
            time.sleep(0.05)
        return time.monotonic() - began


def disturbed(kind: str, run: Run, settings: list[str], single: Run) -> str:
    """What went wrong; "" if nothing did."""
    try:
        run.start(settings, HOSTS[0])
        run.until(lambda: run.done >= 1, 400.0)
        run.until(lambda: len(run.writers()) > 0, 200.0)
        before = run.done
        took = failure(kind, run, settings, before)
        if took > DEADLINES[kind]:
            return f"healed after {took:.0f} s, and the deadline is {DEADLINES[kind]:.0f} s"
        print(f"{kind}: the next step was done {took:.1f} s after the failure", flush=True)
        if (code := run.wait()) != 0:
            return f"exit code {code}: {run.said()}"
    except RuntimeError as error:
        return str(error)
    finally:
        if run.process is not None and run.process.poll() is None:
            run.process.kill()
            run.process.wait()
    return "" if run.fingerprints() == single.fingerprints() else "the weights of a step differ"


def failure(kind: str, run: Run, settings: list[str], before: int) -> float:
    """Makes a failure happen; seconds from it until the next step is done."""
    assert run.process is not None
    began = time.monotonic()
    if kind == "sampler":
        os.kill(run.writers()[0], signal.SIGKILL)
    elif kind == "link":
        ip("link", "set", f"{HOSTS[1]}-b", "down")
        time.sleep(CUT)
        ip("link", "set", f"{HOSTS[1]}-b", "up")
    else:
        run.process.kill()
        run.process.wait()
        run.start(settings, HOSTS[0])
    run.until(lambda: run.done > before, DEADLINES[kind] + 60.0)
    return time.monotonic() - began


@contextlib.contextmanager
def three_hosts(folder: Path) -> Iterator[str]:
    """Three hosts with Ray on them; the address of its head."""
    remove()
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for place, host in enumerate(HOSTS):
            ip("netns", "add", host)
            ip("link", "add", f"{host}-b", "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("link", "set", f"{host}-b", "master", BRIDGE, "up")
            ip("-n", host, "addr", "add", f"{NETWORK}.{10 + place}/24", "dev", "eth0")
            ip("-n", host, "link", "set", "eth0", "up")
            ip("-n", host, "link", "set", "lo", "up")
        named = [f"{host}/{NETWORK}.{10 + place}" for place, host in enumerate(HOSTS)]
        up = ["cluster", "up", *named, "reach=ip netns exec {host}", f"port={PORT}", "cpus=1", "head_cpus=0"]
        subprocess.run([sys.executable, "-m", "menon", *up], check=True, env=environment())
        yield f"{NETWORK}.10:{PORT}"
    finally:
        remove()


def remove() -> None:
    """Ends what runs in the namespaces, and removes them."""
    for host in HOSTS:
        found = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True)
        for pid in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", host], capture_output=True)
        subprocess.run(["ip", "link", "del", f"{host}-b"], capture_output=True)
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def environment() -> dict[str, str]:
    threads = {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
    }
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    return os.environ | threads | {"RAY_AUTH_MODE": "token"} | {"PYTHONPATH": path}


if __name__ == "__main__":
    sys.exit(main())
