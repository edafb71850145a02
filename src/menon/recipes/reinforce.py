"""REINFORCE with whitened returns (Williams 1992; REINFORCE++ without its clip and its KL, arXiv
2501.03262)."""

from menon.advantage import Reinforce, Whiten
from menon.config import Models, Policy, RunConfig
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def reinforce() -> RunConfig:
    """The return-to-go of each token, whitened over all tokens of the step; one update, so it stays
    on-policy."""
    return RunConfig(
        recipe="reinforce",
        advantage={"credit": Reinforce(), "whiten": Whiten()},
        objective={"policy": Term(PolicyGradient(), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=5e-4))),
    )
