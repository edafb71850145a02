"""A fixed number of answers to each question."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from menon.parts import Around
from menon.rollout.grade_async import judge_aside
from menon.rollout.protocols import Answer, Collected, Grade, GradeAll, Prompts, Sampler
from menon.types import Completion, Graded, Prompt, Request, Rollout, Sampling, Verdict


def answer(
    requests: Sequence[Request], groups: Sequence[int], sampler: Sampler, grade: Grade
) -> list[Graded]:
    """One turn each. Answers are graded in a thread while others are written; a grader that would rather have
    all of them at once gets them so, unless it says that its verdicts stand `apart`.

    The result is in the order of the requests, which carry the given group numbers. RuntimeError if the
    sampler leaves a request without an answer, answers one twice, or answers one that was not asked.
    """
    finished = (
        (place, Rollout.of(completion, groups[place])) for place, completion in written(requests, sampler)
    )
    rollouts, verdicts = judged(finished, grade)
    return [Graded(rollouts[place], verdicts[place]) for place in range(len(requests))]


def judged(
    finished: Iterable[tuple[int, Rollout]], grade: Grade
) -> tuple[dict[int, Rollout], dict[int, Verdict]]:
    """Rollouts and verdicts by place. Graders that get all rollouts at once get them in the order of their
    places."""
    if isinstance(grade, GradeAll) and not getattr(grade, "apart", False):
        rollouts = dict(sorted(finished, key=lambda one: one[0]))
        verdicts = grade.grade_all(list(rollouts.values())) if rollouts else []
        return rollouts, dict(zip(rollouts, verdicts, strict=True))
    return judge_aside(
        finished, grade.grade_all if isinstance(grade, GradeAll) else partial(_one_by_one, grade)
    )


def _one_by_one(grade: Grade, rollouts: Sequence[Rollout]) -> list[Verdict]:
    return [grade(rollout) for rollout in rollouts]


def written(requests: Sequence[Request], sampler: Sampler) -> Iterator[tuple[int, Completion]]:
    """Completions as they finish, each with the place of its request; exactly one for each."""
    waiting = {name_of(request): place for place, request in enumerate(requests)}
    if len(waiting) < len(requests):
        raise ValueError("two requests have the same name; they would get the same random stream")
    for completion in sampler.generate(requests):
        name = name_of(completion.request)
        if name not in waiting:
            raise RuntimeError(f"the sampler answered {name}, which was not asked or is answered already")
        yield waiting.pop(name), completion
    if waiting:
        raise RuntimeError(f"the sampler left {len(waiting)} of {len(requests)} requests without an answer")


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


def name_of(request: Request) -> tuple[int, int, int, tuple[int, ...]]:
    """What tells the requests of one call apart: prompt, visit, sample and way through the tree name a random
    stream."""
    return request.prompt.index, request.visit, request.sample, request.path


@dataclass(frozen=True)
class Groups:
    """Every prompt of a step is answered `samples_per_prompt` times; one group per visit of a prompt."""

    kind: Literal["groups"] = "groups"

    def __call__(self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around) -> Collected:
        """In the order of the prompts, then of the samples, whatever finished first."""
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
