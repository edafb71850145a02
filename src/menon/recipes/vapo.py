"""VAPO (arXiv 2504.05118): PPO with a critic, made fit for long answers."""

from menon.advantage import VAPO, Whiten
from menon.config import Critic, RunConfig
from menon.loss import NLL, PPOClip, ValueLoss
from menon.loss.share import SelectedMean, TokenMean
from menon.select import Correct
from menon.update.objective import Term
from menon.update.optimiser import Optimiser


def vapo() -> RunConfig:
    """GAE with a lambda by length for the policy and lambda 1 for the critic, clip .2/.28, and an imitation of correct answers.

    Theirs: 512 prompts x 16 samples, 16 updates, learning rates 1e-6 and 2e-6, and 50 steps in which the critic alone learns
    first, from answers of the policy as it starts. That first phase is not part of this recipe. alpha is theirs for answers of
    thousands of tokens; with `advantage.credit.alpha=0.05` answers below 20 tokens have lambda 0.
    """
    return RunConfig(
        recipe="vapo",
        advantage={"credit": VAPO(alpha=0.5), "whiten": Whiten()},
        objective={
            "policy": Term(PPOClip(clip_low=0.2, clip_high=0.28), TokenMean()),
            "imitation": Term(NLL(), SelectedMean(), Correct(), coef=0.1),
        },
        optimiser=Optimiser(learning_rate=3e-4),
        critic=Critic(
            objective={"value": Term(ValueLoss(clip=0.5), TokenMean())},
            optimiser=Optimiser(learning_rate=1e-3),
            updates_per_step=4,
        ),
        updates_per_step=2,
    )
