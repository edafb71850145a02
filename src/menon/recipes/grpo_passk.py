"""GRPO for the best of k (arXiv 2503.19595): one winner per group."""

from menon.advantage import GRPOPassK
from menon.config import Models, OnlineSource, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def grpo_passk() -> RunConfig:
    """Only an answer that is better than all others of its group is credited, with its lead. With rewards of
    0 and 1 that is an answer that was right alone, so groups are small: 4 samples.
    """
    return RunConfig(
        recipe="grpo_passk",
        advantage={"credit": GRPOPassK()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), TokenMean())},
        source=OnlineSource(prompts_per_step=64, samples_per_prompt=4),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
    )
