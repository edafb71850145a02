"""Dynamic sampling: only groups with signal are trained on (DAPO, arXiv 2503.14476, section 3.2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from menon.errors import UserError
from menon.parts import Around
from menon.rollout.groups import answer, answer_groups
from menon.rollout.protocols import Collected, Grade, Notes, Prompts, Sampler, StepSizes, group_sizes
from menon.truth import check_known, settled
from menon.types import Graded, Metric, Sum

Signal = Literal["kept", "all_wrong", "all_correct", "ungraded"]


@dataclass(frozen=True)
class DynamicSampling:
    """Keeps a group iff `lo < mean acc < hi`, and asks new prompts until `prompts_per_step` groups are kept.

    `acc` is the raw correctness, before any shaping: with a shaped reward an all-wrong group of different
    lengths would pass. Answers whose grader failed are left out of the mean; a group without any graded
    answer is not kept.

    Groups beyond `prompts_per_step` are dropped from the end, in the order of the prompts. The order of
    arrival would keep the questions that are answered quickly, which favours short answers, and would make a
    run depend on the machine's timing.
    """

    lo: float = 0.0
    """A group is kept if its mean accuracy is above this."""
    hi: float = 1.0
    """A group is kept if its mean accuracy is below this."""
    prompts_per_round: int = 0
    """Prompts asked at a time; 0: `prompts_per_step`. The paper asks three times as many."""
    max_rounds: int = 10
    """Most times that new questions are asked in a step."""
    min_groups: int = 1
    """The fewest groups that a step is trained on when the rounds are used up."""
    kind: Literal["dynamic_sampling"] = "dynamic_sampling"

    def __post_init__(self) -> None:
        if self.prompts_per_round < 0 or self.max_rounds < 1 or self.min_groups < 1:
            raise UserError("max_rounds and min_groups must be at least 1, prompts_per_round at least 0")
        if not self.lo < self.hi:
            raise UserError(f"no accuracy lies between lo {self.lo} and hi {self.hi}; raise hi or lower lo")

    def check(self, name: str, around: Around) -> None:
        prompts, samples = around.prompts_per_step, around.samples_per_prompt
        if self.min_groups > prompts:
            raise UserError(
                f"min_groups {self.min_groups} of {name} is more than the {prompts} prompts_per_step; "
                "lower it"
            )
        if not any(self.lo < correct / samples < self.hi for correct in range(samples + 1)):
            raise UserError(
                f"no group of {samples} can have an accuracy between {self.lo} and {self.hi} as {name} asks; "
                "raise samples_per_prompt or widen the range"
            )

    def sizes(self, around: Around) -> StepSizes:
        return group_sizes(around, "and more, to replace groups without signal")

    def __call__(self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around) -> Collected:
        """Groups in the order of their prompts, numbered from 0 without gaps, and counts of the generated
        groups.

        UserError when the rounds are used up before `min_groups` groups are kept.
        """
        seen: list[list[Graded]] = []
        kept: list[list[Graded]] = []
        rounds = 0
        while len(kept) < around.prompts_per_step and rounds < self.max_rounds:
            asked = prompts.take(self.prompts_per_round or around.prompts_per_step)
            groups = answer_groups(
                asked,
                around.samples_per_prompt,
                around.sampling,
                sampler,
                grade,
                len(seen),
                around.answer or answer,
            )
            check_known(settled([graded for group in groups for graded in group]), "dynamic sampling")
            seen += groups
            kept += [group for group in groups if self.signal(group) == "kept"]
            rounds += 1
        if isinstance(prompts, Notes):  # dropped groups are seen only here
            prompts.note([graded for group in seen for graded in group])
        counts = self.count(seen)
        if len(kept) < self.min_groups:
            raise UserError(self.complaint(len(kept), rounds, counts, seen))
        kept = kept[: around.prompts_per_step]
        graded = [regroup(one, number) for number, group in enumerate(kept) for one in group]
        return Collected(graded, counts | {"dynamic/rounds": Sum(rounds)})

    def signal(self, group: Sequence[Graded]) -> Signal:
        accs = [answer.verdict.acc for answer in group if not math.isnan(answer.verdict.acc)]
        if not accs:
            return "ungraded"
        mean = sum(accs) / len(accs)
        if self.lo < mean < self.hi:
            return "kept"
        return "all_wrong" if mean <= self.lo else "all_correct"

    def count(self, seen: Sequence[Sequence[Graded]]) -> dict[str, Metric]:
        """`groups_kept` counts the surplus too: it says how many groups of those generated could be trained
        on."""
        kinds = [self.signal(group) for group in seen]
        answers = [answer for group in seen for answer in group]
        return {
            "dynamic/groups_generated": Sum(len(seen)),
            "dynamic/groups_kept": Sum(kinds.count("kept")),
            "dynamic/all_correct": Sum(kinds.count("all_correct")),
            "dynamic/all_wrong": Sum(kinds.count("all_wrong")),
            "dynamic/ungraded": Sum(kinds.count("ungraded")),
            "dynamic/failed_answers": Sum(
                sum(math.isnan(answer.verdict.score) and answer.verdict.applies for answer in answers)
            ),
            "tokens/generated": Sum(sum(answer.rollout.num_actions for answer in answers)),
        }

    def complaint(
        self, kept: int, rounds: int, counts: dict[str, Metric], seen: Sequence[Sequence[Graded]]
    ) -> str:
        number = {name.removeprefix("dynamic/"): int(float(metric)) for name, metric in counts.items()}
        errors = [answer.verdict.error for group in seen for answer in group if answer.verdict.error]
        failed = (
            f" {number['failed_answers']} answers could not be graded, the first because: {errors[0]}"
            if errors
            else ""
        )
        return (
            f"dynamic sampling kept {kept} of {number['groups_generated']} groups in {rounds} rounds and "
            f"needs {self.min_groups} "
            f"({number['all_correct']} with accuracy at or above {self.hi:g}, {number['all_wrong']} at or "
            f"below {self.lo:g}). "
            f"Use easier or harder questions, more samples_per_prompt or more max_rounds.{failed}"
        )


def regroup(answer: Graded, number: int) -> Graded:
    return replace(answer, rollout=replace(answer.rollout, group=number))
