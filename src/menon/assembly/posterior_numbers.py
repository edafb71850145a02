"""What the draws of a command show: the numbers over all questions, and a line for each draw."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from menon.results import DrawLine
from menon.rollout.posterior.drawn import Drawn
from menon.types import Graded, Metric, merge

Weighed = Sequence[tuple[Graded, float]]
"""Answers to one question, with weights that add up to 1."""


@dataclass(frozen=True)
class Numbers:
    """Numbers over all questions; those that no question has are left out."""

    draws: Mapping[str, float]
    """Reward, accuracy, length and behaviours of the draws."""
    prior: Mapping[str, float]
    """The same of the model's own answers."""
    method: Mapping[str, float]
    """What `Drawn.metrics` names, distinct (the share of different answers among the draws to a question) and
    tokens_per_draw."""

    def flat(self) -> dict[str, float]:
        """All of them in one table."""
        return {**self.draws, **{f"prior_{name}": value for name, value in self.prior.items()}, **self.method}


def numbers_of(drawn: Sequence[Drawn]) -> Numbers:
    """Means over questions."""
    metrics: dict[str, Metric] = {}
    for one in drawn:
        merge(metrics, one.metrics)
    draws = [[(each.graded, each.weight) for each in one.draws] for one in drawn]
    prior = [[(graded, 1 / len(one.prior)) for graded in one.prior] for one in drawn]
    count = sum(map(len, draws))
    distinct = sum(len({each.graded.rollout.answer_tokens.tobytes() for each in one.draws}) for one in drawn)
    method = {name: float(metric) for name, metric in metrics.items()}
    shares = {"distinct": distinct / max(count, 1), "tokens_per_draw": method["tokens"] / max(count, 1)}
    return Numbers(means(draws), means(prior), method | shares)


def means(groups: Sequence[Weighed]) -> dict[str, float]:
    """Means over questions of weighted means over answers; answers without a number are in none."""
    found: dict[str, list[float]] = {}
    for group in groups:
        known = [(facts(graded), weight) for graded, weight in group]
        for name in dict.fromkeys(name for each, _ in known for name in each):
            mine = [(each[name], weight) for each, weight in known if name in each]
            total = math.fsum(value * weight for value, weight in mine)
            found.setdefault(name, []).append(total / math.fsum(weight for _, weight in mine))
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def facts(graded: Graded) -> dict[str, float]:
    """The numbers of one answer that are known."""
    verdict, rollout = graded.verdict, graded.rollout
    known = {"reward": verdict.score, "accuracy": verdict.acc, "length": len(rollout.answer_tokens)}
    known |= {"truncated": float(rollout.finish != "stop"), **verdict.shows}
    return {name: float(value) for name, value in known.items() if not math.isnan(value)}


def lines_of(drawn: Sequence[Drawn]) -> Iterator[DrawLine]:
    """The line of each draw."""
    for one in drawn:
        for draw in one.draws:
            verdict, rollout = draw.graded.verdict, draw.graded.rollout
            yield {
                "row": one.prompt.index,
                "question": one.prompt.columns.get("question", one.prompt.text),
                "answer": rollout.text,
                "gold": one.prompt.answer,
                "tokens": rollout.answer_tokens.tolist(),
                "reward": verdict.score,
                "acc": None if math.isnan(verdict.acc) else verdict.acc,
                "weight": draw.weight,
                "chain": draw.chain,
                "step": draw.step,
            }
