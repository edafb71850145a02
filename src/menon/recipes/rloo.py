"""RLOO (Kool et al. 2019; Ahmadian et al., arXiv 2402.14740): the other answers as the baseline."""

from menon.advantage import RLOO
from menon.config import Models, Policy, RunConfig
from menon.loss import PolicyGradient
from menon.loss.aggregation import SequenceMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def rloo() -> RunConfig:
    """Each answer is compared with the mean of the others; no standard deviation, sums over tokens; one
    update, on-policy.

    Libraries make several updates with a clipped ratio of whole answers: `updates_per_step=4
    objective.policy.loss='{kind: gspo, ratio: product, clip_low: 0.2, clip_high: 0.2}'`.
    """
    return RunConfig(
        recipe="rloo",
        advantage={"credit": RLOO()},
        objective={"policy": Term(PolicyGradient(), SequenceMean())},
        models=Models(policy=Policy(optimiser=Optimiser(learning_rate=5e-4))),
    )


PAPER = {
    "samples_per_prompt": 2,
    "advantage": {"kl": {"kind": "kl_in_reward", "beta": 0.05}, "credit": "rloo"},
    "reference": "frozen",
    "learning_rate": 1e-6,
}
"""Two samples per prompt, or four; a KL to the reference in the reward."""
