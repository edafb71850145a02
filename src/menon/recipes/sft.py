"""Supervised fine-tuning: maximum likelihood of given answers."""

from menon.config import Models, Policy, RunConfig
from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.prompts.given import GivenText
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def sft() -> RunConfig:
    """The mean of -log pi over the answer tokens of a step. Questions are read and not learned, unless
    train_on_prompt is set."""
    return RunConfig(
        recipe="sft",
        advantage={},
        objective={"nll": Term(NLL(), TokenMean())},
        rows=GivenText(),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=1e-3, warmup_updates=3))),
    )
