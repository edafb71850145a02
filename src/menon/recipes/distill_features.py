"""Distillation of features: a teacher's hidden states at each token of given answers, beside its
distributions (arXiv 1412.6550, 1503.02531)."""

from menon.config import Models, Policy, RunConfig
from menon.loss import NLL, Distill, Features
from menon.loss.aggregation import TokenMean
from menon.prompts.given import GivenText
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def distill_features() -> RunConfig:
    """`distill_logits` plus beta times the distance of the hidden states. beta is
    `objective.features.coef`; alpha and 1 - alpha are `objective.teacher.coef` and `objective.nll.coef`.

    `objective.features.loss.distance` takes cosine, normalised and mse, and `.layers` pairs of layers. The
    cosine is between 0 and 2 for states of any size, so beta 1 does not outweigh the other terms; mse with
    beta 1 does. How heads attend is compared by `objective.maps.loss=attention_maps`.
    """
    return RunConfig(
        recipe="distill_features",
        advantage={},
        objective={
            "teacher": Term(Distill("forward", temperature=2.0, t2_scale=True), TokenMean(), coef=0.5),
            "features": Term(Features("cosine"), TokenMean()),
            "nll": Term(NLL(), TokenMean(), coef=0.5),
        },
        rows=GivenText(),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=1e-3, warmup_updates=3)), teacher=""),
    )
