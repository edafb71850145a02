"""The seams of a rollout: who writes text, who grades it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

from menon.types import Completion, Graded, Prompt, Request, Rollout, Verdict


class Sampler(Protocol):
    """Weights that write text."""

    version: int
    """Counts the weights it was given; every token carries it."""

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Completions as they finish, in any order. A request's tokens depend on its own name and the weights
        alone."""
        ...


@runtime_checkable
class Holds(Protocol):
    """A sampler that can keep what it computed for sequences that others will go on from."""

    def holding(self) -> AbstractContextManager[None]:
        """While it lasts, finished sequences stay computed, and a request whose prompt and prefix begin like
        one of them (or like a part of it) computes only the rest: nothing but its first new token where the
        prefix is a whole finished answer.

        What is kept is forgotten with new weights and at the end; where memory does not suffice, less is kept
        and more computed again. Texts and numbers are those without it (law 3).
        """
        ...


def holding(sampler: Sampler) -> AbstractContextManager[None]:
    """`sampler.holding()` where it can, for levels of a tree or turns of an episode; else nothing:

    >>> with holding(sampler):
    ...     parents = list(sampler.generate(requests))
    ...     children = list(sampler.generate([replace(c.request, prefix=c.tokens, path=(0,)) for c in parents]))
    """
    return sampler.holding() if isinstance(sampler, Holds) else nullcontext()


class Grade(Protocol):
    """Verdicts for finished answers; never raises for what a model wrote."""

    def __call__(self, rollout: Rollout) -> Verdict: ...


@runtime_checkable
class GradeAll(Protocol):
    """A `Grade` that is better asked about many answers at once."""

    def grade_all(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """In the order of the rollouts."""
        ...


class Prompts(Protocol):
    """An endless source of questions with a place that can be saved."""

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        """The next prompts, each with the number of its visit."""
        ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Notes(Protocol):
    """Prompts that choose by how they were answered."""

    def note(self, graded: Sequence[Graded]) -> None:
        """All answers to some prompts. To hear of them twice is to hear of them once."""
        ...


class Answer(Protocol):
    """Requests to graded answers, in their order: `groups.answer`, or turns with an environment
    (`turns.Turns`)."""

    def __call__(
        self, requests: Sequence[Request], groups: Sequence[int], sampler: Sampler, grade: Grade
    ) -> list[Graded]: ...


class Collect(Protocol):
    """Text of one step, graded as it finishes: the `rollout` of a plan.

    Also what only the collector saw: groups that were written and dropped are in no batch. A collector with
    memory has `init() -> State`, is given its state last, and gives the next one last.
    """

    def __call__(self, prompts: Prompts, sampler: Sampler, grade: Grade, *state: Any) -> tuple[Any, ...]:
        """`(graded, metrics)` or `(graded, metrics, state)`."""
        ...
