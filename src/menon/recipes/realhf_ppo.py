"""PPO of "Is DPO Superior to PPO" (arXiv 2404.10719; ReaLHF): normalised advantages, a large batch, a
reference that follows."""

from menon.advantage import NormalisedGAE, Whiten
from menon.config import Critic, Models, OnlineSource, Policy, RunConfig
from menon.loss import PPOClip, ValueLoss
from menon.loss.aggregation import TokenMean
from menon.shaping import KLInReward, RewardNorm
from menon.update.optimiser import Optimiser
from menon.update.reference import MovingAverage
from menon.update.terms import Term


def realhf_ppo() -> RunConfig:
    """GAE with lambda = gamma = 1, with the critic's value where an answer was cut; advantages divided by
    their population standard deviation + 1e-5; .1 times k1 to the reference in the reward; a reference that
    moves towards the policy by .001 a step; clip .2 for policy and value; rewards clamped to +-20; normalised
    values.

    Answers are drawn from the 200 likeliest tokens, and all log-probs are over those (`truncation=exact`), as
    with the authors' mask on the trainer's logits. The share of probability kept is `sampling/kept`.
    """
    return RunConfig(
        recipe="realhf_ppo",
        advantage={
            "clip": RewardNorm(over="none", clip=20.0),
            "kl": KLInReward(beta=0.1),
            "credit": NormalisedGAE(gamma=1.0, lam=1.0, bootstrap_truncated=True),
            "whiten": Whiten(std_mode="population", eps=1e-5, eps_on="deviation"),
        },
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), TokenMean())},
        source=OnlineSource(top_k=200, truncation="exact"),
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=3e-4), updates_per_step=4),
            reference="frozen",
            reference_update=MovingAverage(rate=0.001),
            critic=Critic(
                objective={"value": Term(ValueLoss(clip=0.2), TokenMean())},
                optimiser=Optimiser(learning_rate=1e-3),
                updates_per_step=4,
            ),
        ),
    )


PAPER = {
    "prompts_per_step": 512,
    "samples_per_prompt": 1,
    "updates_per_step": 4,
    "max_new_tokens": 1024,
    "learning_rate": 1e-5,
    "critic": {"updates_per_step": 4, "learning_rate": 5e-6},
}
"""A batch of 512 answers in four updates. For programs the authors use a reward of 10."""
