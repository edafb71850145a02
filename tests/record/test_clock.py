"""Seconds by name; a GPU's work counts where it was asked for."""

import time

import torch

from menon.record.clock import Clock


def test_seconds_add_up_by_name():
    clock = Clock()
    for _ in range(2):
        with clock("wait"):
            time.sleep(0.01)
    times = clock.times()
    assert 0.02 <= times["time/wait"] <= times["time/step"]
    assert times["time/other"] == times["time/step"] - times["time/wait"]


def test_what_a_gpu_still_does_counts_where_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: time.sleep(0.05))
    clock = Clock()
    with clock("update"):
        pass
    assert clock.times()["time/update"] >= 0.05
