"""CISPO (MiniMax-M1, arXiv 2506.13585): the weight is clipped, the gradient is not."""

from menon.advantage import GRPO
from menon.config import Models, Policy, RunConfig
from menon.loss import CISPO
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def cispo() -> RunConfig:
    """No lower bound, ratios up to 1.28, token mean, no KL. It differs from the clip only when the policy
    moves within a step. The upper bound should be tuned.
    """
    return RunConfig(
        recipe="cispo",
        advantage={"credit": GRPO()},
        objective={"policy": Term(CISPO(low=0.0, high=1.28), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=4)),
    )


PAPER = {
    "updates_per_step": 16,
    "learning_rate": 1e-6,
}
"""The published settings of a 32 B model; the other numbers are not stated."""
