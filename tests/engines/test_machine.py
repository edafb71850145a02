import psutil
import pytest
import torch

from menon.engines import machine
from menon.engines.machine import SMALL, free_bytes, has_bf16, left_in, row_threads, workers


def test_a_containers_share_counts(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1800\n")
    assert left_in(tmp_path) == 3200
    monkeypatch.setattr(machine, "GROUP", tmp_path)
    assert free_bytes(torch.device("cpu")) == 3200
    (tmp_path / "memory.current").write_text("5200\n")
    assert left_in(tmp_path) == 0


def test_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "GROUP", tmp_path)
    total = psutil.virtual_memory().total
    assert 0 < free_bytes(torch.device("cpu")) < total
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1800\n")
    assert left_in(tmp_path) > total


def test_bfloat16_is_what_the_instructions_say(monkeypatch):
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    for name in names:
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not has_bf16(torch.device("cpu"))
    for name in names:
        monkeypatch.setattr(torch.cpu, name, lambda: True, raising=False)
        assert has_bf16(torch.device("cpu"))
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)


def test_a_machine_without_bfloat16_is_told(monkeypatch):
    device, said = torch.device("cpu"), "this cpu has no bfloat16 instructions and emulates them slowly"
    monkeypatch.setattr(machine, "has_bf16", lambda device: False)
    assert machine.emulated("bfloat16", device) == f"{said}; dtype=float32 is faster here"
    assert machine.emulated("float32", device) == ""
    monkeypatch.setattr(machine, "has_bf16", lambda device: True)
    assert machine.emulated("bfloat16", device) == ""


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (3, 3), (64, 8)])
def test_small_models_on_a_cpu_run_side_by_side(monkeypatch, threads, most):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert workers(900_000, torch.device("cpu")) == workers(SMALL, torch.device("cpu")) == most
    assert workers(SMALL + 1, torch.device("cpu")) == workers(900_000, torch.device("cuda")) == 1


def test_the_rows_of_a_large_model_are_divided_among_threads(monkeypatch):
    """No more than there are rows; those of a small one by its processes alone."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [row_threads(SMALL + 1, rows) for rows in (1, 3, 64)] == [1, 3, 4]
    assert row_threads(SMALL, 64) == 1
