"""Runs that learn from truncated samples as from what they are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.build import build
from menon.assembly.run import resume
from menon.config import changed
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.python import train
from menon.recipes import recipe
from menon.report.terminal import terminal
from menon.rollout.replay import frozen, thawed
from menon.state_codec import decode, encode
from menon.types import Graded, Verdict
from menon.update.host import Ask

EXACT = {"truncation": "exact", "top_k": 8, "top_p": 0.9}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3", 0, spread=0.2), tiny_tokenizer(), path)
    return path


def settings(model: Path, **more) -> dict:
    given = {"model": str(model), "device": "cpu", "task": "chain_sum", "prompts_per_step": 3, "threads": 1}
    return given | {"samples_per_prompt": 3, "max_new_tokens": 6, "heldout": 2, "report_questions": 0} | more


@pytest.fixture
def reward(tmp_path) -> str:
    """Gives 0 and 1 about equally."""
    file = tmp_path / "own.py"
    file.write_text(
        "def score(prompt, completion, answer):\n    return float(sum(map(ord, completion)) % 2)\n"
    )
    return f"{file}:score"


def metrics_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *(("grpo", {}), ("remax", {}), ("calculator", {"max_new_tokens": 20})),
        ("spo_tree", {"samples_per_prompt": 1, "max_new_tokens": 12, "rollout.segment_tokens": [4]}),
    ],
)
def test_policy_and_reference_are_scored_over_what_could_be_drawn(name, more, model):
    """Whole answers, greedy ones beside them, nodes of trees, and turns."""
    config = changed(recipe(name), settings(model, **EXACT, reference="frozen") | more)
    with build(config) as run:
        batch = run.source.next().batch
        asks = [Ask("policy", "logp", "old_logp"), Ask("reference", "logp", "ref_logp")]
        scored = run.host.score(batch, asks)
        raw = run.host.score(replace(batch, kept=None), asks)
    drawn = batch.is_action & (batch.kept >= 0).any(-1)
    assert int(drawn.sum()) > 10
    assert (batch.kept[~batch.is_action] == -1).all()
    assert int((batch.kept >= 0).sum(-1).max()) <= 8
    for column in scored.values():
        assert float((column - batch.behaviour_logp)[batch.is_action].abs().max()) < 1e-5
    assert torch.allclose((raw["old_logp"] - batch.log_kept)[drawn], scored["old_logp"][drawn], atol=1e-5)
    assert float((raw["old_logp"] - scored["old_logp"])[drawn].abs().max()) > 0.1


def test_what_a_run_reports(model, tmp_path):
    """Sampler and trainer agree, and the record has the log-probs of the draws."""
    out = tmp_path / "run"
    train("grpo", **settings(model, **EXACT, steps=2, updates_per_step=2, out=str(out)))
    for line in metrics_of(out):
        assert line["mismatch/abs"] < 1e-5
        assert 0.05 < line["sampling/kept"] < 0.95


@pytest.mark.parametrize("more", [{"old": "behaviour"}, {"updates_per_step": 2}], ids=str)
def test_a_run_that_stops_and_goes_on(more, model, reward, tmp_path):
    """Its weights are those of a run that does not stop, bit for bit."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given = settings(model, **EXACT, **more, reward=reward, learning_rate=1e-3, save_every=2)
    train("grpo", **given, steps=4, out=str(whole))
    train("grpo", **given, steps=2, out=str(parts))
    resume(parts, {"steps": 4}, terminal)
    prints = [[line["fingerprint"] for line in metrics_of(run)] for run in (whole, parts)]
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 4


def test_edges_that_wait_keep_what_they_were_drawn_from(model):
    more = {"samples_per_prompt": 1, "max_new_tokens": 12, "rollout.segment_tokens": [4]}
    config = changed(recipe("spo_tree"), settings(model, **EXACT) | more)
    with build(config) as run:
        rollout = run.source.next().graded[0].rollout
    edge = Graded(rollout, Verdict(0.5, 0.0))
    kept = thawed(decode(*encoded(frozen(edge, 3))), 4).rollout.kept
    assert rollout.kept is not None
    assert np.array_equal(kept, rollout.kept)


def encoded(tree: dict) -> tuple:
    tensors: dict[str, torch.Tensor] = {}
    return encode(tree, tensors, "edge"), tensors


def test_the_gradient_is_another_one(model, reward, tmp_path):
    """And the same answers are learned from."""
    lines = []
    for truncation in ("exact", "ignored"):
        given = settings(
            model, **EXACT | {"truncation": truncation}, reward=reward, out=str(tmp_path / truncation)
        )
        train("grpo", **given, steps=1)
        lines.append(metrics_of(tmp_path / truncation)[0])
    assert lines[0]["reward/mean"] == lines[1]["reward/mean"] != 0
    assert abs(lines[0]["grad_norm"] / lines[1]["grad_norm"] - 1) > 0.01


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("grpo", {"truncation": "exact"}, "without top_k those may be all; set top_k too, like top_k=200"),
        ("grpo", {"truncation": "exact", "top_p": 0.9}, "set top_k too"),
        ("trpo", EXACT, "a natural step measures the KL over all tokens"),
        (
            "grpo",
            EXACT | {"advantage.credit": "optimal_token"},
            "advantage.credit reads probabilities of all",
        ),
        ("grpo", {"truncation": "mask"}, "mask"),
    ],
    ids=str,
)
def test_what_cannot_be_exact(name, change, sentence):
    with pytest.raises(UserError, match=sentence):
        changed(recipe(name), change)
