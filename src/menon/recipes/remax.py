"""ReMax (arXiv 2310.10505): the greedy answer is the baseline."""

from menon.advantage import ReMax
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.rollout.greedy import GreedyBaseline
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def remax() -> RunConfig:
    """Each answer is compared with the policy's greedy answer, which costs one more answer per prompt; one
    update a step."""
    return RunConfig(
        recipe="remax",
        advantage={"credit": ReMax()},
        objective={"policy": Term(PolicyGradient(), TokenMean())},
        source=OnlineSource(rollout=GreedyBaseline()),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=5e-4))),
    )


PAPER = {"learning_rate": 1e-6}
"""The recipe already has the greedy baseline; the other numbers are not stated."""
