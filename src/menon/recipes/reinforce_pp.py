"""REINFORCE++ (arXiv 2501.03262): no critic and no groups, whitened over the step."""

from menon.advantage import ReinforcePP
from menon.config import Models, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.shaping import KLInReward
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def reinforce_pp() -> RunConfig:
    """The return-to-go of each token, with a KL penalty on every token, whitened over all tokens; PPO clip
    .2."""
    return RunConfig(
        recipe="reinforce_pp",
        advantage={"kl": KLInReward(beta=0.001), "credit": ReinforcePP()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), TokenMean())},
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2), reference="frozen"
        ),
    )


PAPER = {"learning_rate": 1e-6}
"""The recipe already has the published clip range; the other numbers, beta too, are not stated."""
