"""One training step, from what a source gathered to a report. Stages receive other stages as arguments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from menon.batch import Batch
from menon.parts import Observes, Stateful
from menon.record.clock import Clock
from menon.record.metrics import batch_metrics, staleness, step_report, text_metrics
from menon.source.protocols import Gathered
from menon.types import Metric, StepReport, UpdateRecord, merge
from menon.update.arranged import Arrange, arrange
from menon.update.host import ModelHost
from menon.update.objective import prepare
from menon.update.recording import recorded_update
from menon.update.scoring import score
from menon.update.terms import MiniBatch, Update, split, steered

PartState = Mapping[str, Any]
"""State of the parts that have one, by the part's name, in types that `state_codec` can write."""


class Credit(Protocol):
    """A part of the advantage stage: batch in, batch out with rewards, advantages or value targets set.

    A part with a state has `init() -> State` and is called as `part(batch, state) -> (batch, state)`.
    """

    @property
    def reads(self) -> tuple[str, ...]: ...

    def __call__(self, batch: Batch, *state: Any) -> Any: ...


@dataclass(frozen=True)
class Plan:
    """Everything that a run does in every step. Its parts are frozen dataclasses that a recipe constructs."""

    advantage: Mapping[str, Credit]
    updates: tuple[Update, ...]
    seed: int
    arrange: tuple[Arrange, ...] = ()
    reference: Callable[[int, ModelHost], None] | None = None
    """Updates the reference after a step (`update.reference`); None: it does not change."""
    teacher_rate: float = 0.0
    """Share of the policy in the teacher after a step; 0: the teacher does not change."""
    record_updates: bool = False
    """Keep what each update did to each token, for the record."""

    @property
    def credit_reads(self) -> set[str]:
        return {column for part in self.advantage.values() for column in part.reads}

    def initial_state(self) -> PartState:
        """The state of its parts at the start of a run."""
        return {name: part.init() for name, part in self.advantage.items() if isinstance(part, Stateful)}


def improve(
    step: int, gathered: Gathered, plan: Plan, host: ModelHost, state: PartState, clock: Clock
) -> tuple[StepReport, PartState]:
    with clock("score"):
        batch, gathered, arranged = arrange(gathered, plan.arrange)
        minibatches = [mini for update in plan.updates for mini in split(batch, update, plan.seed, step)]
        batch = score(batch, minibatches, plan.credit_reads, host)  # only the columns that parts read
    with clock("advantage"):
        batch, state = give_credit(batch, plan.advantage, state)
    with clock("update"):
        due = [minibatch for minibatch in minibatches if step > minibatch.update.after]
        metrics, updates = learn(batch, due, host, plan.record_updates)
        state = observe(plan.advantage, state, metrics)
        if plan.reference is not None:
            plan.reference(step, host)
        if plan.teacher_rate:
            host.follow("teacher", "policy", plan.teacher_rate)
    with clock("report"):
        texts = text_metrics(gathered.graded) if gathered.graded else {}
        stale = staleness(gathered.batch, step - 1)
        found = batch_metrics(batch, gathered.batch) | texts | stale | dict(gathered.metrics)
        merge(metrics, found | arranged | steered(batch))
        report = step_report(step, gathered.graded, batch, metrics, updates)
    return report, state


def learn(
    batch: Batch, minibatches: Sequence[MiniBatch], host: ModelHost, record: bool = False
) -> tuple[dict[str, Metric], list[UpdateRecord]]:
    """Makes the updates of one step; returns their metrics, and with `record` what each of them did."""
    metrics: dict[str, Metric] = {}
    updates: list[UpdateRecord] = []
    for number, minibatch in enumerate(minibatches):
        job = prepare(minibatch, batch, host)  # whole-update statistics, before anything is cut
        if record:
            learned, records = recorded_update(number, minibatch, job, host)
            updates += records
        else:
            learned = host.update(minibatch.update.model, job)  # cuts for memory; one optimiser step
        merge(metrics, learned)
    return metrics, updates


def give_credit(batch: Batch, parts: Mapping[str, Credit], state: PartState) -> tuple[Batch, PartState]:
    """Runs the advantage stage's parts in order; a part with a state gets it and returns the next one."""
    state = dict(state)
    for name, part in parts.items():
        if name in state:
            batch, state[name] = part(batch, state[name])
        else:
            batch = part(batch)
    return batch, state


def observe(parts: Mapping[str, Credit], state: PartState, metrics: Mapping[str, Metric]) -> PartState:
    """The state after the parts have read the metrics of the updates, by `after(state, metrics) -> state`."""
    observing = {name: part for name, part in parts.items() if name in state and isinstance(part, Observes)}
    return {**state, **{name: part.after(state[name], metrics) for name, part in observing.items()}}
