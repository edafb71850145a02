"""Whole runs on a pretended GPU: rollout, scores, updates, new weights to the sampler, checkpoints and going
on from them."""

from typing import Any

import numpy as np
import pytest
import torch

from menon.assembly.build import build
from menon.config import changed
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.torch_learner import TorchLearner
from menon.loop import Run, loop
from menon.recipes import recipe
from menon.record.clock import Clock
from menon.step import improve
from menon.types import StepReport
from pretend_device import pretend_device
from tiny_run import Algorithm, Watching, even, models_of, online, opened, tiny_run, traces, weights_of


def run_to(path, steps: int, algorithm: Algorithm, device: str) -> dict[str, np.ndarray]:
    run = tiny_run(algorithm, steps=steps, device=device)
    with opened(path) as folder:
        loop(run, folder, Watching())
    return weights_of(run)


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_a_run_that_goes_on_is_the_run_that_never_stopped_and_that_of_a_cpu(algorithm, tmp_path, monkeypatch):
    want = run_to(tmp_path / "cpu", 2, algorithm, "cpu")
    with pretend_device(monkeypatch):
        whole = run_to(tmp_path / "whole", 2, algorithm, "cuda")
        run_to(tmp_path / "parts", 1, algorithm, "cuda")
        parts = run_to(tmp_path / "parts", 2, algorithm, "cuda")
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    one, other = (traces(tmp_path / name)["metrics.jsonl"] for name in ("whole", "parts"))
    assert [line["fingerprint"] for line in one] == [line["fingerprint"] for line in other]
    on_cpu = traces(tmp_path / "cpu")["metrics.jsonl"]
    assert [line["len/mean"] for line in one] == [line["len/mean"] for line in on_cpu]
    # Rounding decides where a gradient is zero but for it, and AdamW makes it a whole step of 1e-2.
    near = [np.abs(whole[name] - want[name]).mean() / np.abs(want[name]).mean() for name in want]
    assert max(near) < 1e-3


def settings_of(device: str, dtype: str) -> dict[str, Any]:
    return {
        "device": device,
        "dtype": dtype,
        "prompts_per_step": 2,
        "samples_per_prompt": 2,
        "max_new_tokens": 6,
        "heldout": 1,
        "updates_per_step": 1,
        "reference": "frozen",
        "save_every": 0,
    }


def a_step(run: Run) -> StepReport:
    online(run).grade = even
    report, _ = improve(1, run.source.next(), run.plan, run.host, run.plan.initial_state(), Clock())
    run.channel.publish(1)
    return report


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_recipe_builds_everything_there(dtype, monkeypatch):
    """Two dtypes, so that weights reach the sampler by reference and by copy."""
    with build(changed(recipe("ppo"), settings_of("cpu", dtype))) as run:
        here = a_step(run)
    there = changed(recipe("ppo"), settings_of("cuda:0" if dtype == "bfloat16" else "auto", dtype))
    with pretend_device(monkeypatch, capability=(7, 5)), build(there) as run:
        sampler, policy = online(run).sampler, models_of(run)["policy"]
        assert isinstance(sampler, TorchSampler)
        assert isinstance(policy, TorchLearner)
        assert sampler.parts == policy.workers == 1
        held = [
            *sampler.weights().values(),
            *policy.weights().values(),
            *models_of(run)["critic"].weights().values(),
        ]
        assert {weight.device for weight in held} == {torch.device("cuda:0")}
        report = a_step(run)
    for got, want in zip(report.graded, here.graded, strict=True):
        assert got.rollout.text == want.rollout.text
    assert report.metrics["grad_norm"] == pytest.approx(
        here.metrics["grad_norm"], rel=1e-3 if dtype == "float32" else 0.1
    )
    assert report.metrics["mismatch/abs"] < (1e-4 if dtype == "float32" else 0.1)
    assert (sampler.model is policy.model) == (dtype == "float32")
