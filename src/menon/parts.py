"""The protocols of parts: what a part may use of the running program, and what it may declare about itself.

A part is a frozen dataclass: its fields are settings, `__call__` is its mathematics. All else is optional: a
part without `build` is used as it stands, one without `check` fits every run, one that does not say what it
`reads` asks no model for a column, and one that does not say what it `writes` may fill any column.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from menon.errors import at_least
from menon.types import Graded, Metric, Sampling

PAGE = "docs/your_own.md"
"""The page about parts of one's own."""


@dataclass(frozen=True)
class Contract:
    """What a part of one stage must have, and how a run uses it."""

    stage: str = "a part"
    """The stage's part as a noun; the heading of its section on `PAGE`."""
    members: tuple[str, ...] = ("__call__",)
    """Everything else that a part of the stage may have has a default."""
    says: str = "is a frozen dataclass whose fields are its settings and whose call is its mathematics"

    def __str__(self) -> str:
        return f"{self.stage} {self.says} (see {PAGE})"


PART = Contract()
ARRANGE = Contract(
    "an arrangement",
    says="is called with the batch of a step, and returns that batch with `learn` [S] or `pair` [S] set",
)
CREDIT = Contract(
    "an advantage",
    says="is called with the batch of a step, and returns that batch with `advantage` [N] set",
)
LOSS = Contract(
    "a loss", says="is called as loss(now, batch), and returns one number per token, [N], with gradient"
)
SELECTION = Contract(
    "a selection", says="is called with the batch of an update, and returns true or false per token, [N]"
)
CORRECTION = Contract(
    "a correction",
    says="is called as correction(logp, batch), and returns one weight per token, [N], finite and 0 or more",
)
AGGREGATION = Contract(
    "an aggregation",
    says="is called as share(batch, selected), and returns one weight per token, [N], 0 outside `selected`",
)
ROLLOUT = Contract("a rollout", says="is called as menon.rollout.protocols.Collect, and returns Collected")
REFERENCE = Contract("a reference update", says="is called as update(step, host) after every step")
TASK = Contract(
    "a task",
    ("rows", "room", "grade"),
    "has rows(split, n, seed), room(split) and grade(prompt, completion, answer, **columns)",
)
ENVIRONMENT = Contract(
    "an environment",
    ("reset", "step"),
    "has reset(prompt, seed), which returns a text, and step(text), which returns (text, reward, done)",
)


def _absent(*arguments: Any) -> Any:
    raise RuntimeError("this part was built without a model or a tokenizer; give its Around what it asks for")


@dataclass(frozen=True)
class Around:
    """What parts use of the running program. All fields have defaults, so that parts can be used alone and
    their sizes are known from a configuration."""

    prompts_per_step: int = 1
    samples_per_prompt: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    answer: Callable[..., list[Graded]] | None = None
    """`rollout.protocols.Answer`: turns with an environment; None: one turn each."""
    decode_each: Callable[[], Sequence[str]] = _absent
    """The text of each token of the vocabulary alone, in the order of their numbers."""
    notify: Callable[[str], None] = lambda sentence: None
    """Takes a sentence that the user should read."""
    device: str = "cpu"
    load_judge: Callable[[str, bool, int], Any] = _absent
    """(model, with probabilities) -> `reward.judge.Complete` of a model in this process."""
    connect_judge: Callable[[str, str, str, int], Any] = _absent
    """(URL, model, environment variable of the key) -> `reward.judge.Complete` of a server."""
    load_preference: Callable[[str, bool], Any] = _absent
    """(model, whether its texts begin with the policy's prompt) -> `reward.preference.Score`."""

    def __post_init__(self) -> None:
        at_least(1, "prompts_per_step", self.prompts_per_step)
        at_least(1, "samples_per_prompt", self.samples_per_prompt)

    @cached_property
    def token_texts(self) -> Sequence[str]:
        """The result of `decode_each`, computed once."""
        return self.decode_each()


@runtime_checkable
class Builds(Protocol):
    """A part that needs something of the running program before its first call."""

    def build(self, around: Around) -> Any:
        """The part that is called in a run: usually a copy in which names are replaced by the objects that
        they name. UserError says what is missing."""
        ...


@runtime_checkable
class Checks(Protocol):
    """A part that does not fit every run."""

    def check(self, name: str, around: Around) -> None:
        """UserError if the part does not fit the run; `name` is the part's place in the configuration."""
        ...


@runtime_checkable
class Compares(Protocol):
    """A part that says whether it compares the answers to one prompt; if it does, a single answer has no
    signal."""

    @property
    def compares(self) -> bool: ...


@runtime_checkable
class NeedsTruth(Protocol):
    """A part that says whether it needs to know which answers are right (`acc`), which not every reward
    tells."""

    @property
    def needs_truth(self) -> bool: ...


@runtime_checkable
class Stateful(Protocol):
    """A part with a state: it is called with its state as the last argument, and returns the next state
    too."""

    def init(self) -> Any:
        """The state that a run starts with; `state_codec` must be able to write it."""
        ...


@runtime_checkable
class Observes(Protocol):
    """A stateful part that learns from what the updates of a step measured."""

    def after(self, state: Any, metrics: Mapping[str, Metric]) -> Any:
        """The next state."""
        ...


@runtime_checkable
class Closes(Protocol):
    """A part that has started processes."""

    def close(self) -> None: ...


def built(part: Any, around: Around) -> Any:
    """The part as it is called in a run."""
    return part.build(around) if isinstance(part, Builds) else part


def close(part: Any) -> None:
    """Ends the processes that a part has started."""
    if isinstance(part, Closes):
        part.close()


def compares(part: Any) -> bool:
    return isinstance(part, Compares) and bool(part.compares)


def needs_truth(part: Any) -> bool:
    return isinstance(part, NeedsTruth) and bool(part.needs_truth)
