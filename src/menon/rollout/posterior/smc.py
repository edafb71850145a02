"""Sequential Monte Carlo: many answers grow together, and promising ones multiply (arXiv 2404.17546)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menon.errors import at_least
from menon.rollout.posterior.blocks import begun, grown, limits_of
from menon.rollout.posterior.cloud import Cloud
from menon.rollout.posterior.drawn import Drawn, equal, too_few
from menon.rollout.posterior.sir import NONE_USABLE
from menon.rollout.posterior.target import Target
from menon.rollout.posterior.twist import look_ahead
from menon.rollout.posterior.weights import effective_size, log_mean_exp
from menon.types import Mean, Metric, Prompt, Sum


@dataclass(frozen=True)
class SMC:
    """Particles grow by blocks, which the prior writes. After each block a particle weighs by the ratio of
    its twist to that before the block; where 1 / sum w^2 is below half their number they are resampled.

    The twist of a beginning is the mean of exp(r / beta) over `lookahead` endings that the prior writes, a
    truncated one counted with its reward; a whole answer's is its own exp(r / beta). Draws are particles
    by their weights. Exact with many particles for any number of endings, because a twist only guides.
    """

    particles: int = 32
    """Answers to each prompt that grow together."""
    blocks: int = 4
    """Into how many blocks the longest answer is divided."""
    lookahead: int = 1
    """Endings of each beginning that estimate its twist."""
    kind: Literal["smc"] = "smc"

    def __post_init__(self) -> None:
        for name in ("particles", "blocks", "lookahead"):
            at_least(1, name, getattr(self, name))

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        limits = limits_of(target.sampling.max_new_tokens, self.blocks)
        with target.open() as writer:
            groups = begun(writer, prompts, self.particles, limits[0])
            clouds = [Cloud(prompt, group) for prompt, group in zip(prompts, groups, strict=True)]
            for limit in limits:
                longer = grown(writer, [cloud.particles for cloud in clouds], limit)
                for cloud, particles in zip(clouds, longer, strict=True):
                    cloud.grow(particles)
                look_ahead(clouds, writer, target, self.lookahead, limit, limits[-1])
                for cloud in clouds if limit < limits[-1] else []:
                    cloud.resample(target.random("resample", cloud.prompt, limit))
        return [self.drawn(cloud, target, draws) for cloud in clouds]

    def drawn(self, cloud: Cloud, target: Target, draws: int) -> Drawn:
        weights, tokens = cloud.weights(), Sum(cloud.tokens)
        if weights is None:
            note = too_few(0, draws, NONE_USABLE.format(self.particles))
            return Drawn(cloud.prompt, (), (), {"tokens": tokens}, note)
        numbers = target.random("draw", cloud.prompt).choice(self.particles, draws, p=weights).tolist()
        metrics: dict[str, Metric] = {
            "ess": Mean(effective_size(weights)),
            "log_z": Mean(cloud.log_z + log_mean_exp(cloud.logs.tolist())),
            "tokens": tokens,
        }
        return Drawn(cloud.prompt, equal([cloud.particles[n] for n in numbers], steps=numbers), (), metrics)
