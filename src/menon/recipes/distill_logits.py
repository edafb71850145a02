"""Distillation on logits: a teacher's distribution at each token of given answers (arXiv 1503.02531)."""

from menon.config import Models, Policy, RunConfig
from menon.loss import NLL, Distill
from menon.loss.aggregation import TokenMean
from menon.prompts.given import GivenText
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def distill_logits() -> RunConfig:
    """alpha T^2 KL(teacher || policy) of logits over T, plus (1 - alpha) of -log pi of the given token, with
    alpha = 1/2 and T = 2. Both are means over the answer tokens of a step.

    `objective.teacher.loss.divergence` takes reverse and jsd too. alpha and 1 - alpha are
    `objective.teacher.coef` and `objective.nll.coef`; `objective.nll=null` leaves the given tokens out.
    """
    return RunConfig(
        recipe="distill_logits",
        advantage={},
        objective={
            "teacher": Term(Distill("forward", temperature=2.0, t2_scale=True), TokenMean(), coef=0.5),
            "nll": Term(NLL(), TokenMean(), coef=0.5),
        },
        rows=GivenText(),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=1e-3, warmup_updates=3)), teacher=""),
    )
