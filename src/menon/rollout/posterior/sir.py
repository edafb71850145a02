"""Sampling importance resampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menon.errors import at_least
from menon.rollout.posterior.drawn import Drawn, equal, tokens_in, too_few
from menon.rollout.posterior.target import Target
from menon.rollout.posterior.weights import effective_size, log_mean_exp, normalised
from menon.types import Graded, Mean, Metric, Prompt

NONE_USABLE = "were possible: of {} candidates none was graded and ended by itself; raise max_new_tokens"


@dataclass(frozen=True)
class SIR:
    """Draws from n answers of the prior with replacement, by weights w = softmax(r / beta).

    Exact as n grows; with few candidates, nearer to the prior. The effective sample size 1 / sum w^2 says how
    many of the candidates matter: draws beyond it are repetitions.
    """

    candidates: int = 64
    """Answers of the prior to each prompt: n."""
    kind: Literal["sir"] = "sir"

    def __post_init__(self) -> None:
        at_least(1, "candidates", self.candidates)

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        with target.open() as writer:
            groups = writer.groups(prompts, self.candidates)
        return [self.resampled(*each, target, draws) for each in zip(prompts, groups, strict=True)]

    def resampled(self, prompt: Prompt, group: Sequence[Graded], target: Target, draws: int) -> Drawn:
        logs = [target.log_weight(one) for one in group]
        weights = normalised(logs)
        if weights is None:
            note = too_few(0, draws, NONE_USABLE.format(len(group)))
            return Drawn(prompt, (), tuple(group), {"tokens": tokens_in(group)}, note)
        numbers = target.random("resample", prompt).choice(len(group), draws, p=weights).tolist()
        metrics: dict[str, Metric] = {
            "ess": Mean(effective_size(weights)),
            "log_z": Mean(log_mean_exp(logs)),
            "tokens": tokens_in(group),
        }
        return Drawn(prompt, equal([group[n] for n in numbers], steps=numbers), tuple(group), metrics)
