"""Beyond the 80/20 rule (arXiv 2506.01939): DAPO on the fifth of the tokens with the highest entropy."""

from menon.advantage import GRPO, Overlong
from menon.config import DynamicRollout, RunConfig
from menon.loss import PPOClip
from menon.loss.share import SelectedMean
from menon.select import TopEntropy
from menon.update.objective import Term
from menon.update.optimiser import Optimiser


def top_entropy() -> RunConfig:
    """As the recipe `dapo`, and the loss is the mean over the selected tokens.

    Theirs: 512 prompts x 16 samples, 16 updates a step, learning rate 1e-6 without warm-up, 20480 tokens, buffer 4096. The
    ablation in which performance collapses: `objective.policy.select.keep=bottom objective.policy.select.fraction=.8`.
    """
    return RunConfig(
        recipe="top_entropy",
        advantage={"overlong": Overlong(limit=96, buffer=19), "credit": GRPO()},
        objective={"policy": Term(PPOClip(clip_low=0.2, clip_high=0.28), SelectedMean(), TopEntropy(fraction=0.2))},
        rollout=DynamicRollout(),
        optimiser=Optimiser(learning_rate=3e-4),
        updates_per_step=2,
    )
