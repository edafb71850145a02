"""DAPO (arXiv 2503.14476): clip-higher, token mean, dynamic sampling, soft penalty on long answers."""

from menon.advantage import GRPO, Overlong
from menon.config import DynamicRollout, RunConfig
from menon.loss import PPOClip
from menon.loss.share import TokenMean
from menon.update.objective import Term
from menon.update.optimiser import Optimiser


def dapo() -> RunConfig:
    """Clip .2/.28, no KL; groups that are all right or all wrong are asked again; the last fifth of the room costs up to 1.

    Theirs: 512 prompts x 16 samples, 16 updates a step, learning rate 1e-6 with 20 steps of warm-up, 20480 tokens of which the
    last 4096 are the buffer. With another `max_new_tokens` set `advantage.overlong.limit` to it.
    """
    return RunConfig(
        recipe="dapo",
        advantage={"overlong": Overlong(limit=96, buffer=19), "credit": GRPO()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.28), TokenMean())},
        rollout=DynamicRollout(),
        optimiser=Optimiser(learning_rate=3e-4),
        updates_per_step=2,
    )
