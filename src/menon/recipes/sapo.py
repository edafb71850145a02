"""SAPO (arXiv 2511.20347): a smooth gate instead of a clip."""

from menon.advantage import GRPO
from menon.config import Models, Policy, RunConfig
from menon.loss import SAPO
from menon.loss.aggregation import SequenceMeanTokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def sapo() -> RunConfig:
    """Temperatures 1 for positive and 1.05 for negative advantages, each answer weighs the same, no KL."""
    return RunConfig(
        recipe="sapo",
        advantage={"credit": GRPO()},
        objective={"policy": Term(SAPO(tau_positive=1.0, tau_negative=1.05), SequenceMeanTokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=4)),
    )


PAPER = {"learning_rate": 1e-6}
"""The recipe already has the published temperatures; the other numbers are not stated."""
