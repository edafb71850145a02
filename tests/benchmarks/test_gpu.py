"""What can be held without a GPU: the refusal, and the bytes that decoding has to read."""

import pytest
import torch

import gpu
from menon.errors import UserError


def test_without_a_gpu_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no CUDA GPU here; run this on a machine with one"):
        gpu.check_gpu()


def test_the_other_side_of_a_step_sees_one_gpu(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu.one_gpu() == {"CUDA_VISIBLE_DEVICES": "0"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert gpu.one_gpu() == {"CUDA_VISIBLE_DEVICES": "3"}


def test_bytes_of_decoding_by_hand():
    # 3 steps read 10 weights of 2 bytes each: 60. A token's keys and values are 2 * 1 layer * 2 heads * 4
    # numbers * 2 bytes = 32 bytes; each of 5 rows reads those of 7, 8 and 9 places: 5 * 24 * 32 = 3840.
    shape = {"num_hidden_layers": 1, "num_key_value_heads": 2, "head_dim": 4}
    assert gpu.decode_bytes(shape, parameters=10, rows=5, prompt=7, new=3) == 60 + 3840


def test_utilisation_by_hand():
    # 100 tokens x 10 weights: 2,000 FLOP of a rollout in 2 s, 6,000 of an update in 3 s, of 10,000 a second
    steps = [{"tokens": 100, "rollout": 2.0, "update": 3.0}, {"tokens": 100, "rollout": 2.0, "update": 3.0}]
    assert gpu.utilisation(steps, parameters=10, ceiling=10_000) == {"rollout": 0.1, "update": 0.2}


def test_what_is_printed_stands_in_the_results_too(tmp_path, capsys):
    both = gpu.Both(tmp_path / "gpu.md")
    print("| update | 0.5 |", file=both)
    both.flush()
    assert (tmp_path / "gpu.md").read_text() == capsys.readouterr().out == "| update | 0.5 |\n"
