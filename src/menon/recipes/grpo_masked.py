"""GRPO with the probability mask of SPO (arXiv 2505.23564, section 5.2)."""

from menon.advantage import GRPO, Whiten
from menon.config import Models, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import SelectedMean
from menon.select import ProbabilityMask
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def grpo_masked() -> RunConfig:
    """As the recipe `grpo`, but only tokens with a probability below .9 learn, and advantages are whitened
    over them.

    The selection and the whitening each have a setting `below`.
    """
    return RunConfig(
        recipe="grpo_masked",
        advantage={"credit": GRPO(std_mode="population", eps=1e-8), "whiten": Whiten(below=0.9)},
        objective={
            "policy": Term(
                PPOClip(clip_low=0.2, clip_high=0.2, limit=10), SelectedMean(), ProbabilityMask(below=0.9)
            )
        },
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
    )


PAPER = {
    "prompts_per_step": 64,
    "samples_per_prompt": 8,
    "updates_per_step": 8,
    "max_new_tokens": 1024,
    "temperature": 0.6,
    "top_p": 0.9,
    "learning_rate": 1e-6,
}
"""512 answers a step in updates of 64, drawn with top-p .9 and learned from as if drawn from all tokens. The
authors make two passes over them; here it is one."""
