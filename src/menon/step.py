"""One training step, from prompts to record. Stages receive other stages as arguments and never import them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from menon.batch import Batch, columns_per, pack, take, tokens_of
from menon.record.clock import Clock
from menon.record.metrics import batch_metrics, text_metrics
from menon.rollout.protocols import Collect, Grade, Prompts, Sampler
from menon.sync.protocols import WeightChannel
from menon.types import Metric, StepReport, merge
from menon.update.objective import Part, Update, cut, prepare, split
from menon.update.protocols import Learner, Models, Need

Memory = Mapping[str, Any]
"""State of the parts that have one, by the part's name; numbers, strings, tensors and nested dicts of them."""

SOURCES: dict[str, tuple[str, Need]] = {
    "old_logp": ("policy", "logp"),
    "ref_logp": ("reference", "logp"),
    "value": ("critic", "value"),
    "old_entropy": ("policy", "entropy"),
}
"""Column -> the model that fills it, and what that model is asked."""


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
    grade: Grade
    advantage: Mapping[str, Credit]
    updates: tuple[Update, ...]
    seed: int

    def memory(self) -> Memory:
        """The state that a run starts from."""
        return {name: part.init() for name, part in self.advantage.items() if hasattr(part, "init")}


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
        graded = plan.rollout(prompts, sampler, plan.grade)  # graded as it finishes: refills need grades inside
        batch = pack(graded)
    with clock("score"):
        parts = [part for update in plan.updates for part in split(batch, update, plan.seed, step)]
        batch = score(batch, parts, plan, models)
    with clock("advantage"):
        batch, memory = give_credit(batch, plan.advantage, memory)
    with clock("update"):
        metrics = learn(batch, parts, models)
    with clock("sync"):
        fingerprint = channel.publish(learner_of(models, "policy"), sampler)
    merge(metrics, batch_metrics(batch) | text_metrics(graded))
    numbers = {name: float(metric) for name, metric in metrics.items()} | clock.times()
    columns = {name: value.numpy() for name in columns_per("token") if (value := getattr(batch, name)) is not None}
    return StepReport(step, numbers, tuple(graded), columns, batch.offset.numpy(), fingerprint), memory


def score(batch: Batch, parts: list[Part], plan: Plan, models: Models) -> Batch:
    """Fills the columns that the plan's parts read, and no others.

    Scored as the updates are cut, so that a model which has not moved gives its own numbers bit for bit. The first update of
    a step starts from the old policy: losses take the detached new log-prob there, and old_logp is scored for the others.
    """
    by_credit = {column for part in plan.advantage.values() for column in part.reads}
    by_loss = {column for update in plan.updates for column in update.reads}
    for column in sorted((by_credit | by_loss) & SOURCES.keys()):
        model, need = SOURCES[column]
        if model not in models:
            raise ValueError(f"'{column}' is needed, and this run has no {model} model; set {model} in the configuration")
        mine = [part for part in parts if models[part.update.model] is models.get("policy")]
        if column == "old_logp" and column not in by_credit:
            mine = [part for part in mine if not part.first]
            if not mine:
                continue
        filled = torch.zeros(batch.num_tokens)
        for part in mine:
            columns = models[model].score(take(batch, part.rows), (need,), models)
            filled[tokens_of(batch.offset, part.rows)] = columns[str(need)]
        filling: dict[str, Any] = {"entropy" if column == "old_entropy" else column: filled}
        batch = replace(batch, **filling)
    return batch


def give_credit(batch: Batch, parts: Mapping[str, Credit], memory: Memory) -> tuple[Batch, Memory]:
    """Runs the advantage stage in its order; parts with memory get their state and leave the next one."""
    memory = dict(memory)
    for name, part in parts.items():
        if name in memory:
            batch, memory[name] = part(batch, memory[name])
        else:
            batch = part(batch)
    return batch, memory


def learn(batch: Batch, parts: list[Part], models: Models) -> dict[str, Metric]:
    """The updates of one step."""
    metrics: dict[str, Metric] = {}
    for part in parts:
        learner = learner_of(models, part.update.model)
        batch_of_part, terms = prepare(part, batch, models)  # whole-update statistics, before anything is cut
        for micro in cut(batch_of_part, terms, part.update.unit, learner.tokens_per_forward):
            merge(metrics, learner.accumulate(micro, models))  # memory only: the cut cannot change the result
        own = learner.step()
        merge(metrics, own if part.update.model == "policy" else {f"{part.update.model}/{k}": v for k, v in own.items()})
    return metrics


def learner_of(models: Models, name: str) -> Learner:
    model = models[name]
    if not isinstance(model, Learner):
        raise ValueError(f"the {name} model cannot learn; give it an optimiser or take its terms out of the objective")
    return model
