"""A residual energy model by noise-contrastive estimation (arXiv 2004.11714)."""

from menon.config import Models, Policy, RunConfig
from menon.loss import EnergyNCE
from menon.loss.aggregation import SequenceMean
from menon.prompts.given import GivenText
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def energy_nce() -> RunConfig:
    """Given answers, such as draws of `menon posterior`, are told from new ones of the model of the start by
    the log-ratio of the policy to it, so that the policy becomes their distribution. A score instead:
    `head=reward objective.policy.loss.energy=head`."""
    return RunConfig(
        recipe="energy_nce",
        advantage={},
        objective={"policy": Term(EnergyNCE(), SequenceMean())},
        rows=GivenText(negatives="reference"),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4)), reference="frozen"),
    )
