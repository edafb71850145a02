"""Dr.GRPO (arXiv 2503.20783): GRPO without its two biases."""

from menon.advantage import GRPO
from menon.config import Models, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import Constant
from menon.shaping import TruncatedReward
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def drgrpo() -> RunConfig:
    """No deviation (which weighs easy and hard questions more) and a constant length in the denominator (long
    wrong answers are not cheap); a truncated answer gets reward 0. The constant is the length limit of an
    answer, `max_new_tokens`.
    """
    return RunConfig(
        recipe="drgrpo",
        advantage={"truncated": TruncatedReward(factor=0.0), "credit": GRPO(std_mode="none")},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), Constant())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=1e-3), updates_per_step=2)),
    )


PAPER = {
    "prompts_per_step": 128,
    "samples_per_prompt": 8,
    "max_new_tokens": 3000,
    "learning_rate": 1e-6,
}
"""Updates per step: not stated."""
