"""DAPO (arXiv 2503.14476): clip-higher, token mean, dynamic sampling, soft penalty on long answers."""

from menon.advantage import GRPO
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.rollout.dynamic import DynamicSampling
from menon.shaping import Overlong
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def dapo() -> RunConfig:
    """Clip .2/.28, no KL; groups that are all right or all wrong are replaced by other prompts; answers in
    the last fifth of the length limit, `max_new_tokens`, are penalised by up to 1.
    """
    return RunConfig(
        recipe="dapo",
        advantage={"overlong": Overlong(), "credit": GRPO()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.28), TokenMean())},
        source=OnlineSource(rollout=DynamicSampling()),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
    )


PAPER = {
    "prompts_per_step": 512,
    "samples_per_prompt": 16,
    "updates_per_step": 16,
    "max_new_tokens": 20480,
    "rollout.prompts_per_round": 1536,
    "optimiser": {"learning_rate": 1e-6, "weight_decay": 0.1, "warmup_updates": 320},
}
"""With a warm-up of 20 steps; each round asks three times the prompts of a step."""
