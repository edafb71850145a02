"""PPO as Open-Reasoner-Zero uses it (arXiv 2503.24290), scaled to a laptop."""

from menon.advantage import GAE, Whiten
from menon.config import Critic, Models, Policy, RunConfig
from menon.loss import PPOClip, ValueLoss
from menon.loss.aggregation import TokenMean
from menon.update.optimiser import Optimiser
from menon.update.terms import Term


def ppo() -> RunConfig:
    """A separate critic, GAE with lambda = gamma = 1, whitened; clip .2 for policy and value, rule reward, no
    KL, no entropy bonus; one policy update a step (on-policy), several of the critic. The authors draw the
    critic's head from U(-sqrt 5, sqrt 5); a short run is too short to unlearn that start, so here the head
    starts at 0.
    """
    return RunConfig(
        recipe="ppo",
        advantage={"credit": GAE(gamma=1.0, lam=1.0), "whiten": Whiten()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.2), TokenMean())},
        models=Models(
            policy=Policy(optimiser=Optimiser(learning_rate=5e-4)),
            critic=Critic(
                objective={"value": Term(ValueLoss(clip=0.2), TokenMean())},
                optimiser=Optimiser(learning_rate=1e-3),
                updates_per_step=4,
            ),
        ),
    )


PAPER = {
    "prompts_per_step": 128,
    "samples_per_prompt": 64,
    "max_new_tokens": 8000,
    "optimiser": {"learning_rate": 1e-6, "warmup_updates": 50},
    "critic": {
        "updates_per_step": 12,
        "init": "orz",
        "optimiser": {"learning_rate": 5e-6, "warmup_updates": 50},
    },
}
"""The published numbers, for questions of up to 2048 tokens."""
