"""The memory of a run's processes, measured beside what `menon explain` says.

    python benchmarks/cluster_memory.py FOLDER [case=NAME] [model=FOLDER] [vllm=PYTHON_OF_VLLM]

Each case is a run of three steps by the real command; FOLDER keeps what was measured, and a case that is
there is not run again. The proportional set size of every process (pages that several share are divided among
them, so that the sizes add up) is read ten times a second. Prints, for each kind of process and for all
together, the peak that was measured, what is said, and their ratio.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"steps": 3, "heldout": 2, "report_questions": 0, "save_every": 0, "threads": 1, "seed": 0}
BASE = {"model": "base", "prompts_per_step": 16, "max_new_tokens": 64}
LARGE = {
    "prompts_per_step": 4,
    "samples_per_prompt": 4,
    "max_new_tokens": 48,
    "slots": 16,
    "tokens_per_forward": 512,
}
CASES: dict[str, dict[str, Any]] = {
    "base, ranks=1": BASE,
    "base, ranks=2": {**BASE, "ranks": 2},
    "base, ranks=4": {**BASE, "ranks": 4},
    "base, ranks=2, reference": {**BASE, "ranks": 2, "reference": "frozen"},
    "base, samplers=1": {**BASE, "samplers": 1},
    "base, samplers=2": {**BASE, "samplers": 2},
    "base, ranks=2, samplers=2, Ray": {**BASE, "ranks": 2, "samplers": 2, "placement": "ray"},
    "base, vLLM": {**BASE, "sampler": "vllm", "sampler.cache_gib": 0.5},
    "base, ranks=2, Ray, vLLM": {
        **BASE,
        "ranks": 2,
        "placement": "ray",
        "sampler": "vllm",
        "sampler.cache_gib": 0.5,
    },
    "135M, ranks=1": LARGE,
    "135M, ranks=2": {**LARGE, "ranks": 2},
    "135M, ranks=2, reference": {**LARGE, "ranks": 2, "reference": "frozen"},
    "135M, samplers=1": {**LARGE, "samplers": 1},
}
RAY = ("raylet", "gcs_server", "ray::", "/ray/", "ray/_private", "ray/dashboard")


def kind_of(line: str, pid: int, run: int) -> str:
    """Which of the run's processes has this command line."""
    if pid == run:
        return "the run's own process"
    for words, kind in (
        ("vllm_process", "vLLM"),
        ("remote_sampler_process", "sampler"),
        ("assembly.ranks", "rank"),
    ):
        if words in line:
            return kind
    return "Ray" if any(word in line for word in RAY) else "other"


def held(run: psutil.Process) -> Iterator[tuple[int, str, int]]:
    """(process, its kind, its proportional set size) of all of a run's processes. What ranks and samplers are
    forked from has their command line, and is a child of the run."""
    with suppress(psutil.NoSuchProcess):
        for one in (run, *run.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                kind = kind_of(" ".join(one.cmdline()), one.pid, run.pid)
                forks = kind in ("rank", "sampler") and one.ppid() == run.pid
                yield one.pid, "forkserver" if forks else kind, one.memory_full_info().pss


def by_kind(found: Sequence[tuple[int, str, int]]) -> dict[str, float]:
    """Bytes of the largest process of each kind, of all of Ray's, and of all together."""
    sizes: dict[str, float] = {"all": sum(size for _, _, size in found)}
    for _, kind, size in found:
        one = sizes.get(kind, 0)
        sizes[kind] = one + size if kind in ("Ray", "other") else max(one, size)
    return sizes


def measured(out: Path, settings: dict[str, Any]) -> dict[str, float]:
    """Peaks in bytes: of the largest process of each kind, and of all processes together."""
    result = out.with_suffix(".json")
    if result.exists():
        return dict(json.loads(result.read_text()))
    words = [f"{key}={value}" for key, value in settings.items()]
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    peaks: dict[str, float] = {"all": 0.0}
    with open(out.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "menon", "train", "grpo", *words, f"out={out}"],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )
        run = psutil.Process(process.pid)
        while process.poll() is None:
            for kind, bytes_of_kind in by_kind(list(held(run))).items():
                peaks[kind] = max(peaks.get(kind, 0), bytes_of_kind)
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(out.with_suffix(".log").read_text()[-1500:])
    result.write_text(json.dumps(peaks))
    return peaks


def said(settings: dict[str, Any]) -> dict[str, float]:
    """What `menon explain` says, by the same names."""
    from menon.assembly.derived import size_of_model
    from menon.assembly.memory import Needs, processes, together
    from menon.config import changed
    from menon.recipes import recipe
    from menon.settings import nested

    config = changed(recipe("grpo"), nested(settings))
    shape = size_of_model(settings["model"])
    assert shape is not None
    run = Needs.of(config)
    found = processes(run, shape)
    return {**{one.name: one.size for one in found}, "all": together(run, found)}


def main() -> None:
    where, *words = sys.argv[1:]
    folder, given = Path(where), dict(word.split("=", 1) for word in words)
    folder.mkdir(parents=True, exist_ok=True)
    print("| case | process | measured | said | measured / said |")
    print("| -- | -- | -- | -- | -- |")
    for name, more in CASES.items():
        settings = {**SETTINGS, **({"model": given.get("model", "")} if "135M" in name else {}), **more}
        if more.get("sampler") == "vllm":
            settings["sampler.python"] = given.get("vllm", "")
        if not settings["model"] or settings.get("sampler.python") == "" or given.get("case", name) != name:
            continue
        found = measured(folder / name.replace(", ", "_").replace(" ", ""), settings)
        formula = {} if "measure" in given else said(settings)
        for kind, size in found.items():
            other = formula.get(kind, 0)
            ratio = f"{size / other:.2f}" if other else ""
            print(
                f"| {name} | {kind} | {size / 2**30:.2f} GiB | {other / 2**30:.2f} GiB | {ratio} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
