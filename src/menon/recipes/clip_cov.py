"""Clip-Cov (arXiv 2505.22617): a few tokens that would collapse the entropy are left out."""

from menon.advantage import GRPO
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import ClipCov
from menon.loss.aggregation import TokenMean
from menon.rollout.dynamic import DynamicSampling
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def clip_cov() -> RunConfig:
    """Leaves out a share of 2e-4 of the tokens, drawn from those with a covariance between 1 and 5. Clip
    ranges of 1, no KL; groups that are all right or all wrong are replaced by other prompts.
    """
    return RunConfig(
        recipe="clip_cov",
        advantage={"credit": GRPO()},
        objective={"policy": Term(ClipCov(fraction=2e-4, low=1.0, high=5.0), TokenMean())},
        source=OnlineSource(rollout=DynamicSampling()),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=8)),
    )


PAPER = {
    "prompts_per_step": 256,
    "samples_per_prompt": 8,
    "updates_per_step": 8,
    "max_new_tokens": 8192,
    "learning_rate": 5e-7,
}
"""The published numbers, the same for 7 B and 32 B."""
