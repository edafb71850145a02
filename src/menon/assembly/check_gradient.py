"""Whether the gradient of a run's first update depends on how it is computed: on the cut into forward passes,
and on the ranks that share it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from menon.assembly.build import build
from menon.assembly.given import build_given
from menon.assembly.models import models_here
from menon.assembly.ranks import host_on_ranks
from menon.assembly.site import Site
from menon.batch import Batch
from menon.config import RunConfig, changed, own_code
from menon.engines.in_process import InProcessHost
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.loop import Run
from menon.record.clock import Clock
from menon.step import improve
from menon.types import Metric
from menon.update.host import Ask, Job, ModelHost
from menon.update.objective import forward_rows

BOUNDS = {"float32": 1e-5, "float64": 1e-6, "bfloat16": 0.02}
"""The largest relative difference that is rounding, by the run's dtype. (In float64 too the norms of most
models compute in float32.) A wrong scale is off by far more."""
FEW = {"prompts": 4, "rows": 16}
"""How much of a step is looked at."""


@dataclass(frozen=True)
class Compared:
    """A gradient beside that of the same update by the run's own cut in one process."""

    role: str
    how: str
    norm: float
    apart: float
    """The norm of the difference over that of the gradient."""


class Recorder:
    """A host whose updates are not made but kept: the first of each model."""

    def __init__(self, host: ModelHost) -> None:
        self.host = host
        self.jobs: dict[str, Job] = {}

    @property
    def roles(self) -> frozenset[str]:
        return self.host.roles

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        return self.host.score(batch, asks)

    def update(self, role: str, job: Job) -> dict[str, Metric]:
        self.jobs.setdefault(role, job)
        return {}

    def follow(self, role: str, leader: str, rate: float) -> None:
        """Nothing has moved."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)


def compared(config: RunConfig, notify: Callable[[str], None]) -> Iterator[Compared]:
    """Compares the gradients of the first update of each model. `notify` hears why ranks are left out.
    UserError: the update has no gradient to compare."""
    ranks = max(2, config.engine.ranks)
    config = replace(small(config), own_code=own_code(config))
    building = build if config.rows is None else build_given
    with building(config, notify) as run:
        jobs = first_updates(run)
        models = models_here(run.host, "check gradient")
        assert isinstance(run.host, InProcessHost)
        whole: dict[str, dict[str, Tensor]] = {}
        for role, job in jobs.items():
            learner = models[role]
            whole[role] = {name: slope.clone() for name, slope in run.host.gradient(role, job)}
            assert isinstance(learner, TorchLearner)
            if not norm_of(whole[role]) > 0:
                raise UserError(
                    f"the {role} has no gradient to compare in this batch, for instance because no answers "
                    "to one question differ in reward; take other questions by seed="
                )
            yield one_unit_each(run.host, learner, role, job, whole[role])
        try:
            on_ranks = changed(config, {"engine": {"ranks": ranks}})
        except UserError as error:
            notify(f"ranks are left out: {error}")
            return
        yield from over_ranks(on_ranks, jobs, whole, notify)


def small(config: RunConfig) -> RunConfig:
    """The run in one process, with little text in a step and one update of it."""
    source, rows = config.source, config.rows
    tree: dict[str, Any] = {
        "engine": {"ranks": 1, "offload": False},
        "source": {"prompts_per_step": min(FEW["prompts"], source.prompts_per_step), "staleness": 0},
        "models": {"policy": {"updates_per_step": 1}},
    }
    if rows is not None:
        tree["rows"] = {"rows_per_step": min(FEW["rows"], rows.rows_per_step)}
    return changed(config, tree)


def first_updates(run: Run) -> dict[str, Job]:
    """The first update of each model, by role, which the run would make of its first step's text."""
    recorder = Recorder(run.host)
    step = 1 + max(update.after for update in run.plan.updates)
    plan = replace(run.plan, record_updates=False)
    improve(step, run.source.next(), plan, recorder, plan.initial_state(), Clock())
    return recorder.jobs


def one_unit_each(
    host: InProcessHost, learner: TorchLearner, role: str, job: Job, whole: Mapping[str, Tensor]
) -> Compared:
    """With one unit in each forward pass."""
    usual = learner.tokens_per_forward
    passes = [len(forward_rows(job.batch, job.unit, size, learner.workers)) for size in (usual, 1)]
    learner.tokens_per_forward = 1
    try:
        apart = difference(host.gradient(role, job), whole)
    finally:
        learner.tokens_per_forward = usual
    return Compared(role, f"cut into {passes[1]} passes, not {passes[0]}", norm_of(whole), apart)


def over_ranks(
    config: RunConfig,
    jobs: Mapping[str, Job],
    whole: Mapping[str, Mapping[str, Tensor]],
    notify: Callable[[str], None],
) -> Iterator[Compared]:
    models, engine, own_code = config.models, config.engine, tuple(config.own_code)
    place = partial(host_on_ranks, models, config.objective, engine, config.source.temperature)
    with closing(Site(engine, 0)) as site, closing(place(config.control, own_code, notify, site)) as host:
        for role, job in jobs.items():
            apart = difference(host.gradient(role, job), whole[role])
            yield Compared(role, f"on {engine.ranks} ranks, not 1", norm_of(whole[role]), apart)


@torch.no_grad()
def difference(found: Iterable[tuple[str, Tensor]], whole: Mapping[str, Tensor]) -> float:
    """The norm of the difference over the norm of the whole; what one of them lacks is 0 there."""
    left, total = dict(whole), 0.0
    for name, slope in found:
        own = left.pop(name, None)
        apart = slope.double() if own is None else slope.double().cpu() - own.double().cpu()
        total += float(apart.norm()) ** 2
    total += norm_of(left) ** 2
    return math.sqrt(total) / norm_of(whole)


def norm_of(tensors: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum(float(tensor.double().norm()) ** 2 for tensor in tensors.values()))
