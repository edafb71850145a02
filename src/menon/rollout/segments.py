"""Answers in segments, with Monte-Carlo values where these begin (SPO-chain, arXiv 2505.23564; VinePPO, arXiv
2410.01679)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from menon.errors import UserError, at_least
from menon.parts import Around
from menon.rollout.fork import Explored, explore
from menon.rollout.groups import answer_groups, answer_on
from menon.rollout.partition import CutPoints, EqualParts, FixedTokens, Lines, Partition, newline_tokens
from menon.rollout.protocols import (
    Collected,
    Grade,
    GradeAll,
    Prompts,
    Sampler,
    StepSizes,
    group_sizes,
)
from menon.types import Estimate, Mean, Metric, Rollout, Sum, Verdict

WITHOUT_END = {
    "length": Verdict(0.0, 0.0, guessed=True),
    "abort": Verdict(math.nan, math.nan, error="the sampler aborted the answer"),
}
"""Finish -> the verdict of an answer that did not end by itself."""


@dataclass(frozen=True)
class Segments:
    """Groups of answers; the value of each state where a segment begins is the mean score of `value_samples`
    new answers from there, by the policy that wrote it and with its sampling. A new answer that is cut by
    `max_new_tokens` scores 0.

    At most `max_values` states of an answer are estimated, its first ones (0: all); a later one takes the
    value of the next, so that the segment between them gets no credit (VinePPO: 25 on GSM8K). So does a state
    for which the grader failed on every new answer. The values are in `Rollout.states`. An answer without a
    cut gets no credit. `tokens/generated` counts the new answers too.
    """

    partition: Literal["cutpoints", "tokens", "parts", "lines"] | Partition = "cutpoints"
    """Where answers are cut: "cutpoints" by `interval` and `threshold`, "tokens" by `segment_tokens`, "parts"
    by `parts`, "lines"; from Python also a function of your own."""
    interval: int = 5
    """Cut before every n-th token below threshold, with cutpoints."""
    threshold: float = 0.9
    """Probability below which a token may be cut at, with cutpoints."""
    segment_tokens: int = 30
    """Tokens of a segment, with tokens."""
    parts: int = 4
    """Segments of an answer, with parts."""
    value_samples: int = 9
    """New answers that estimate a state's value."""
    max_values: int = 0
    """Most states of an answer that are estimated; 0: all."""
    kind: Literal["segments"] = "segments"
    writes: ClassVar[tuple[str, ...]] = ("state_value", "state_std", "state_count")
    forks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        CutPoints(self.interval, self.threshold)  # these three refuse settings that cut nothing
        FixedTokens(self.segment_tokens)
        EqualParts(self.parts)
        at_least(1, "value_samples", self.value_samples)
        if self.max_values < 0:
            raise UserError(f"max_values is {self.max_values}; it must be at least 1, or 0 for all")

    def build(self, around: Around) -> "Segments":
        """The rollout with the function that its partition names. "lines" needs the tokenizer, because lines
        are found by tokens."""
        made: dict[Any, Callable[[], Partition]] = {
            "cutpoints": lambda: CutPoints(self.interval, self.threshold),
            "tokens": lambda: FixedTokens(self.segment_tokens),
            "parts": lambda: EqualParts(self.parts),
            "lines": lambda: Lines(newline_tokens(around.token_texts)),
        }
        if not isinstance(self.partition, str):
            return self
        return replace(self, partition=made[self.partition]())

    def check(self, name: str, around: Around) -> None:
        room = around.sampling.max_new_tokens
        if self.partition == "tokens" and self.segment_tokens >= room:
            raise UserError(
                f"segments of {self.segment_tokens} tokens cut no answer of at most {room}; lower "
                "segment_tokens, or raise max_new_tokens"
            )

    def sizes(self, around: Around) -> StepSizes:
        """New answers from all cuts of a step are asked together, and fill the slots."""
        more = f"and {self.value_samples} continuations from where each segment begins"
        return replace(group_sizes(around, more), at_once=None)

    def __call__(self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around) -> Collected:
        """Answers in the order of the prompts, then of the samples, and metrics of the estimated states and
        their cost."""
        partition = self.build(around).partition
        assert callable(partition)
        asked = prompts.take(around.prompts_per_step)
        with sampler.open(keep=True) as stream:  # a cut answer goes on from what is computed of it
            groups = answer_groups(
                asked,
                around.samples_per_prompt,
                around.sampling,
                sampler,
                grade,
                answer=lambda requests, groups, sampler, grade: answer_on(stream, requests, groups, grade),
            )
            graded = [one for group in groups for one in group]
            rollouts = [g.rollout for g in graded]
            cuts = [partition(rollout) for rollout in rollouts]
            asked_cuts = [places[: self.max_values or None] for places in cuts]
            explored = explore(
                rollouts, asked_cuts, self.value_samples, stream, finished_only(grade), around.sampling
            )
        estimates = explored.estimates()
        valued = [
            replace(
                one,
                rollout=with_states(
                    one.rollout, places, fill_backwards(found, len(places), one.verdict.score)
                ),
            )
            for one, places, found in zip(graded, cuts, estimates, strict=True)
        ]
        metrics = metrics_of(explored, estimates)
        written = sum(one.rollout.num_actions for one in graded)
        return Collected(valued, metrics | {"tokens/generated": Sum(written + explored.generated_tokens)})


def fill_backwards(found: Sequence[Estimate | None], count: int, outcome: float) -> list[Estimate]:
    """[count] states of an answer: a state that was not estimated takes the value of the next one, or the
    outcome after the last one."""
    filled: list[Estimate] = []
    after = Estimate(outcome, 0.0, 0)
    for estimate in reversed([*found, *[None] * (count - len(found))]):
        after = replace(after, std=0.0, count=0) if estimate is None else estimate
        filled.append(after)
    return filled[::-1]


def with_states(rollout: Rollout, cuts: Sequence[int], states: Sequence[Estimate]) -> Rollout:
    before = len(rollout.prompt.tokens)
    return replace(rollout, states={before + cut: state for cut, state in zip(cuts, states, strict=True)})


@dataclass(frozen=True)
class Finished:
    """A grader that gives a truncated answer 0, whatever it says, and an aborted one no score."""

    grade: Grade

    def __call__(self, rollout: Rollout) -> Verdict:
        return WITHOUT_END.get(rollout.finish) or self.grade(rollout)


@dataclass(frozen=True)
class FinishedAll(Finished):
    """The same as `Finished`, for a grader that is faster with many answers at once."""

    grade: Any

    @property
    def apart(self) -> bool:
        return getattr(self.grade, "apart", False)

    def grade_all(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        ended = [rollout for rollout in rollouts if rollout.finish == "stop"]
        verdicts = iter(self.grade.grade_all(ended) if ended else ())
        return [WITHOUT_END.get(rollout.finish) or next(verdicts) for rollout in rollouts]


def finished_only(grade: Grade) -> Grade:
    return FinishedAll(grade) if isinstance(grade, GradeAll) else Finished(grade)


def metrics_of(explored: Explored, estimates: Sequence[Sequence[Estimate | None]]) -> dict[str, Metric]:
    found = [estimate for row in estimates for estimate in row]
    known = [estimate for estimate in found if estimate is not None]
    return {
        "segments/per_answer": Mean(len(found), len(estimates)),
        "segments/states": Sum(len(explored.continued)),
        "segments/unknown": Sum(len(found) - len(known)),
        "segments/value": Mean(sum(estimate.value for estimate in known), len(known)),
        "segments/standard_error": Mean(sum(estimate.error for estimate in known), len(known)),
        "segments/generated_tokens": Sum(explored.generated_tokens),
    }
