"""KL-Cov (arXiv 2505.22617): a penalty on the few tokens that would collapse the entropy."""

from menon.advantage import GRPO
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import KLCov
from menon.loss.aggregation import TokenMean
from menon.rollout.dynamic import DynamicSampling
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def kl_cov() -> RunConfig:
    """A share of 2e-3 of the tokens, those of largest covariance, is penalised by 1 * |log-ratio|. No clip,
    no KL to a reference; groups that are all right or all wrong are replaced by other prompts.
    """
    return RunConfig(
        recipe="kl_cov",
        advantage={"credit": GRPO()},
        objective={"policy": Term(KLCov(fraction=2e-3, penalty=1.0), TokenMean())},
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
"""The numbers for 7 B; for 32 B set `objective.policy.loss.fraction=2e-4`."""
