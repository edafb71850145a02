"""VAPO (arXiv 2504.05118): PPO with a critic, adapted to long answers."""

from menon.advantage import VAPO, Whiten
from menon.config import Critic, Models, Policy, RunConfig
from menon.loss import NLL, PPOClip, ValueLoss
from menon.loss.aggregation import SelectedMean, TokenMean
from menon.select import Correct
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def vapo() -> RunConfig:
    """In the first steps only the critic learns. After that: GAE with a lambda by length for the policy and
    lambda 1 for the critic, clip .2/.28, and an imitation of correct answers. The authors' alpha, .05, is for
    thousands of tokens: it gives lambda 0 for answers of up to 20 tokens.
    """
    return RunConfig(
        recipe="vapo",
        advantage={"credit": VAPO(alpha=0.5), "whiten": Whiten()},
        objective={
            "policy": Term(PPOClip(clip_low=0.2, clip_high=0.28), TokenMean()),
            "imitation": Term(NLL(), SelectedMean(), Correct(), coef=0.1),
        },
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=2),
            critic=Critic(
                objective={"value": Term(ValueLoss(clip=0.5), TokenMean())},
                optimiser=Optimiser(learning_rate=1e-3),
                updates_per_step=4,
                pretrain_steps=5,
            ),
        ),
    )


PAPER = {
    "prompts_per_step": 512,
    "samples_per_prompt": 16,
    "updates_per_step": 16,
    "advantage.credit.alpha": 0.05,
    "learning_rate": 1e-6,
    "critic": {"updates_per_step": 16, "pretrain_steps": 50, "learning_rate": 2e-6},
}
"""The length limit of an answer and the updates of the warm-up are not stated."""
