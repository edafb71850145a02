import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from menon.record import checkpoint
from menon.record.checkpoint import Damaged, Snapshot

WEIGHTS = {
    "a": torch.tensor([0.1, -0.0, float("nan")]),
    "b": torch.tensor([[1.0, 2.0]]),
    "tied": torch.tensor([3.0]),
}


def snapshot(step: int) -> Snapshot:
    critic = {"head": torch.tensor([step / 3])}
    return Snapshot(
        step,
        {"policy": WEIGHTS, "critic": critic},
        {"prompts": {"taken": step}, "moment": torch.tensor([0.1])},
    )


def export(folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """As `transformers` does it: one file of weights, a tied tensor left out, settings beside it."""
    save_file({name: WEIGHTS[name].to(dtype) for name in ("a", "b")}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")


def same(a: Snapshot, b: Snapshot) -> bool:
    def bits(tensor: torch.Tensor) -> list[int]:
        return [int(tensor.dtype == torch.float32), *tensor.contiguous().view(torch.uint8).flatten().tolist()]

    pairs = [(a.weights[role][name], b.weights[role][name]) for role in a.weights for name in a.weights[role]]
    tensors = all(bits(x) == bits(y) for x, y in pairs) and torch.equal(a.state["moment"], b.state["moment"])
    return tensors and a.step == b.step and a.state["prompts"] == b.state["prompts"]


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    path = checkpoint.save(tmp_path, snapshot(100), export)
    assert path == tmp_path / "step_000100"
    assert same(checkpoint.load(path), snapshot(100))
    assert os.readlink(tmp_path / "latest") == "step_000100"
    assert not [
        file for file in path.rglob("*") if file.is_file() and file.suffix not in (".safetensors", ".json")
    ]


def test_weights_are_stored_once(tmp_path):
    path = checkpoint.save(tmp_path, snapshot(1), export)
    assert set(load_file(path / "state" / "policy.safetensors")) == {"tied"}


def test_an_export_of_lower_precision_does_not_cost_a_bit(tmp_path):
    path = checkpoint.save(tmp_path, snapshot(1), lambda folder: export(folder, torch.bfloat16))
    assert load_file(path / "model.safetensors")["a"].dtype == torch.bfloat16
    assert set(load_file(path / "state" / "policy.safetensors")) == {"a", "b", "tied"}
    assert same(checkpoint.load(path), snapshot(1))


def test_an_export_that_says_0_for_minus_0_does_not_cost_a_bit(tmp_path):
    weights = {"w": torch.tensor([-0.0, 1.0])}
    path = checkpoint.save(
        tmp_path,
        Snapshot(1, {"policy": weights}, {}),
        lambda folder: save_file({"w": torch.tensor([0.0, 1.0])}, folder / "model.safetensors"),
    )
    assert str(checkpoint.load(path).weights["policy"]["w"]) == "tensor([-0., 1.])"


def test_only_tensors_that_share_memory_are_copied():
    alone, row = torch.arange(4.0), torch.arange(6.0).view(2, 3)
    found = checkpoint.apart(
        {"alone": alone, "again": alone, "part": row[0], "turned": row.T, "empty": torch.zeros(0)}
    )
    assert found["alone"].data_ptr() == alone.data_ptr()
    assert found["again"].data_ptr() != alone.data_ptr()
    assert found["part"].untyped_storage().nbytes() == 12
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "alone": [0, 1, 2, 3],
        "again": [0, 1, 2, 3],
        "part": [0, 1, 2],
        "turned": [[0, 3], [1, 4], [2, 5]],
        "empty": [],
    }


def test_weights_in_shards(tmp_path):
    def shards(folder: Path) -> None:
        save_file({"a": WEIGHTS["a"]}, folder / "model-00001-of-00002.safetensors")
        save_file({"b": WEIGHTS["b"]}, folder / "model-00002-of-00002.safetensors")

    path = checkpoint.save(tmp_path, snapshot(1), shards)
    assert set(load_file(path / "state" / "policy.safetensors")) == {"tied"}
    assert same(checkpoint.load(path), snapshot(1))


def test_the_newest_two_are_kept(tmp_path):
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, snapshot(step), export)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_000010", "step_000015"]
    assert checkpoint.steps_in(tmp_path) == [10, 15]


def test_the_best_is_kept_beside_the_newest(tmp_path):
    checkpoint.save(tmp_path, snapshot(5), export)
    checkpoint.mark_best(tmp_path, 5)
    for step in (10, 15, 20):
        checkpoint.save(tmp_path, snapshot(step), export)
    assert checkpoint.steps_in(tmp_path) == [5, 15, 20]
    checkpoint.mark_best(tmp_path, 20)
    assert checkpoint.steps_in(tmp_path) == [15, 20]
    assert os.readlink(tmp_path / "best") == "step_000020"
    checkpoint.mark_best(tmp_path, None)
    assert not (tmp_path / "best").is_symlink()


def test_a_failed_export_leaves_the_older_checkpoint(tmp_path):
    checkpoint.save(tmp_path, snapshot(5), export)

    def breaks(folder: Path) -> None:
        export(folder)
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
    path = checkpoint.save(tmp_path, snapshot(1), export)
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
    path = checkpoint.save(tmp_path, snapshot(1), export)
    (path / checkpoint.SEAL).unlink()
    if seal is not None:
        (path / checkpoint.SEAL).write_text(seal)
    with pytest.raises(Damaged):
        checkpoint.load(path)


def test_a_state_that_lost_a_part_is_noticed(tmp_path):
    """The seal may fit and the state not: a checkpoint of another version of the program."""
    path = checkpoint.save(tmp_path, snapshot(1), export)
    about = json.loads((path / "state" / "state.json").read_text())
    about["weights"]["policy"].append("new")
    (path / "state" / "state.json").write_text(json.dumps(about))
    checkpoint._seal(path)
    with pytest.raises(Damaged, match="cannot be read"):
        checkpoint.load(path)


def test_the_one_before_a_damaged_one_is_used_and_the_user_told(tmp_path):
    for step in (5, 10):
        checkpoint.save(tmp_path, snapshot(step), export)
    (tmp_path / "step_000010" / "model.safetensors").write_bytes(b"x")
    told: list[str] = []
    found = checkpoint.newest(tmp_path, told.append)
    assert found is not None
    assert same(found, snapshot(5))
    assert len(told) == 1
    assert "step_000010 is damaged (model.safetensors is not as it was written) and is passed over" in told[0]
    assert os.readlink(tmp_path / "latest") == "step_000005"
    assert (tmp_path / "step_000010.damaged" / "config.json").exists()
    checkpoint.save(tmp_path, snapshot(10), export)
    assert checkpoint.steps_in(tmp_path) == [5, 10]


def test_none_usable(tmp_path):
    told: list[str] = []
    assert checkpoint.newest(tmp_path / "absent", told.append) is None
    checkpoint.save(tmp_path, snapshot(5), export)
    (tmp_path / "step_000005" / "state" / "files.json").unlink()
    (tmp_path / "step_000007.tmp").mkdir()
    assert checkpoint.newest(tmp_path, told.append) is None
    assert len(told) == 1
    assert checkpoint.newest(tmp_path, told.append) is None
    assert len(told) == 1
