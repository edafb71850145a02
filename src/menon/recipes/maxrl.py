"""MaxRL (arXiv 2602.02710): towards maximum likelihood of the right answer."""

from menon.advantage import MaxRL
from menon.config import Models, Policy, RunConfig
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def maxrl() -> RunConfig:
    """Centred rewards over the group's mean: the rarer a right answer, the more it weighs. One update a
    step."""
    return RunConfig(
        recipe="maxrl",
        advantage={"credit": MaxRL()},
        objective={"policy": Term(PolicyGradient(), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4))),
    )
