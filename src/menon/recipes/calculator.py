"""A base model learns to use a calculator: turns with a tool, in one sequence, observations never trained
on."""

from menon.advantage import GRPO
from menon.config import Control, Models, OnlineSource, Policy, RunConfig
from menon.loss import PPOClip
from menon.loss.aggregation import TokenMean
from menon.rollout.environments import Calculator
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def calculator() -> RunConfig:
    """GRPO as in the recipe `grpo`; whenever the policy writes `=`, the calculator appends the result.  The
    prompt does not mention the calculator. The built-in base writes `3+8=` in some of its answers anyway; an
    answer that does so for every term is right, and a guess rarely is.
    """
    return RunConfig(
        recipe="calculator",
        advantage={"credit": GRPO()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), TokenMean())},
        source=OnlineSource(environment=Calculator()),
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2)),
        control=Control(steps=20),
    )
