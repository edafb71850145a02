"""GRPO as its paper states it (DeepSeekMath, arXiv 2402.03300)."""

from menon.advantage import GRPO
from menon.config import Models, Policy, RunConfig
from menon.loss import KL, PPOClip
from menon.loss.aggregation import SequenceMeanTokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def grpo_paper() -> RunConfig:
    """Each answer weighs the same, whatever its length; the loss has .04 times k3 to the initial model."""
    return RunConfig(
        recipe="grpo_paper",
        advantage={"credit": GRPO()},
        objective={
            "policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), SequenceMeanTokenMean()),
            "kl": Term(KL("k3"), SequenceMeanTokenMean(), coef=0.04),
        },
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=5e-4)), reference="frozen"),
    )


PAPER = {
    "prompts_per_step": 16,
    "samples_per_prompt": 64,
    "updates_per_step": 1,
    "max_new_tokens": 1024,
    "learning_rate": 1e-6,
}
"""1024 answers a step and one update."""
