"""The protocols of a rollout: samplers that write text, graders that judge it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from menon.parts import Around
from menon.types import Completion, Graded, Metric, Prompt, Request, Rollout, Verdict


class Stream(Protocol):
    """Requests in, completions out, until the stream is closed.

    >>> with sampler.open(keep=True) as stream:
    ...     stream.ask(requests)
    ...     for completion in stream:
    ...         if goes_on(completion):
    ...             stream.ask([replace(completion.request, prefix=completion.tokens, path=(0,))])
    """

    def ask(self, requests: Iterable[Request]) -> None:
        """Further requests, also while others are being written. What is asked after a completion was taken
        from the iterator and before the next one is *what follows from it*.

        A sequence is read and checked at once. Any other iterable, such as a generator that waits for an
        environment, is read when the sampler needs it, in another thread perhaps; so decoding goes on while
        it waits. To repeat bit for bit, it must depend on the completions of its own prompt alone.
        """
        ...

    def __iter__(self) -> Iterator[Completion]:
        """Completions as they finish, in any order. Ends when all that was asked is answered; after more was
        asked it can be iterated again. A request's tokens depend on its own name and the weights alone."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None:
        """Abandons requests without an answer, and frees what was kept."""
        ...


@runtime_checkable
class Aborts(Protocol):
    """A stream, opened without `keep`, whose writing can be ended early, from any thread."""

    def abort(self) -> None:
        """Ends the writing after the current decoding step, and returns at once. Every request without an
        answer is given out as a completion with finish `abort` and the tokens so far, perhaps none; then the
        iteration ends. A request with those tokens as its prefix goes on where they end, with the random
        numbers that would have come next. Nothing more is asked of the stream."""
        ...


OPTIONAL = frozenset({"entropy", "log_kept"})
"""Fields of a completion that not every sampler can give."""


class Sampler(Protocol):
    """Weights that write text."""

    version: int
    """Number of the weights that it holds; every token carries it."""
    gives: frozenset[str]
    """Which of the `OPTIONAL` fields its completions have. A run whose parts read another one is refused."""

    def open(self, keep: bool = False) -> Stream:
        """Opens a stream. With `keep`, the sampler keeps the KV cache of finished sequences while the stream
        is open. A request that shares a prefix with one of them computes only the remaining tokens; if its
        prefix is a whole finished answer, only its new tokens.  The cache is freed with new weights and at
        the end. If memory does not suffice, less is kept and more is computed again. Texts and numbers are
        the same with and without `keep` (docs/laws.md, law 3).
        """
        ...


class Grade(Protocol):
    """Gives a finished answer its verdict; never raises because of a model's text."""

    def __call__(self, rollout: Rollout) -> Verdict: ...


@runtime_checkable
class GradeAll(Protocol):
    """A `Grade` that is faster with many answers at once."""

    def grade_all(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Verdicts in the order of the rollouts."""
        ...


class Prompts(Protocol):
    """An endless source of questions whose position can be saved."""

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        """The next prompts, each with the number of its visit."""
        ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Notes(Protocol):
    """Prompts whose choice depends on how they were answered."""

    def note(self, graded: Sequence[Graded]) -> None:
        """Takes all answers to some prompts; a second call with the same answers changes nothing."""
        ...


class Answer(Protocol):
    """Requests to graded answers, in their order: `groups.answer`, or turns with an environment
    (`turns.Turns`)."""

    def __call__(
        self, requests: Sequence[Request], groups: Sequence[int], sampler: Sampler, grade: Grade
    ) -> list[Graded]: ...


@dataclass(frozen=True)
class Collected:
    """The text of one step."""

    graded: Sequence[Graded]
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Metrics, also of groups that were written and dropped and so are in no batch."""
    state: Any = None
    """The next state of a `Stateful` rollout."""


class Collect(Protocol):
    """A rollout: it writes the text of one step and grades it as it finishes.

    It may declare the columns that it `writes`, and that it `forks`: it continues from the middle of answers,
    which does not work with an environment, whose state cannot be restored. A `Stateful` one is given its
    state last.
    """

    def __call__(
        self, prompts: Prompts, sampler: Sampler, grade: Grade, around: Around, *state: Any
    ) -> Collected: ...


class Begun(Protocol):
    """The answers of one step while they are written, with pauses in which new weights arrive.

    One thread at a time asks and takes; the others only read."""

    lengths: Sequence[int]
    """Tokens of each answer that is whole, in the order in which they became whole."""
    computed_again: int
    """Tokens of prompts and pieces that were asked once more after a pause."""

    @property
    def groups(self) -> int: ...

    @property
    def finished(self) -> int:
        """How many groups are whole; all of them: the step can be collected."""
        ...

    def requests(self) -> list[Request]:
        """What is missing: whole answers, or the rest of those that were aborted."""
        ...

    def take(self, completion: Completion) -> None:
        """A completion of one of the requests: the end of an answer, or a piece that was aborted."""
        ...

    def collected(self) -> Collected:
        """The whole step; waits for its verdicts. An error of the grader is raised here."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Begins(Protocol):
    """A rollout whose text survives new weights; others are written between two publications."""

    def begin(self, prompts: Prompts, grade: Grade, around: Around) -> Begun:
        """Takes the prompts of a step; nothing is asked yet."""
        ...


@dataclass(frozen=True)
class StepSizes:
    """The most that a rollout writes in a step; for a rollout with `more`, which writes more, it is the
    least."""

    answers: int
    """Whole answers."""
    tokens: int
    at_once: int | None
    """Answers that are written at a time; None: as many as the sampler has slots."""
    sequences: int
    """Sequences that the step learns from."""
    unit: str = "answers"
    """What one of these sequences is called."""
    max_age: int = 1
    """Steps in which a sequence may be learned from, the one that wrote it included."""
    form: str = ""
    """How a step is composed, if it is not prompts times samples."""
    more: str = ""
    """What else is written, in words."""


@runtime_checkable
class Sized(Protocol):
    """A rollout whose step is not `samples_per_prompt` answers to each prompt."""

    def sizes(self, around: Around) -> StepSizes: ...


@runtime_checkable
class TakesMemory(Protocol):
    """A rollout that keeps more in the sampler's cache than the answers that are being written."""

    def cache_bytes(self, around: Around, prompt_tokens: int, per_token: int, slots: int) -> int:
        """Bytes of keys and values, and of what is kept of each sequence, if no answer ends early.
        `per_token` is in bytes."""
        ...


def group_sizes(around: Around, more: str = "") -> StepSizes:
    """The sizes of `samples_per_prompt` answers to each prompt."""
    answers = around.prompts_per_step * around.samples_per_prompt
    return StepSizes(answers, answers * around.sampling.max_new_tokens, answers, answers, more=more)


def sizes_of(rollout: Any, around: Around) -> StepSizes:
    return rollout.sizes(around) if isinstance(rollout, Sized) else group_sizes(around)
