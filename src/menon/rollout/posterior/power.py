"""Power sampling: sharper text without a reward (arXiv 2510.14901)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from menon.errors import UserError, at_least
from menon.rollout.groups import judged
from menon.rollout.posterior.acceptance import any_place, log_lengths
from menon.rollout.posterior.blocks import begun, grown, limits_of
from menon.rollout.posterior.chains import Schedule, drawn_from
from menon.rollout.posterior.drawn import Draw, Drawn
from menon.rollout.posterior.likelihood import log_prob, proposed
from menon.rollout.posterior.moves import Trace, advance
from menon.rollout.posterior.target import Target
from menon.rollout.posterior.writer import tokens_of
from menon.types import Graded, Prompt


@dataclass(frozen=True)
class Power:
    """Draws from pi(y)^alpha / Z, with proposals at temperature 1 / alpha; beta and the reward play no part.

    The answer grows by blocks. After each, `moves` times: keep the first i of its n tokens, i uniform, write
    the rest anew up to the same limit, and accept with probability
    min(1, exp(alpha (S' - S) - (S_T' - S_T) + log(n / n'))), S and S_T the log-probs of the whole answer at
    temperature 1 and as it was proposed. The paper leaves out n / n', which matters where answers end before
    the limit. Truncated answers belong to the target. Exact with many moves. UserError: another temperature
    than 1, or top_p, top_k or a forking temperature, which would be another prior.
    """

    alpha: float = 4.0
    """The exponent; proposals have temperature 1 / alpha."""
    blocks: int = 16
    """Into how many blocks the longest answer is divided."""
    moves: int = 10
    """Steps of a chain after each block, and between two draws of one chain."""
    chains: int = 4
    """Chains for each prompt."""
    kind: Literal["power"] = "power"

    def __post_init__(self) -> None:
        for name in ("blocks", "moves", "chains"):
            at_least(1, name, getattr(self, name))
        if self.alpha < 1:
            raise UserError(f"alpha is {self.alpha}; power sampling sharpens, so set it to at least 1")

    def __call__(self, prompts: Sequence[Prompt], target: Target, draws: int) -> list[Drawn]:
        prior = replace(target.sampling, top_p=1.0, top_k=0, temperature=1.0, forking_temperature=None)
        if target.sampling != prior:
            raise UserError("power raises the model's own distribution: set temperature=1 and top_p=1")
        inner = replace(
            target,
            grade=log_prob(target),
            sampling=replace(prior, temperature=1 / self.alpha),
            truncated="score",
        )
        limits = limits_of(prior.max_new_tokens, self.blocks)
        schedule = Schedule(self.chains, 0, self.moves)
        with inner.open() as writer:
            groups = begun(writer, prompts, self.chains, limits[0])
            traces = [Trace.begun(*each) for each in zip(prompts, groups, strict=True)]
            for limit in limits:
                longer = grown(writer, [trace.states[-1] for trace in traces], limit)
                for trace, group in zip(traces, longer, strict=True):
                    trace.tokens += tokens_of(group) - tokens_of(trace.states[-1])
                    trace.states[-1] = group
                last = limit == limits[-1]
                traces = [trace.settled() for trace in traces] if last else traces
                for _ in range(schedule.steps(draws)[-1] if last else self.moves):
                    advance(traces, writer, inner, any_place, self.ahead, limit)
        found = [drawn_from(trace, schedule, draws, inner) for trace in traces]
        return [replace(one, draws=regraded(one.draws, target), prior=()) for one in found]

    def ahead(self, state: Graded, proposal: Graded) -> float:
        gain = self.alpha * (proposal.verdict.score - state.verdict.score)
        return gain - proposed(proposal) + proposed(state) + log_lengths(state, proposal)


def regraded(draws: Sequence[Draw], target: Target) -> tuple[Draw, ...]:
    """The draws with the verdicts of the target's grader."""
    _, verdicts = judged(((n, draw.graded.rollout) for n, draw in enumerate(draws)), target.grade)
    return tuple(
        replace(draw, graded=replace(draw.graded, verdict=verdicts[n])) for n, draw in enumerate(draws)
    )
