"""OPO (arXiv 2505.23585): exactly on-policy, with the baseline of least variance."""

from menon.advantage import OPO
from menon.config import Models, Policy, RunConfig
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def opo() -> RunConfig:
    """Each answer against the length-weighted mean of its group; one update a step, no clip, no KL, no
    entropy term."""
    return RunConfig(
        recipe="opo",
        advantage={"credit": OPO()},
        objective={"policy": Term(PolicyGradient(), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=5e-4))),
    )


PAPER = {"learning_rate": 1e-6}
"""The recipe already makes one update a step; the other numbers are not stated."""
