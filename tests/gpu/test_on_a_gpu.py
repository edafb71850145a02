"""What must hold on a real GPU, by whole runs of the command's own functions on the built-in base.

They skip without one. `MENON_GPU_TESTS=cpu` runs the same on the CPU, which proves the tests themselves.
"""

import os

import numpy as np
import pytest
import torch

import menon
from menon.assembly.run import resume
from menon.record.reader import RunView
from menon.report.terminal import terminal

DEVICE = os.environ.get("MENON_GPU_TESTS", "cuda")
pytestmark = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA GPU")

SMALL = {
    "device": DEVICE,
    "prompts_per_step": 8,
    "heldout": 40,
    "report_questions": 0,
    "threads": 1,
    "seed": 3,
    "save_every": 2,
}


def trained(path, recipe="grpo", **settings):
    menon.train(recipe, out=path, **{**SMALL, **settings})
    return RunView.open(path)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-4), ("bfloat16", 0.03)])
def test_sampler_and_learner_agree(tmp_path, dtype, bound):
    """Law 3: mean difference of their log-probs, nats a token, before anything was learned."""
    view = trained(tmp_path, steps=1, dtype=dtype, learning_rate=0.0)
    assert view.metrics[0]["mismatch/abs"] < bound
    assert view.metrics[0]["ratio/max"] < 1 + 3 * bound


def test_the_first_step_is_that_of_the_cpu(tmp_path):
    """The same questions, seeds and weights: almost every token is the same one, and so are the numbers."""
    here = trained(tmp_path / "here", steps=1, device="cpu")
    there = trained(tmp_path / "there", steps=1)
    tokens = [view.transcripts.rows(1, ["tokens"]) for view in (here, there)]
    same = np.mean([a["tokens"] == b["tokens"] for a, b in zip(*tokens, strict=True)])
    assert same > 0.9
    assert abs(here.metrics[0]["entropy/mean"] - there.metrics[0]["entropy/mean"]) < 0.02


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_learns(tmp_path, dtype):
    view = trained(tmp_path, steps=16, dtype=dtype, prompts_per_step=16, heldout=100)
    before, after = (view.evaluation(step)["accuracy"] for step in (0, 16))
    assert after > before + 0.3


def test_every_number_of_a_step_is_finite_and_memory_is_known(tmp_path):
    line = trained(tmp_path, steps=2).metrics[-1]
    assert [name for name, value in line.items() if value is None] == []
    assert ("memory/device_gib" in line) == (DEVICE == "cuda")


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    """Law 6 as far as a GPU lets it hold, where sums add in any order: the same questions, and numbers near
    those of an undisturbed run."""
    whole = trained(tmp_path / "whole", steps=4)
    trained(tmp_path / "cut", steps=2)
    resume(tmp_path / "cut", {"steps": 4}, terminal)
    again = RunView.open(tmp_path / "cut")
    asked = [view.transcripts.rows(4, ["prompt_index", "sample"]) for view in (whole, again)]
    assert asked[0] == asked[1]
    assert abs(whole.metrics[3]["entropy/mean"] - again.metrics[3]["entropy/mean"]) < 0.05


@pytest.mark.parametrize("recipe", ["ppo", "dapo", "gspo", "spo_chain"])
def test_recipes_run(tmp_path, recipe):
    view = trained(tmp_path, recipe, steps=2)
    assert view.steps == 2
    assert np.isfinite(view.metrics[-1]["grad_norm"])
