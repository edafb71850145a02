"""The best of n answers to each prompt (RAFT, arXiv 2304.06767, algorithm 1; best-of-n of WebGPT, arXiv
2112.09332, as a source of training text)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from menon.errors import UserError, at_least
from menon.parts import Around
from menon.rollout.groups import answer, answer_groups
from menon.rollout.protocols import Collected, Grade, Notes, Prompts, Sampler, StepSizes, group_sizes
from menon.types import Graded, Mean, Metric, Sum


@dataclass(frozen=True)
class BestOf:
    """Every prompt is answered `samples_per_prompt` times, and the `keep` answers of the highest scores are
    learned from; of equal scores the earlier sample is kept.

    An answer whose grader failed is never kept, so a prompt can keep fewer, or none. The kept answers are in
    the order of the prompts, then of the samples. Rewards and accuracies in the record are those of the kept
    answers, and so higher than the policy's own, which `best_of/written_reward` shows. RAFT keeps one answer
    and imitates it (loss `nll`); an estimator that compares answers to one prompt needs two or more.

    UserError if the grader failed on every answer of a step.
    """

    keep: int = 1
    """Answers to each question that are learned from."""
    kind: Literal["best_of"] = "best_of"

    def __post_init__(self) -> None:
        at_least(1, "keep", self.keep)

    def check(self, name: str, around: Around) -> None:
        if self.keep > around.samples_per_prompt:
            raise UserError(
                f"{name}.keep is {self.keep}, and {around.samples_per_prompt} answers are written to a "
                "prompt; lower it, or raise samples_per_prompt"
            )

    def sizes(self, around: Around) -> StepSizes:
        more = f"of which the {self.keep} best to each prompt are learned from"
        return replace(group_sizes(around, more), sequences=around.prompts_per_step * self.keep)

    def __call__(self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around) -> Collected:
        """`samples_per_prompt` answers to each of `prompts_per_step` prompts, and of them the best."""
        asked = prompts.take(around.prompts_per_step)
        size, ask = around.samples_per_prompt, around.answer or answer
        groups = answer_groups(asked, size, around.sampling, sampler, grade, answer=ask)
        written = [one for group in groups for one in group]
        if isinstance(prompts, Notes):  # dropped answers are seen only here
            prompts.note(written)
        kept = [one for group in groups for one in self.best(group)]
        if not kept and not any(one.verdict.applies for one in written):
            kept = [one for group in groups for one in group[: self.keep]]  # a step without anything to learn
        if not kept:
            raise UserError(
                f"best_of keeps none of {len(written)} answers, because the grader failed on all of them, "
                f"first with: {first_error(written) or 'a score of NaN'}; fix it"
            )
        return Collected(kept, metrics_of(written, kept))

    def best(self, group: Sequence[Graded]) -> list[Graded]:
        """The best of the graded answers, in the order of the group."""
        graded = [place for place, one in enumerate(group) if not math.isnan(one.verdict.score)]
        ranked = sorted(graded, key=lambda place: -group[place].verdict.score)  # stable: ties stay in order
        return [group[place] for place in sorted(ranked[: self.keep])]


def first_error(graded: Sequence[Graded]) -> str:
    """The first message of a grader that failed; "" if there is none."""
    return next((one.verdict.error for one in graded if one.verdict.error), "")


def metrics_of(written: Sequence[Graded], kept: Sequence[Graded]) -> dict[str, Metric]:
    known = [one.verdict.score for one in written if not math.isnan(one.verdict.score)]
    best = [one.verdict.score for one in kept if not math.isnan(one.verdict.score)]
    applies = sum(one.verdict.applies for one in written)
    return {
        "best_of/written_reward": Mean(sum(known), len(known)),
        "best_of/dropped_reward": Mean(sum(known) - sum(best), len(known) - len(best)),
        "best_of/dropped": Sum(len(written) - len(kept)),
        "best_of/failed": Sum(applies - len(known)),
        "tokens/generated": Sum(sum(one.rollout.num_actions for one in written)),
    }
