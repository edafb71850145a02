"""Power sampling: sharper text without a reward (arXiv 2510.14901)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from menon.errors import UserError, at_least
from menon.rollout.groups import judged
from menon.rollout.posterior.chains import Trace, advance, any_place, log_lengths
from menon.rollout.posterior.likelihood import log_prob, proposed
from menon.rollout.posterior.mixing import mixing
from menon.rollout.posterior.target import Drawn, Target, equal
from menon.rollout.posterior.writer import Writer, limits_of
from menon.types import Graded, Mean, Metric, Prompt, Sum


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
        most = prior.max_new_tokens
        limits = limits_of(most, self.blocks)
        last = -(-draws // self.chains) * self.moves
        with inner.open() as writer:
            begin = Writer(writer.stream, writer.grade, replace(inner.sampling, max_new_tokens=limits[0]))
            traces = [
                Trace.begun(prompt, group)
                for prompt, group in zip(prompts, begin.groups(prompts, self.chains), strict=True)
            ]
            for limit in limits:
                longer = writer.grown([trace.states[-1] for trace in traces], limit)
                for trace, group in zip(traces, longer, strict=True):
                    trace.tokens += size(group) - size(trace.states[-1])
                    trace.states[-1] = group
                for _ in range(last if limit == most else self.moves):
                    advance(traces, writer, inner, any_place, self.ahead, limit)
        return [self.drawn(trace, target, draws) for trace in traces]

    def ahead(self, state: Graded, proposal: Graded) -> float:
        gain = self.alpha * (proposal.verdict.score - state.verdict.score)
        return gain - proposed(proposal) + proposed(state) + log_lengths(state, proposal)

    def drawn(self, trace: Trace, target: Target, draws: int) -> Drawn:
        """Every `moves`-th state of the whole answers, with the verdicts of the target's grader."""
        first = len(trace.states) - 1 - (-(-draws // self.chains) - 1) * self.moves
        steps = range(first, len(trace.states), self.moves)
        places = [(step, chain) for step in steps for chain in range(self.chains)][:draws]
        states = [trace.states[step][chain] for step, chain in places]
        rollouts, verdicts = judged(((n, one.rollout) for n, one in enumerate(states)), target.grade)
        graded = [Graded(rollouts[number], verdicts[number]) for number in range(len(states))]
        whole = len(trace.states) - len(steps) * self.moves
        taken = trace.accepted[whole - 1 :]
        metrics: dict[str, Metric] = {
            "acceptance": Mean(sum(map(sum, taken)), sum(map(len, taken))),
            "tokens": Sum(trace.tokens),
            **mixing(trace.states[whole:], draws),
        }
        chains, numbers = [chain for _, chain in places], [step for step, _ in places]
        return Drawn(trace.prompt, equal(graded, chains, numbers), (), metrics)


def size(group: Sequence[Graded]) -> int:
    """Tokens of the answers."""
    return sum(len(one.rollout.answer_tokens) for one in group)
