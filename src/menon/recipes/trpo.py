"""TRPO (arXiv 1502.05477): one natural-gradient step within a trust region, on group advantages."""

from menon.advantage import GRPO
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import Surrogate
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import NaturalGradient, Optimiser
from menon.update.terms import Term


def trpo() -> RunConfig:
    """At most .01 of KL a step, by ten iterations of conjugate gradient with damping .1; for small models,
    because it makes a dozen or more passes over the batch. The optimiser is not used.
    """
    return RunConfig(
        recipe="trpo",
        advantage={"credit": GRPO()},
        objective={"policy": Term(Surrogate(), TokenMean())},
        source=OnlineSource(prompts_per_step=16),
        models=Models(
            policy=Policy(
                natural=NaturalGradient(max_kl=0.01),
                optimiser=Optimiser(learning_rate=3e-4),
                updates_per_step=1,
            )
        ),
    )
