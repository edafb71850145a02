"""RAFT (arXiv 2304.06767): imitation of the best of the policy's own answers."""

from menon.arrange import BestOf
from menon.config import Models, Policy, RunConfig
from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def raft() -> RunConfig:
    """Of every group the answer of highest reward is learned by maximum likelihood; groups without one that
    earns more than the others and than 0 teach nothing. Every step goes on from the current policy.

    RAFT++ (arXiv 2504.11343) takes every right answer, with PPO's clipped ratio: `arrange.best=correct_of
    advantage.credit=reinforce objective.policy.loss=ppo_clip`.
    """
    return RunConfig(
        recipe="raft",
        advantage={},
        arrange={"best": BestOf(keep=1)},
        objective={"policy": Term(NLL(), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
    )
