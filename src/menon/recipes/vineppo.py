"""VinePPO (arXiv 2410.01679): Monte-Carlo values after every line of an answer, in place of a critic."""

from menon.advantage import SegmentCredit, Whiten
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import KL, PPOClip
from menon.loss.aggregation import SequenceMean, TokenMean
from menon.rollout.segments import Segments
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def vineppo() -> RunConfig:
    """Every line is a step; nine new answers from its beginning estimate the value of the state there. PPO
    clip .2, whitened advantages, 1e-4 times k3 to the initial model in the loss, no mask."""
    return RunConfig(
        recipe="vineppo",
        advantage={"credit": SegmentCredit(), "whiten": Whiten()},
        objective={
            "policy": Term(PPOClip(clip_low=0.2, clip_high=0.2, limit=10), TokenMean()),
            "kl": Term(KL("k3"), SequenceMean(), coef=1e-4),
        },
        source=OnlineSource(
            rollout=Segments(partition="lines", value_samples=9), prompts_per_step=16, samples_per_prompt=4
        ),
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2), reference="frozen"
        ),
    )


PAPER = {
    "prompts_per_step": 64,
    "samples_per_prompt": 8,
    "updates_per_step": 8,
    "max_new_tokens": 1024,
    "temperature": 0.6,
    "top_p": 0.9,
    "rollout.max_values": 20,
    "learning_rate": 1e-6,
}
"""The numbers for MATH (GSM8K: 25 values). Answers are drawn with top-p .9 and learned from as if drawn from
all tokens. The authors make two passes over them; here it is one."""
