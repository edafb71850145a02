"""Zero-RL without a critic (DeepSeekMath, arXiv 2402.03300; DeepSeek-R1-Zero, arXiv 2501.12948)."""

from menon.advantage import GRPO
from menon.config import Models, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def grpo() -> RunConfig:
    """Advantages relative to the group, PPO clip .2, no KL, every token of an update weighs the same.

    The paper's own objective divides by each answer's length and has a KL term:
    `objective.policy.share=sequence_mean_token_mean reference=frozen objective.kl.loss=kl
    objective.kl.coef=0.04 objective.kl.share=sequence_mean_token_mean`.
    """
    return RunConfig(
        recipe="grpo",
        advantage={"credit": GRPO()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
    )
