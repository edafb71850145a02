"""REINFORCE++ with the mean of the group as its baseline (arXiv 2501.03262, section 3)."""

from menon.advantage import ReinforcePPBaseline
from menon.config import Models, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def reinforce_pp_baseline() -> RunConfig:
    """Rewards minus the mean of their group, then whitened over all tokens of the step; PPO clip .2. For the
    KL (k2) to the reference set `reference=frozen objective.kl.loss='{kind: kl, estimator: k2}'
    objective.kl.share=token_mean objective.kl.coef=0.001`.
    """
    return RunConfig(
        recipe="reinforce_pp_baseline",
        advantage={"credit": ReinforcePPBaseline()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
    )
