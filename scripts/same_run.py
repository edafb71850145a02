"""Compares the training runs of two checkouts bit for bit: proof that a change does not alter training.

    python scripts/same_run.py OLD NEW [RECIPE ...]

OLD and NEW are checkouts of this project; OLD is usually a `git worktree` of the commit before the change.
Each recipe is trained for a few steps with two seeds by the real command (`python -m menon train`), once
from OLD and once from NEW, and the two run folders are compared:

- metrics.jsonl and evaluations.jsonl: every value that does not measure the clock or the machine (`MACHINE`);
- transcripts and the answers of evaluations: every column of every row (two NaN are equal, 0 and -0 are not);
- the last checkpoint: every byte of every tensor: weights of all models, moments of optimisers, other state.

A name that only one of the two has is a difference as well, unless it was decided on (`RENAMED`, `ADDED`).
Settings in run.json, the report and what a checkpoint holds besides tensors are not compared. For each
recipe and seed one line says `identical`, or names the earliest difference and counts the other names that
differ. A run that fails counts as different. The last line is `identical=N different=N`; the exit code is 0
if nothing differs.

A checkout runs in its own `.venv` if it has one, otherwise with the interpreter that runs this script. Its
`src` comes first on the path, so that an editable installation of another checkout is not used by accident;
this is checked before each run. The comparison reads files only and imports nothing of either checkout.
"""

import argparse
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

HELP = """Trains each RECIPE for a few steps with two seeds from the checkouts OLD and NEW and compares
metrics, transcripts and final weights bit for bit. Prints one line for each recipe and seed and then
identical=N different=N; the exit code is 0 if nothing differs."""

_OLD_STATE, _STATE = ("checkpoint:state/tensors.safetensors:state." + word for word in ("memory.", ""))
RENAMED: dict[str, str] = {
    # The host of the models writes its own files; a recorder writes the state of source and parts.
    f"{_STATE}learners.": "checkpoint:state/optimisers.safetensors:state.learners.",
    # A rollout's state belongs to its source, the others are those of the parts.
    f"{_OLD_STATE}/rollout.": f"{_STATE}source.rollout.",
    _OLD_STATE: f"{_STATE}parts.",
}
"""Names of OLD -> names of NEW, where a new name was decided on. A name is the kind of table and the column
in it: `metrics:loss/policy`, `evaluations:accuracy`, `transcripts:behaviour_logp` (of evaluations as well),
and `checkpoint:state/critic.safetensors:head.weight` for a tensor. An entry that ends in `/`, `.` or `:`
stands for all names that begin with it. Write the reason beside each entry. The values are compared as
before."""

ADDED: tuple[str, ...] = (
    # The text of each token, so that no reader has to decode tokens (docs/run_folder.md).
    "transcripts:text",
    "transcripts:text_start",
    # Groups whose rewards differ, also where no correctness is known (docs/metrics.md).
    "metrics:groups/varied",
    # Reward beside accuracy, each with the ends of its interval, and the best of the probe (18.2).
    *(f"evaluations:reward{end}" for end in ("", "_low", "_high")),
    "evaluations:accuracy_low",
    "evaluations:accuracy_high",
    "evaluations:best_reward",
    "evaluations:best_reward_temperature",
)
"""Names that only NEW has because a new column or metric was decided on; written as in `RENAMED`, with the
reason."""

MACHINE = ("metrics:time/", "metrics:memory/")
"""Not compared: the seconds of each stage (`record.clock`) and the memory in use (`record.memory`), which
differ between two runs of the same code. Nothing else in the compared files measures the clock or the
machine."""

SEEDS = (0, 1)
DEFAULT = ("grpo", "ppo", "spo_tree", "calculator", "dapo", "trpo", "kl_cov")
COMMON = {
    "steps": 3,
    "prompts_per_step": 4,
    "samples_per_prompt": 4,
    "max_new_tokens": 48,
    "heldout": 16,
    "report_questions": 0,
    "threads": 2,  # a second process that samples, and two passes of the learner at a time
    "device": "cpu",
}
ALONE: dict[str, Any] = {"fixed_slots": "true", "slots": 16}
"""For turns and trees. One checkout may wait for the slowest answer of a round where another goes on at once,
so other sequences are computed beside an answer; with fixed slots its bits do not depend on them. They do
depend on how many slots a process has (each of the two has 8 here), and on neighbours again where a process
computes with several threads that divide its slots unevenly (which no process of a small model does)."""
OWN: dict[str, dict[str, Any]] = {
    "calculator": ALONE,
    # Edges that wait in one step are trained in later ones.
    "spo_tree": ALONE | {"samples_per_prompt": 1, "steps": 4},
    "spo_chain": ALONE,
    "vineppo": ALONE,
    "dapo": {"max_new_tokens": 96},  # the room that the recipe's penalty for long answers is set for
}
"""Settings that differ from `COMMON`, by recipe."""
TIME_LIMIT = 900
"""Seconds for one run."""


# Two runs


def main() -> int:
    parser = argparse.ArgumentParser(description=HELP)
    parser.add_argument("old", type=Path, metavar="OLD")
    parser.add_argument("new", type=Path, metavar="NEW")
    parser.add_argument("recipes", nargs="*", default=DEFAULT, metavar="RECIPE")
    asked = parser.parse_args()
    for checkout in (asked.old, asked.new):
        if not (checkout / "src" / "menon" / "__init__.py").is_file():
            parser.error(f"{checkout} holds no src/menon; name the folder of a checkout")
    count = {True: 0, False: 0}
    for recipe in asked.recipes:
        for seed in SEEDS:
            verdict = try_one(asked.old.resolve(), asked.new.resolve(), recipe, seed)
            count[not verdict] += 1
            print(f"{recipe:<12} seed {seed}  {verdict or 'identical'}", flush=True)
    print(f"identical={count[True]} different={count[False]}")
    return 1 if count[False] else 0


def try_one(old: Path, new: Path, recipe: str, seed: int) -> str:
    """The first difference between the two runs of a recipe with a seed; "" if they are identical."""
    with tempfile.TemporaryDirectory(prefix="same-run-", ignore_cleanup_errors=True) as name:
        folders = {"OLD": Path(name) / "old", "NEW": Path(name) / "new"}
        # Both at a time: much of a short run is imports, which use one core.
        with ThreadPoolExecutor(2) as pool:
            runs = [
                pool.submit(trained, checkout, folder, recipe, seed)
                for checkout, folder in zip((old, new), folders.values(), strict=True)
            ]
        failed = [
            f"{side} failed: {fault}"
            for side, run in zip(folders, runs, strict=True)
            if (fault := run.result())
        ]
        if failed:
            return f"different: {'; '.join(failed)}"
        return compare(folders["OLD"] / "run", folders["NEW"] / "run")


def trained(checkout: Path, folder: Path, recipe: str, seed: int) -> str:
    """Trains a recipe from a checkout; the run folder is `folder / "run"`. Gives the last line of its error,
    "" if it succeeded."""
    folder.mkdir()
    settings = COMMON | OWN.get(recipe, {}) | {"seed": seed, "out": folder / "run"}
    words = [f"{name}={value}" for name, value in settings.items()]
    try:
        # `-c` and `-m` both put the working folder first on the path, so one finds what the other finds.
        found = python(checkout, folder, "-c", "import menon; print(menon.__file__)")
        if found.returncode:
            return last_line(found)
        place = Path(found.stdout.strip()).resolve()
        if not place.is_relative_to(checkout / "src"):
            return f"menon is imported from {place} and not from {checkout}"
        ran = python(checkout, folder, "-m", "menon", "train", recipe, *words)
    except subprocess.TimeoutExpired:
        return f"it took longer than {TIME_LIMIT} s"
    return last_line(ran) if ran.returncode else ""


def python(checkout: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder as a checkout has it."""
    own = checkout / ".venv" / "bin" / "python"
    command = [str(own if own.exists() else sys.executable), *words]
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OMP_", "MKL_"))
    }
    where = kept | {"PYTHONPATH": str(checkout / "src")}
    return subprocess.run(command, env=where, cwd=folder, capture_output=True, text=True, timeout=TIME_LIMIT)


def last_line(ran: subprocess.CompletedProcess[str]) -> str:
    """The last line of a failed command's output."""
    lines = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
    return lines[-1].strip() if lines else f"exit code {ran.returncode}"


# Two run folders


@dataclass(frozen=True)
class Tensor:
    dtype: str
    """As safetensors names it."""
    shape: tuple[int, ...]
    data: bytes


MISSING = "(nothing)"
"""In place of a value that a line does not have."""


KINDS = ("metrics", "evaluations", "transcripts", "checkpoint")


@dataclass(frozen=True)
class Table:
    """One file of a run folder; of a checkpoint all its files, with one row."""

    kind: str
    """One of `KINDS`."""
    columns: dict[str, list[Any]]
    """Name -> a value for each row: a number, a text, a list of values, a Tensor, or MISSING."""
    types: dict[str, str]
    """Name -> the type of a column, where the file states one."""
    step: float | None = None
    """The step that the file is about; None: each row says its own."""

    def step_of(self, row: int) -> float:
        return float(self.columns["step"][row]) if self.step is None else self.step

    def row_name(self, row: int) -> str:
        if self.kind == "checkpoint":
            return ""
        return f"step {self.columns['step'][row]}, " if self.step is None else f"row {row}, "


@dataclass(frozen=True)
class Difference:
    step: float
    what: str


def compare(old: Path, new: Path) -> str:
    """The first difference between two run folders; "" if there is none."""
    tables, others = tables_of(old), tables_of(new)
    for side, found in (("OLD", tables), ("NEW", others)):
        if absent := [kind for kind in KINDS if kind not in {table.kind for table in found.values()}]:
            return f"different: the run of {side} left no {absent[0]}"
    files = [*tables, *(file for file in others if file not in tables)]
    differ = [one for file in files for one in in_file(file, tables.get(file), others.get(file))]
    if not differ:
        return ""
    first = min(differ, key=lambda one: one.step)  # of equal ones the one that comes first
    return f"different: {first.what}" + (f" (and {len(differ) - 1} more)" if len(differ) > 1 else "")


def in_file(file: str, old: Table | None, new: Table | None) -> Iterator[Difference]:
    """One for each name that differs, with the first row of it that does. Not both are None."""
    if old is None or new is None:
        table, side = (old, "OLD") if old is not None else (new, "NEW")
        assert table is not None
        yield Difference(table.step_of(0), f"{file} exists only in {side}")
        return
    pairs = {name: new_name(old.kind, name) for name in old.columns}
    for before, name in pairs.items():
        if not covered(f"{old.kind}:{before}", MACHINE):
            yield from in_column(file, old, new, before, name)
    for name in new.columns:
        if name not in pairs.values() and not covered(f"{new.kind}:{name}", (*MACHINE, *ADDED)):
            yield Difference(new.step_of(0), f"{file}, {name} exists only in NEW")


def in_column(file: str, old: Table, new: Table, before: str, name: str) -> Iterator[Difference]:
    """At most one: of a column that OLD calls `before` and NEW `name`."""
    if name not in new.columns:
        yield Difference(old.step_of(0), f"{file}, {before} exists only in OLD")
        return
    if old.types.get(before) != new.types.get(name):
        what = f"{file}, {name} is {old.types.get(before)} in OLD and {new.types.get(name)} in NEW"
        yield Difference(old.step_of(0), what)
        return
    one, other = old.columns[before], new.columns[name]
    for row, values in enumerate(zip(one, other, strict=False)):
        if (found := first_difference(*values)) is not None:
            place, here, there = found
            what = f"{file}, {old.row_name(row)}{name}{place}: {here} in OLD, {there} in NEW"
            yield Difference(old.step_of(row), what)
            return
    if len(one) != len(other):
        row, longer = min(len(one), len(other)), old if len(one) > len(other) else new
        yield Difference(
            longer.step_of(row), f"{file}, {name} has {len(one)} rows in OLD, {len(other)} in NEW"
        )


def first_difference(one: Any, other: Any) -> tuple[str, Any, Any] | None:
    """Where within two values, and what stands there; None: they are the same to the bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return None if one == other else in_tensor(one, other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        for place, values in enumerate(zip(one, other, strict=False)):
            if (found := first_difference(*values)) is not None:
                return f"[{place}]{found[0]}", *found[1:]
        return None if len(one) == len(other) else (" (length)", len(one), len(other))
    if isinstance(one, float) and isinstance(other, float):
        same = math.isnan(one) == math.isnan(other) and (math.isnan(one) or bits(one) == bits(other))
    else:
        same = type(one) is type(other) and one == other
    return None if same else ("", repr(one), repr(other))


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def in_tensor(one: Tensor, other: Tensor) -> tuple[str, str, str]:
    """The first element of two tensors that differs, with both values."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return "", f"{one.dtype} {list(one.shape)}", f"{other.dtype} {list(other.shape)}"
    size = len(one.data) // math.prod(one.shape)
    here, there = (np.frombuffer(tensor.data, dtype=np.uint8).reshape(-1, size) for tensor in (one, other))
    place = int((here != there).any(1).argmax())
    index = [int(i) for i in np.unravel_index(place, one.shape)]
    return str(index or ""), element(one.dtype, here[place]), element(one.dtype, there[place])


def element(dtype: str, data: np.ndarray) -> str:
    """A number of a tensor from its bytes; in hexadecimal where numpy does not know its type."""
    known = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}
    if dtype == "BF16":
        dtype, data = "F32", np.concatenate([np.zeros(2, dtype=np.uint8), data])
    return str(data.view(known[dtype])[0]) if dtype in known else data.tobytes().hex()


# Names


def new_name(kind: str, name: str) -> str:
    """The column of NEW that holds what OLD calls `name`."""
    whole = f"{kind}:{name}"
    for old, new in RENAMED.items():
        if covered(whole, (old,)):
            return (new + whole.removeprefix(old)).partition(":")[2]
    return name


def covered(name: str, entries: Iterable[str]) -> bool:
    return any(name == entry or (entry[-1] in "/.:" and name.startswith(entry)) for entry in entries)


# Files


def tables_of(run: Path) -> dict[str, Table]:
    """Name of a file -> what is in it, in the order in which a step writes them."""
    found: dict[str, Table] = {}
    for folder in ("transcripts", "evaluations"):
        for file in sorted((run / folder).glob("step_*.parquet")):
            columns, types = parquet(file)
            step = float(file.stem.removeprefix("step_"))
            found[f"{folder}/{file.name}"] = Table("transcripts", columns, types, step)
    for kind in ("metrics", "evaluations"):
        if (run / f"{kind}.jsonl").exists():
            found[f"{kind}.jsonl"] = Table(kind, json_lines(run / f"{kind}.jsonl"), {})
    latest = (run / "checkpoints" / "latest").resolve()
    tensors: dict[str, list[Any]] = {}
    for file in sorted(latest.rglob("*.safetensors")):
        name = file.relative_to(latest)
        tensors |= {f"{name}:{tensor}": [value] for tensor, value in safetensors(file).items()}
    return found | ({"checkpoints/latest": Table("checkpoint", tensors, {}, math.inf)} if tensors else {})


def json_lines(path: Path) -> dict[str, list[Any]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, MISSING) for row in rows] for name in names}


def parquet(path: Path) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Columns and their types."""
    table = pq.read_table(path)
    return table.to_pydict(), {field.name: str(field.type) for field in table.schema}


def safetensors(path: Path) -> dict[str, Tensor]:
    """Read by hand, for the bytes: a length, a header in JSON, the data."""
    raw = path.read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:begin])
    found = {}
    for name, about in header.items():
        if name != "__metadata__":
            first, end = about["data_offsets"]
            found[name] = Tensor(about["dtype"], tuple(about["shape"]), raw[begin + first : begin + end])
    return found


if __name__ == "__main__":
    sys.exit(main())
