"""A fixed number of answers to each question."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from menon.parts import Around
from menon.rollout.answered import Answered
from menon.rollout.grade_async import judge_aside
from menon.rollout.pieces import GroupsInPieces
from menon.rollout.protocols import Answer, Collected, Grade, GradeAll, Prompts, Sampler, Stream
from menon.types import Graded, Prompt, Request, Rollout, Sampling, Verdict

Key = TypeVar("Key", int, tuple[int, ...])


def answer(
    requests: Sequence[Request], groups: Sequence[int], sampler: Sampler, grade: Grade
) -> list[Graded]:
    """One turn each. Answers are graded in a thread while others are written. A grader for many answers
    (`GradeAll`) gets all of them at once, unless its verdicts do not depend on each other (`apart`).

    The result is in the order of the requests, which carry the given group numbers. Errors: `Answered`.
    """
    with sampler.open() as stream:
        return answer_on(stream, requests, groups, grade)


def answer_on(
    stream: Stream, requests: Sequence[Request], groups: Sequence[int], grade: Grade
) -> list[Graded]:
    """The same on a stream that is open, of which nothing else is being asked."""
    answers = Answered[int](stream)
    answers.ask(list(enumerate(requests)))
    finished = ((place, Rollout.of(completion, groups[place])) for place, completion in answers)
    rollouts, verdicts = judged(finished, grade)
    return [Graded(rollouts[place], verdicts[place]) for place in range(len(requests))]


def judged(
    finished: Iterable[tuple[Key, Rollout]], grade: Grade
) -> tuple[dict[Key, Rollout], dict[Key, Verdict]]:
    """Rollouts and verdicts by key. Graders that get all rollouts at once get them in the order of their
    keys."""
    if isinstance(grade, GradeAll) and not getattr(grade, "apart", False):
        rollouts = dict(sorted(finished, key=lambda one: one[0]))
        verdicts = grade.grade_all(list(rollouts.values())) if rollouts else []
        return rollouts, dict(zip(rollouts, verdicts, strict=True))
    return judge_aside(
        finished, grade.grade_all if isinstance(grade, GradeAll) else partial(_one_by_one, grade)
    )


def _one_by_one(grade: Grade, rollouts: Sequence[Rollout]) -> list[Verdict]:
    return [grade(rollout) for rollout in rollouts]


def answer_groups(
    asked: Sequence[tuple[Prompt, int]],
    samples: int,
    sampling: Sampling,
    sampler: Sampler,
    grade: Grade,
    first: int = 0,
    answer: Answer = answer,
) -> list[list[Graded]]:
    """One list per (prompt, visit), in order of the samples; groups are numbered from `first`."""
    requests = [
        Request(prompt, sampling, sample, visit) for prompt, visit in asked for sample in range(samples)
    ]
    numbers = [first + place // samples for place in range(len(requests))]
    graded = answer(requests, numbers, sampler, grade)
    return [graded[place : place + samples] for place in range(0, len(graded), samples)]


@dataclass(frozen=True)
class Groups:
    """Every prompt of a step is answered `samples_per_prompt` times; one group per visit of a prompt."""

    kind: Literal["groups"] = "groups"

    def __call__(self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around) -> Collected:
        """Answers in the order of the prompts, then of the samples, for any order in which they finish."""
        asked = prompts.take(around.prompts_per_step)
        groups = answer_groups(
            asked,
            around.samples_per_prompt,
            around.sampling,
            sampler,
            grade,
            answer=around.answer or answer,
        )
        return Collected([graded for group in groups for graded in group])

    def begin(self, prompts: Prompts, grade: Grade, around: Around) -> GroupsInPieces:
        return GroupsInPieces(prompts.take(around.prompts_per_step), grade, around)
