"""GPG (arXiv 2504.02546): the policy gradient alone."""

from menon.advantage import GPG
from menon.config import Models, Policy, RunConfig
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def gpg() -> RunConfig:
    """Centred rewards times (answers / answers of groups with signal); no ratio, no clip, no KL, one update a
    step.  The authors also ask other prompts when fewer than .6 of the groups have signal:
    `rollout=dynamic_sampling` keeps only groups with signal.
    """
    return RunConfig(
        recipe="gpg",
        advantage={"credit": GPG()},
        objective={"policy": Term(PolicyGradient(), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=5e-4))),
    )


PAPER = {"learning_rate": 1e-6}
"""The recipe already has no clip and no KL; the other numbers are not stated."""
