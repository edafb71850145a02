"""The seams of a rollout: who writes text, who grades it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from menon.parts import Around
from menon.types import Completion, Graded, Metric, Prompt, Request, Rollout, Verdict


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
        and more computed again. Texts and numbers are those without it (docs/laws.md, law 3).
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


@dataclass(frozen=True)
class Collected:
    """One step's text."""

    graded: Sequence[Graded]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Also of what only the rollout saw: groups that were written and dropped are in no batch."""
    state: Any = None
    """The next state of a `Stateful` rollout."""


class Collect(Protocol):
    """A rollout: it writes the text of one step and grades it as it finishes.

    It may declare the columns that it `writes`, and that it `forks`: that it goes on from the middle of
    answers, which no environment can. A `Stateful` one is given its state last.
    """

    def __call__(
        self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around, *state: Any
    ) -> Collected: ...


@dataclass(frozen=True)
class StepSizes:
    """What a rollout writes in a step, at most. A rollout with `more` writes more; then it is the least."""

    answers: int
    """Whole answers."""
    tokens: int
    at_once: int | None
    """Answers that are written at a time; None: as many as the sampler has slots."""
    sequences: int
    """Those that the step learns from."""
    unit: str = "answers"
    """What one of these sequences is called."""
    max_age: int = 1
    """Steps in which a sequence may be learned from, the one that wrote it included."""
    form: str = ""
    """How a step is put together, where that is not prompts times samples."""
    more: str = ""
    """What is written besides, in words."""


@runtime_checkable
class Sized(Protocol):
    """A rollout whose step is not `samples_per_prompt` answers to each prompt."""

    def sizes(self, around: Around) -> StepSizes: ...


@runtime_checkable
class TakesMemory(Protocol):
    """A rollout that keeps more in the sampler's cache than the answers that are being written."""

    def cache_bytes(self, around: Around, prompt_tokens: int, per_token: int, slots: int) -> int:
        """Keys and values, and what is kept of each sequence, if no answer ends early. `per_token` is in
        bytes."""
        ...


def group_sizes(around: Around, more: str = "") -> StepSizes:
    """Of `samples_per_prompt` answers to each prompt."""
    answers = around.prompts_per_step * around.samples_per_prompt
    return StepSizes(answers, answers * around.sampling.max_new_tokens, answers, answers, more=more)


def sizes_of(rollout: Any, around: Around) -> StepSizes:
    return rollout.sizes(around) if isinstance(rollout, Sized) else group_sizes(around)
