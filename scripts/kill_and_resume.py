"""Kills runs with SIGKILL at random instants, resumes them, and checks that the result is the same as without
a stop.

    python scripts/kill_and_resume.py --kills 200

Real runs by the real command (`menon train`, `menon train --resume`) on a tiny random model: a recipe, a
reward in a process of its own, checkpoints every one to three steps. A kill may hit anything from the
building of the run to the middle of a checkpoint, and one run may be killed several times. Afterwards metrics
(without times), evaluations, transcripts and the last checkpoint (weights, optimiser, everything) must be
those of an unbroken run, byte for byte. One kill counts as one test.

A session is a fork of this process, which has imported everything and done nothing: it has one thread, no
tensor, and has drawn no random number. So the child is where a new interpreter would be after its imports,
without the seconds that they take. Killing it is killing a whole process: only its files outlive it. It is
also checked that a fork is equivalent to a new interpreter: the first recipe's unbroken run is repeated by a
new interpreter, and must be the same.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from menon.record.layout import Layout
from menon.record.reader import RunView

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("grpo", "ppo", "reinforce", "calculator")
SETTINGS = {
    "threads": 1,
    "device": "cpu",
    "steps": 6,
    "prompts_per_step": 3,
    "samples_per_prompt": 4,
    "max_new_tokens": 8,
    "heldout": 4,
    "evaluate_every": 3,
}
MOST_KILLS = 3
"""Most kills of one run."""
REWARD = '''
def even(prompt, completion, answer, **columns):
    """A random model earns it about every other time."""
    return float(len(completion.encode()) % 2 == 0)
'''


@dataclass(frozen=True)
class Unbroken:
    path: Path
    seconds: float
    """Seconds of the whole run in a forked process."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory(prefix="kill-and-resume-", ignore_cleanup_errors=True) as name:
        passed, failed = try_all(Path(name), asked.kills, random.Random(asked.seed))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def warm_up() -> None:
    """Imports what a run imports. The thread settings must be there before torch is."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH")))
    )
    sys.path.insert(0, str(ROOT / "src"))
    import transformers.models.qwen3.modeling_qwen3  # noqa: F401

    import menon.assembly.build
    import menon.study.report  # noqa: F401

    # The allocator of pyarrow has a thread that looks after itself in a fork; any other one would be missing
    # in the child.
    threads = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    assert len([name for name in threads if not name.startswith("jemalloc")]) <= 1, threads


def try_all(folder: Path, kills: int, chance: random.Random) -> tuple[int, int]:
    assert finish(fork(lambda: make_inputs(folder), folder / "log")) == 0, (folder / "log").read_text()
    unbroken = {recipe: run_unbroken(folder, recipe, fresh=recipe == RECIPES[0]) for recipe in RECIPES}
    passed = failed = number = 0
    while passed + failed < kills:
        recipe = RECIPES[number % len(RECIPES)]
        path = folder / f"{recipe}-{number}"
        most = min(MOST_KILLS, kills - passed - failed)
        instants, wrong = run_broken(path, recipe, unbroken[recipe].seconds, chance, most)
        wrong = wrong or differences(path, unbroken[recipe].path)
        print(
            f"{recipe:<10} killed at {', '.join(instants) or 'no time'}: {wrong or 'identical'}", flush=True
        )
        number += 1
        if wrong:
            failed += max(1, len(instants))
        else:
            passed += len(instants)
    return passed, failed


def make_inputs(folder: Path) -> int:
    """A random model of a few thousand weights, questions, a reward."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from menon.base import tokenizer
    from menon.engines.hf_models import export

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=tokenizer.VOCABULARY,
        eos_token_id=tokenizer.END_ID,
        bos_token_id=None,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    export(Qwen3ForCausalLM(config), tokenizer.build(64), folder / "model")
    rows = [{"question": f"{i}+{i + 1}=", "answer": str(2 * i + 1)} for i in range(40)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "reward.py").write_text(REWARD)
    return 0


def words_for(path: Path, recipe: str, save_every: int) -> list[str]:
    folder = path.parent
    inputs = {
        "model": folder / "model",
        "data": folder / "data.jsonl",
        "reward": f"{folder / 'reward.py'}:even",
    }
    settings = {"out": path, "save_every": save_every, **inputs, **SETTINGS}
    return ["train", recipe, *(f"{name}={value}" for name, value in settings.items())]


def run_unbroken(folder: Path, recipe: str, fresh: bool) -> Unbroken:
    path, log = folder / recipe, folder / f"{recipe}.log"
    start = time.monotonic()
    code = finish(fork(lambda: command(words_for(path, recipe, 2)), log))
    seconds = time.monotonic() - start
    assert code == 0, log.read_text()
    if fresh:
        other = folder / f"{recipe}-fresh"
        subprocess.run(
            [sys.executable, "-m", "menon", *words_for(other, recipe, 2)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        assert not (wrong := differences(path, other)), f"a fork is not as good as a new interpreter: {wrong}"
    return Unbroken(path, seconds)


def run_broken(
    path: Path, recipe: str, seconds: float, chance: random.Random, most: int
) -> tuple[list[str], str]:
    """Runs to the end through at most `most` kills; their instants, and what the command said if it
    failed."""
    words = words_for(path, recipe, chance.choice((1, 2, 3)))
    log = path.with_suffix(".log")
    instants: list[str] = []
    while True:
        # A kill can come before there is a run to go on with; then it is started again.
        now = ["train", "--resume", str(path)] if Layout(path).about.exists() else words
        child = fork(lambda now=now: command(now), log)  # type: ignore[misc]
        instant = chance.uniform(0, seconds) if len(instants) < most else None
        code = finish(child, instant)
        if code == -signal.SIGKILL:
            instants.append(f"{instant:.2f} s")
        else:
            return instants, "" if code == 0 else f"exit code {code}: {log.read_text()[-500:]}"


def command(words: list[str]) -> int:
    from menon.cli import main

    return main(words)


def fork(work: Callable[[], int], log: Path) -> int:
    """The number of a child process that does the work and writes to the log."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        with open(log, "a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finish(child: int, kill_after: float | None = None) -> int:
    """Waits for the child; returns its exit code, or minus the signal's number if it was killed."""
    end = None if kill_after is None else time.monotonic() + kill_after
    while end is not None and time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.002, max(0.0, end - time.monotonic())))
    if end is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def differences(path: Path, other: Path) -> str:
    """Names of the differences between two run folders; "" if they are identical."""
    one, two = traces(path), traces(other)
    return ", ".join(sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name)))


def traces(path: Path) -> dict[str, object]:
    """The results of a run: metrics without times, and the bytes of evaluations, transcripts, their indices
    and the last checkpoint."""
    layout = Layout(path)
    metrics = [
        {key: value for key, value in line.items() if not key.startswith(("time/", "memory/"))}
        for line in RunView(path).metrics
    ]
    files = [
        layout.evaluations,
        *layout.indices,
        *layout.transcripts.iterdir(),
        *(file for file in layout.latest.resolve().rglob("*") if file.is_file()),
    ]
    return {layout.metrics.name: metrics} | {
        str(file.resolve().relative_to(path.resolve())): content(file) for file in files
    }


def content(file: Path) -> object:
    """The bytes of a file. Of a rank's parts the table of names as JSON and the bytes of the numbers: the
    library that writes them puts the names in any order. So the seal is compared without these files."""
    data = file.read_bytes()
    if file.parent.name == "parts" and file.suffix == ".safetensors":
        end = 8 + int.from_bytes(data[:8], "little")
        return json.loads(data[8:end]), data[end:]
    if file.name == "files.json":
        return without_parts(json.loads(data))
    return data


def without_parts(sealed: object) -> object:
    """What a seal says of all files but a rank's parts."""
    if isinstance(sealed, dict):
        return {name: without_parts(value) for name, value in sealed.items() if "parts/" not in name}
    return sealed


if __name__ == "__main__":
    sys.exit(main())
