"""`menon check gradient`: the same gradient by another cut and on ranks, and what it says where it is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from menon.assembly import check_gradient
from menon.assembly.models import host_of, saved_dtypes, start_of
from menon.cli import main

SMALL = ("threads=1", "samples_per_prompt=4", "max_new_tokens=32", "heldout=2")
BY_THE_PASS = """
from dataclasses import dataclass


@dataclass(frozen=True)
class ByThePass:
    reads = ("advantage",)

    def __call__(self, now, batch):
        return -now["logp"] * batch.advantage / batch.num_tokens
"""
"""A loss with a normaliser of its own forward pass, the commonest fault."""


class Averaged:
    """A host on ranks that averages the gradients of two ranks in place of adding them."""

    def __init__(self, *given: Any) -> None:
        models, objective, engine, temperature, control, _, notify, _ = given
        model, tokenizer, _ = start_of(models, engine, control.seed)
        saved_as = saved_dtypes(control.save_dtype, models.policy.model, model, engine.dtype, notify)
        self.host = host_of(models, objective, engine, temperature, control.seed, model, tokenizer, saved_as)

    def gradient(self, role: str, job: Any) -> Iterator[tuple[str, Tensor]]:
        for name, slope in self.host.gradient(role, job):
            yield name, slope / 2

    def close(self) -> None:
        pass


def said(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_gradient_of_a_run_is_one(capsys, tmp_path, monkeypatch):
    """With two processes as ranks."""
    monkeypatch.chdir(tmp_path)
    assert main(["check", "gradient", "ppo", *SMALL]) == 0
    lines = said(capsys)
    assert lines[-1] == "gradient ok"
    how = [line.partition(":")[0] for line in lines[:-1]]
    assert [words for words in how if "ranks" in words] == [
        "policy on 2 ranks, not 1",
        "critic on 2 ranks, not 1",
    ]
    assert len([words for words in how if words.startswith(("policy cut into", "critic cut into"))]) == 2
    apart = [float(line.split("difference ")[1].split()[0]) for line in lines[:-1]]
    assert max(apart) < 1e-6
    assert list(tmp_path.iterdir()) == []  # it trains nothing and writes nothing


def test_faults_are_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check_gradient, "host_on_ranks", Averaged)
    Path("mine.py").write_text(BY_THE_PASS)
    assert main(["check", "gradient", "grpo", *SMALL]) == 1
    lines = said(capsys)
    assert lines[-1] == "gradient differs: policy on 2 ranks, not 1"
    assert "relative difference 5.0e-01 (at most 1e-05" in lines[-2]
    assert main(["check", "gradient", "grpo", *SMALL, "objective.policy.loss=mine.py:ByThePass"]) == 1
    assert said(capsys)[-1].startswith("gradient differs: policy cut into ")


def test_what_cannot_be_compared(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "gradient", "trpo", *SMALL]) == 2
    assert "does not follow a gradient alone; leave natural out" in capsys.readouterr().err
    assert main(["check", "gradient", "--resume", "runs/mine"]) == 2
    assert "leave --resume out" in capsys.readouterr().err
