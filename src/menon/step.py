"""One training step, from prompts to record. Stages receive other stages as arguments and never import
them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from menon.batch import Batch, columns_per, pack
from menon.errors import UserError
from menon.parts import Around, Observes, Stateful
from menon.record.clock import Clock
from menon.record.metrics import batch_metrics, text_metrics
from menon.rollout.protocols import Collect, Collected, Grade, Prompts, Sampler
from menon.sync.protocols import WeightChannel
from menon.types import Metric, StepReport, merge
from menon.update.objective import MiniBatch, Update, cut, prepare, split, steered
from menon.update.protocols import Learner, Models
from menon.update.scoring import score

Memory = Mapping[str, Any]
"""State of the parts that have one, by the part's name: what `record.state_codec` can write."""
ROLLOUT = "/rollout"
"""The name of the rollout's state beside those of the advantage parts; no part can be called so."""


class Credit(Protocol):
    """A part of the advantage stage: batch in, batch out with rewards, advantages or value targets set.

    A part with memory has `init() -> State` and is called as `part(batch, state) -> (batch, state)`.
    """

    @property
    def reads(self) -> tuple[str, ...]: ...

    def __call__(self, batch: Batch, *state: Any) -> Any: ...


@dataclass(frozen=True)
class Plan:
    """What a run does in every step. Its parts are frozen dataclasses that a recipe constructs."""

    rollout: Collect
    around: Around
    """What the rollout uses of the program: how much it writes, and how."""
    grade: Grade
    advantage: Mapping[str, Credit]
    updates: tuple[Update, ...]
    seed: int
    reference: Callable[[int, Models], None] | None = None
    """What moves the reference after a step (`update.reference`); None: it stays."""

    @property
    def credit_reads(self) -> set[str]:
        return {column for part in self.advantage.values() for column in part.reads}

    def memory(self) -> Memory:
        """The state that a run starts from."""
        parts: Mapping[str, Any] = {ROLLOUT: self.rollout, **self.advantage}
        return {name: part.init() for name, part in parts.items() if isinstance(part, Stateful)}


def train_step(
    step: int,
    prompts: Prompts,
    plan: Plan,
    sampler: Sampler,
    models: Models,
    channel: WeightChannel,
    memory: Memory,
) -> tuple[StepReport, Memory]:
    clock = Clock()
    with clock("rollout"):
        # Graded as it finishes: refills and trees need grades inside.
        gathered = collect(plan, prompts, sampler, memory)
        memory = memory if gathered.state is None else {**memory, ROLLOUT: gathered.state}
        batch = pack(gathered.graded)
    with clock("score"):
        parts = [part for update in plan.updates for part in split(batch, update, plan.seed, step)]
        batch = score(batch, parts, plan.credit_reads, models)
    with clock("advantage"):
        batch, memory = give_credit(batch, plan.advantage, memory)
    with clock("update"):
        metrics = learn(batch, [part for part in parts if step > part.update.after], models)
        memory = look_back(plan.advantage, memory, metrics)
    with clock("sync"):
        if plan.reference is not None:
            plan.reference(step, models)
        fingerprint = channel.publish(learner_of(models, "policy"), sampler)
    with clock("report"):
        seen = batch_metrics(batch) | text_metrics(gathered.graded) | dict(gathered.metrics)
        merge(metrics, seen | steered(batch))
    numbers = {name: float(metric) for name, metric in metrics.items()} | clock.times()
    columns = {
        name: value.numpy() for name in columns_per("token") if (value := getattr(batch, name)) is not None
    }
    graded = tuple(gathered.graded)
    return StepReport(step, numbers, graded, columns, batch.offset.numpy(), fingerprint), memory


def collect(plan: Plan, prompts: Prompts, sampler: Sampler, memory: Memory) -> Collected:
    """A step's text; a rollout with a state gets it and leaves the next one."""
    state = (memory[ROLLOUT],) if ROLLOUT in memory else ()
    return plan.rollout(prompts, sampler, plan.grade, plan.around, *state)


def give_credit(batch: Batch, parts: Mapping[str, Credit], memory: Memory) -> tuple[Batch, Memory]:
    """Runs the advantage stage in its order; parts with memory get their state and leave the next one."""
    memory = dict(memory)
    for name, part in parts.items():
        if name in memory:
            batch, memory[name] = part(batch, memory[name])
        else:
            batch = part(batch)
    return batch, memory


def look_back(parts: Mapping[str, Credit], memory: Memory, metrics: Mapping[str, Metric]) -> Memory:
    """Parts that learn from what the updates measured have `after(state, metrics) -> state`."""
    looking = {name: part for name, part in parts.items() if name in memory and isinstance(part, Observes)}
    return {**memory, **{name: part.after(memory[name], metrics) for name, part in looking.items()}}


def learn(batch: Batch, parts: list[MiniBatch], models: Models) -> dict[str, Metric]:
    """The updates of one step."""
    metrics: dict[str, Metric] = {}
    for part in parts:
        learner = learner_of(models, part.update.model)
        batch_of_part, terms = prepare(part, batch, models)  # whole-update statistics, before anything is cut
        micros = cut(batch_of_part, terms, part.update.unit, learner.tokens_per_forward, learner.workers)
        merge(
            metrics, learner.accumulate(micros, models)
        )  # memory and speed only: the cut cannot change the result
        own = learner.step()
        merge(
            metrics,
            own if part.update.model == "policy" else {f"{part.update.model}/{k}": v for k, v in own.items()},
        )
    return metrics


def learner_of(models: Models, name: str) -> Learner:
    model = models[name]
    if not isinstance(model, Learner):
        raise UserError(
            f"the {name} model cannot learn; give it an optimiser or take its terms out of the objective"
        )
    return model
