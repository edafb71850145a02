"""PPO with a KL penalty instead of a clip (arXiv 1707.06347, section 4), on group advantages."""

from menon.advantage import GRPO
from menon.config import Models, Policy, RunConfig
from menon.control import PenaltyCoefficient
from menon.loss import OldKL, Surrogate
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def ppo_penalty() -> RunConfig:
    """The plain surrogate plus a penalty on KL(pi_old || pi). The coefficient of the penalty doubles when a
    step moves the policy by more than 1.5 times the target .01, and halves when it moves it by less than two
    thirds of the target.
    """
    return RunConfig(
        recipe="ppo_penalty",
        advantage={"credit": GRPO(), "steer": PenaltyCoefficient(term="penalty", start=1.0, target=0.01)},
        objective={"policy": Term(Surrogate(), TokenMean()), "penalty": Term(OldKL(), TokenMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=4)),
    )
