"""A reward model of preferences (arXiv 2203.02155)."""

from menon.config import Models, Policy, RunConfig
from menon.loss import BradleyTerry
from menon.loss.aggregation import PairMean
from menon.prompts.given import GivenText
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def reward_model() -> RunConfig:
    """A scalar head on the policy's trunk scores preferred answers above the others of their pairs; a prompt
    with many pairs weighs as much as one with one. Its checkpoints are for reward=preference."""
    return RunConfig(
        recipe="reward_model",
        advantage={},
        objective={"policy": Term(BradleyTerry(), PairMean(each="prompt"))},
        rows=GivenText(form="pairs"),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), head="reward")),
    )
