"""Iterative DPO on the policy's own answers (Is DPO Superior to PPO, arXiv 2404.10719)."""

from menon.arrange import BestWorst
from menon.config import Models, Policy, RunConfig
from menon.loss import DPO
from menon.loss.aggregation import PairMean
from menon.update.optimiser import Optimiser
from menon.update.reference import HardReset
from menon.update.terms import Term


def iterative_dpo() -> RunConfig:
    """The best answer of every group is preferred to the worst, and DPO learns the pairs against a reference
    that becomes the policy after every fourth step, which begins the next iteration.

    Answers are new in every step, so within an iteration this is online DPO; `reference_update=null` keeps
    the first reference, as TRL's online DPO does. Other losses on pairs: objective.policy.loss=ipo, ...
    """
    return RunConfig(
        recipe="iterative_dpo",
        advantage={},
        arrange={"pairs": BestWorst()},
        objective={"policy": Term(DPO(beta=0.1), PairMean())},
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=4),
            reference="frozen",
            reference_update=HardReset(every=4),
        ),
    )
