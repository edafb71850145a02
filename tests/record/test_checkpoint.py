import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from menon.record import checkpoint
from menon.record.checkpoint import Damaged, Snapshot

WEIGHTS = {
    "a": torch.tensor([0.1, -0.0, float("nan")]),
    "b": torch.tensor([[1.0, 2.0]]),
    "tied": torch.tensor([3.0]),
}


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, {"prompts": {"taken": step}, "moment": torch.tensor([step / 3])})


def models(folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """As `transformers` does it: one file of weights, a tied tensor left out, settings beside it."""
    save_file({name: WEIGHTS[name].to(dtype) for name in ("a", "b")}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    save_file({"head": torch.tensor([1 / 3])}, folder / "state" / "critic.safetensors")


def same(a: Snapshot, b: Snapshot) -> bool:
    tensors = torch.equal(a.state["moment"], b.state["moment"])
    return tensors and a.step == b.step and a.state["prompts"] == b.state["prompts"]


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    path = checkpoint.save(tmp_path, snapshot(100), models)
    assert path == tmp_path / "step_000100"
    assert same(checkpoint.load(path), snapshot(100))
    assert checkpoint.load(path).folder == path
    assert os.readlink(tmp_path / "latest") == "step_000100"
    assert not [
        file for file in path.rglob("*") if file.is_file() and file.suffix not in (".safetensors", ".json")
    ]


def test_the_newest_two_are_kept(tmp_path):
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, snapshot(step), models)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_000010", "step_000015"]
    assert checkpoint.steps_in(tmp_path) == [10, 15]


def test_the_best_is_kept_beside_the_newest(tmp_path):
    checkpoint.save(tmp_path, snapshot(5), models)
    checkpoint.mark_best(tmp_path, 5)
    for step in (10, 15, 20):
        checkpoint.save(tmp_path, snapshot(step), models)
    assert checkpoint.steps_in(tmp_path) == [5, 15, 20]
    checkpoint.mark_best(tmp_path, 20)
    assert checkpoint.steps_in(tmp_path) == [15, 20]
    assert os.readlink(tmp_path / "best") == "step_000020"
    checkpoint.mark_best(tmp_path, None)
    assert not (tmp_path / "best").is_symlink()


def test_a_failed_export_leaves_the_older_checkpoint(tmp_path):
    checkpoint.save(tmp_path, snapshot(5), models)

    def breaks(folder: Path) -> None:
        models(folder)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        checkpoint.save(tmp_path, snapshot(10), breaks)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_000005"]


FILES = [
    "model.safetensors",
    "config.json",
    "state/state.json",
    "state/tensors.safetensors",
    "state/critic.safetensors",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["gone", "cut", "flipped"])
def test_a_damaged_file_is_noticed(tmp_path, name, harm):
    path = checkpoint.save(tmp_path, snapshot(1), models)
    data = (path / name).read_bytes()
    if harm == "gone":
        (path / name).unlink()
    else:
        last = bytes([data[-1] ^ 1])
        (path / name).write_bytes(data[:-1] + (last if harm == "flipped" else b""))
    with pytest.raises(Damaged, match=name):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "seal", [None, "", "{", "[]", '{"config.json": 3}', '{"../../x": {"bytes": 0, "sha256": ""}}']
)
def test_a_damaged_seal_is_noticed(tmp_path, seal):
    path = checkpoint.save(tmp_path, snapshot(1), models)
    (path / checkpoint.SEAL).unlink()
    if seal is not None:
        (path / checkpoint.SEAL).write_text(seal)
    with pytest.raises(Damaged):
        checkpoint.load(path)


def test_a_state_that_lost_a_part_is_noticed(tmp_path):
    """The seal may fit and the state not: a checkpoint of another version of the program."""
    path = checkpoint.save(tmp_path, snapshot(1), models)
    about = json.loads((path / "state" / "state.json").read_text())
    about["state"]["moment"] = {"$tensor": "state.new"}
    (path / "state" / "state.json").write_text(json.dumps(about))
    checkpoint._seal(path)
    with pytest.raises(Damaged, match="cannot be read"):
        checkpoint.load(path)


def test_the_one_before_a_damaged_one_is_used_and_the_user_told(tmp_path):
    for step in (5, 10):
        checkpoint.save(tmp_path, snapshot(step), models)
    (tmp_path / "step_000010" / "model.safetensors").write_bytes(b"x")
    told: list[str] = []
    found = checkpoint.newest(tmp_path, told.append)
    assert found is not None
    assert same(found, snapshot(5))
    assert len(told) == 1
    assert "step_000010 is damaged (model.safetensors is not as it was written) and is skipped" in told[0]
    assert os.readlink(tmp_path / "latest") == "step_000005"
    assert (tmp_path / "step_000010.damaged" / "config.json").exists()
    checkpoint.save(tmp_path, snapshot(10), models)
    assert checkpoint.steps_in(tmp_path) == [5, 10]


def test_none_usable(tmp_path):
    told: list[str] = []
    assert checkpoint.newest(tmp_path / "absent", told.append) is None
    checkpoint.save(tmp_path, snapshot(5), models)
    (tmp_path / "step_000005" / "state" / "files.json").unlink()
    (tmp_path / "step_000007.tmp").mkdir()
    assert checkpoint.newest(tmp_path, told.append) is None
    assert len(told) == 1
    assert checkpoint.newest(tmp_path, told.append) is None
    assert len(told) == 1
