"""Two run folders are the same to the last bit, or the first thing that differs is named."""

import importlib.util
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PATH = Path(__file__).parents[1] / "scripts" / "same_run.py"
SPEC = importlib.util.spec_from_file_location("same_run", PATH)
assert SPEC is not None
assert SPEC.loader is not None
same_run = importlib.util.module_from_spec(SPEC)
sys.modules["same_run"] = same_run  # dataclasses look their module up
SPEC.loader.exec_module(same_run)

NEXT = 0.30000000000000004
"""The number after 0.3."""
METRICS: list[dict[str, Any]] = [
    {"step": 1, "loss/policy": 0.3, "time/step": 1.0, "memory/gib": 2.0},
    {"step": 2, "loss/policy": -0.0, "cov/mean": float("nan"), "time/step": 3.0, "memory/gib": 2.0},
]
ROWS: dict[str, Any] = {
    "step": [2, 2],
    "completion": ["3", "14"],
    "score": [1.0, float("nan")],
    "behaviour_logp": pa.array([[-0.5], [-0.25, -1.5]], pa.large_list(pa.float32())),
}
WEIGHTS = {"head.weight": ("F32", [2, 1], struct.pack("<2f", 1.0, -2.0)), "mask": ("U8", [0], b"")}


def write_tensors(path: Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def run(
    folder: Path,
    metrics: list[dict[str, Any]] = METRICS,
    rows: dict[str, Any] = ROWS,
    weights: dict[str, tuple[str, list[int], bytes]] = WEIGHTS,
) -> Path:
    """A run folder of two steps, made by hand."""
    last = folder / "checkpoints" / "step_000002"
    for path in (last / "state", folder / "transcripts", folder / "evaluations"):
        path.mkdir(parents=True)
    (folder / "checkpoints" / "latest").symlink_to("step_000002")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    (folder / "evaluations.jsonl").write_text(json.dumps({"step": 2, "accuracy": 0.5}) + "\n")
    pq.write_table(pa.table(rows), folder / "transcripts" / "step_000002.parquet")
    pq.write_table(
        pa.table({"step": [2], "completion": ["7"]}), folder / "evaluations" / "step_000002.parquet"
    )
    write_tensors(last / "model.safetensors", weights)
    write_tensors(last / "state" / "critic.safetensors", {"bias": ("BF16", [1], b"\x80\x3f")})
    return folder


def second_line(**changes: Any) -> list[dict[str, Any]]:
    return [METRICS[0], METRICS[1] | changes]


def test_equal_runs_but_for_the_clock_and_the_machine(tmp_path):
    other = [{**line, "time/step": 9.0, "time/rollout": 1.0, "memory/gib": 3.0} for line in METRICS]
    assert same_run.compare(run(tmp_path / "a"), run(tmp_path / "b", metrics=other)) == ""


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"metrics": [METRICS[0] | {"loss/policy": NEXT}, METRICS[1]]},
            f"metrics.jsonl, step 1, loss/policy: 0.3 in OLD, {NEXT} in NEW",
        ),
        (
            {"metrics": second_line(**{"loss/policy": 0.0})},
            "metrics.jsonl, step 2, loss/policy: -0.0 in OLD, 0.0 in NEW",
        ),
        (
            {"metrics": second_line(**{"cov/mean": 0.5})},
            "metrics.jsonl, step 2, cov/mean: nan in OLD, 0.5 in NEW",
        ),
        ({"metrics": second_line(extra=1.0)}, "metrics.jsonl, extra exists only in NEW"),
        ({"metrics": METRICS[:1]}, "metrics.jsonl, cov/mean exists only in OLD (and 2 more)"),
        (
            {"rows": ROWS | {"completion": ["3", "15"]}},
            "transcripts/step_000002.parquet, row 1, completion: '14' in OLD, '15' in NEW",
        ),
        (
            {
                "rows": ROWS
                | {"behaviour_logp": pa.array([[-0.5], [-0.25, -1.75]], pa.large_list(pa.float32()))}
            },
            "transcripts/step_000002.parquet, row 1, behaviour_logp[1]: -1.5 in OLD, -1.75 in NEW",
        ),
        (
            {"rows": ROWS | {"behaviour_logp": pa.array([[-0.5], [-0.25]], pa.large_list(pa.float32()))}},
            "transcripts/step_000002.parquet, row 1, behaviour_logp (length): 2 in OLD, 1 in NEW",
        ),
        (
            {"rows": {name: values for name, values in ROWS.items() if name != "score"}},
            "transcripts/step_000002.parquet, score exists only in OLD",
        ),
        (
            {"rows": ROWS | {"step": pa.array([2, 2], pa.int32())}},
            "transcripts/step_000002.parquet, step is int64 in OLD and int32 in NEW",
        ),
        (
            {"weights": WEIGHTS | {"head.weight": ("F32", [2, 1], struct.pack("<2f", 1.0, -2.0000002))}},
            "checkpoints/latest, model.safetensors:head.weight[1, 0]: -2.0 in OLD, -2.0000002 in NEW",
        ),
        (
            {"weights": WEIGHTS | {"head.weight": ("F32", [1, 2], struct.pack("<2f", 1.0, -2.0))}},
            "checkpoints/latest, model.safetensors:head.weight: F32 [2, 1] in OLD, F32 [1, 2] in NEW",
        ),
        (
            {"weights": {"mask": WEIGHTS["mask"]}},
            "checkpoints/latest, model.safetensors:head.weight exists only in OLD",
        ),
    ],
)
def test_the_first_difference_is_named(tmp_path, changed, expected):
    found = same_run.compare(run(tmp_path / "old"), run(tmp_path / "new", **changed))
    assert found == f"different: {expected}"


def test_the_earliest_step_comes_first_and_the_other_names_are_counted(tmp_path):
    metrics = [METRICS[0] | {"loss/policy": NEXT}, METRICS[1]]
    new = run(tmp_path / "new", metrics=metrics, rows=ROWS | {"completion": ["4", "15"]})
    found = same_run.compare(run(tmp_path / "old"), new)
    assert found == f"different: metrics.jsonl, step 1, loss/policy: 0.3 in OLD, {NEXT} in NEW (and 1 more)"


def test_a_file_that_one_run_lacks(tmp_path):
    old, new = run(tmp_path / "old"), run(tmp_path / "new")
    (new / "transcripts" / "step_000002.parquet").unlink()
    assert same_run.compare(old, new) == "different: transcripts/step_000002.parquet exists only in OLD"


def test_a_run_without_a_part_of_its_record_is_never_the_same(tmp_path):
    old, new = run(tmp_path / "old"), run(tmp_path / "new")
    for folder in (old, new):
        (folder / "checkpoints" / "latest").unlink()
    assert same_run.compare(old, new) == "different: the run of OLD left no checkpoint"


def test_a_tensor_of_another_model(tmp_path):
    old, new = run(tmp_path / "old"), run(tmp_path / "new")
    write_tensors(new / "checkpoints/latest/state/critic.safetensors", {"bias": ("BF16", [1], b"\x81\x3f")})
    expected = "checkpoints/latest, state/critic.safetensors:bias[0]: 1.0 in OLD, 1.0078125 in NEW"
    assert same_run.compare(old, new) == f"different: {expected}"


def test_decided_differences_are_accepted_and_their_values_compared(tmp_path, monkeypatch):
    names = {"loss/policy": "loss/surrogate"}
    metrics = [
        {names.get(name, name): value for name, value in line.items()} | {"kl/new": 1.0} for line in METRICS
    ]
    moved = {f"net.{name}": value for name, value in WEIGHTS.items()}
    new = run(tmp_path / "new", metrics=metrics, weights=moved)
    old = run(tmp_path / "old")
    assert same_run.compare(old, new).startswith("different: metrics.jsonl, loss/policy exists only in OLD")
    renamed = {"metrics:loss/policy": "metrics:loss/surrogate"}
    monkeypatch.setattr(
        same_run, "RENAMED", renamed | {"checkpoint:model.safetensors:": "checkpoint:model.safetensors:net."}
    )
    monkeypatch.setattr(same_run, "ADDED", ("metrics:kl/",))
    assert same_run.compare(old, new) == ""
    (new / "metrics.jsonl").write_text(
        "".join(json.dumps(line | {"loss/surrogate": 7.0}) + "\n" for line in metrics)
    )
    found = same_run.compare(old, new)
    assert found == "different: metrics.jsonl, step 1, loss/surrogate: 0.3 in OLD, 7.0 in NEW"


def test_a_run_that_fails_is_different_and_says_why(tmp_path):
    """Two checkouts of a program that refuses everything."""
    package = tmp_path / "src" / "menon"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        "import sys\nprint('starts', file=sys.stderr)\nsys.exit('there is no such recipe')\n"
    )
    command = [sys.executable, str(PATH), str(tmp_path), str(tmp_path), "none"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    why = "different: OLD failed: there is no such recipe; NEW failed: there is no such recipe"
    assert lines[0].endswith(why)
    assert lines[-1] == "identical=0 different=2"


def test_a_package_from_elsewhere_does_not_count_as_the_checkout(tmp_path):
    elsewhere, checkout = tmp_path / "elsewhere" / "menon", tmp_path / "checkout"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.py").write_text("")
    checkout.mkdir()
    (checkout / "src").symlink_to(elsewhere.parent)
    found = same_run.trained(checkout, tmp_path / "run", "grpo", 0)
    assert found == f"menon is imported from {elsewhere / '__init__.py'} and not from {checkout}"
