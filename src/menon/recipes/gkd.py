"""Generalised knowledge distillation: a teacher's distribution on the policy's own answers and on given ones
(arXiv 2306.13649)."""

from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import Distill
from menon.loss.aggregation import TokenMean
from menon.prompts.given import GivenText
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def gkd() -> RunConfig:
    """The generalised JSD with b = 1/2 over the whole vocabulary. Half of the steps learn from answers that
    the policy writes (`rows.written_share`, the paper's lambda), the others from given ones."""
    return RunConfig(
        recipe="gkd",
        advantage={},
        objective={"teacher": Term(Distill("jsd", beta=0.5), TokenMean())},
        rows=GivenText(written_share=0.5),
        source=OnlineSource(prompts_per_step=32, samples_per_prompt=1),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4)), teacher=""),
    )
