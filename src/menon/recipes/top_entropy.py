"""Beyond the 80/20 rule (arXiv 2506.01939): DAPO on the fifth of the tokens with the highest entropy."""

from menon.advantage import GRPO
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import SelectedMean
from menon.rollout.dynamic import DynamicSampling
from menon.select import TopEntropy
from menon.shaping import Overlong
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def top_entropy() -> RunConfig:
    """As the recipe `dapo`, and the loss is the mean over the selected tokens.

    The ablation in which performance collapses: `objective.policy.select.keep=bottom
    objective.policy.select.fraction=.8`.
    """
    return RunConfig(
        recipe="top_entropy",
        advantage={"overlong": Overlong(), "credit": GRPO()},
        objective={
            "policy": Term(PPOClip(clip_low=0.2, clip_high=0.28), SelectedMean(), TopEntropy(fraction=0.2))
        },
        source=OnlineSource(rollout=DynamicSampling()),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
    )


PAPER = {
    "prompts_per_step": 512,
    "samples_per_prompt": 16,
    "updates_per_step": 16,
    "max_new_tokens": 20480,
    "optimiser": {"learning_rate": 1e-6, "warmup_updates": 0},
}
"""Without warm-up, other than `dapo`."""
