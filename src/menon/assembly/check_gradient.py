"""Whether the gradient of a run's first update depends on how it is computed: on the cut into forward passes,
and on the ranks that share it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from menon.assembly.build import build
from menon.assembly.given import build_given
from menon.assembly.ranks import host_on_ranks
from menon.assembly.site import Site
from menon.batch import Batch
from menon.config import Engine, RunConfig, changed
from menon.engines.in_process import InProcessHost
from menon.engines.ranked_host import RankedHost
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


@dataclass(frozen=True)
class GradientCheck:
    """The check of one run. `notify` hears why ranks are left out."""

    config: RunConfig
    notify: Callable[[str], None]

    def compared(self) -> Iterator[Compared]:
        """The gradients of the first update of each model. UserError: an update has none to compare."""
        small = self.small
        with (build if small.rows is None else build_given)(small, self.notify) as run:
            host = run.host
            if not isinstance(host, InProcessHost):
                raise UserError(
                    "a gradient is compared with that of models in one process; set placement=local"
                )
            jobs = first_updates(run)
            whole = {role: whole_gradient(host, role, job) for role, job in jobs.items()}
            for role, job in jobs.items():
                yield one_unit_each(host, role, job, whole[role])
        try:
            ranked = changed(small, {"engine": {"ranks": max(2, self.config.engine.ranks)}})
        except UserError as error:
            self.notify(f"ranks are left out: {error}")
            return
        with self.ranks(ranked.engine) as parts:
            for role, job in jobs.items():
                apart = difference(parts.gradient(role, job), whole[role])
                yield Compared(role, f"on {ranked.engine.ranks} ranks, not 1", norm_of(whole[role]), apart)

    @property
    def small(self) -> RunConfig:
        """The run in one process, with little text in a step and one update of it."""
        source, rows = self.config.source, self.config.rows
        here = {"ranks": 1, "offload": False, "sampler": "builtin", "samplers": None, "placement": "local"}
        tree: dict[str, Any] = {
            "engine": here,
            "source": {"prompts_per_step": min(FEW["prompts"], source.prompts_per_step), "staleness": 0},
            "models": {"policy": {"updates_per_step": 1}},
        }
        if rows is not None:
            tree["rows"] = {"rows_per_step": min(FEW["rows"], rows.rows_per_step)}
        return changed(self.config, tree).with_own_code()

    @contextmanager
    def ranks(self, engine: Engine) -> Iterator[RankedHost]:
        """The models on ranks of this machine."""
        config, names = self.small, tuple(self.small.own_code)
        what = (config.models, config.objective, engine, config.source.temperature, config.control, names)
        with (
            closing(Site(engine, 0)) as site,
            closing(host_on_ranks(*what, self.notify, site)) as host,
        ):
            yield host


def first_updates(run: Run) -> dict[str, Job]:
    """The first update of each model, by role, which the run would make of its first step's text."""
    recorder = Recorder(run.host)
    step = 1 + max(update.after for update in run.plan.updates)
    plan = replace(run.plan, record_updates=False)
    improve(step, run.source.next(), plan, recorder, plan.initial_state(), Clock())
    return recorder.jobs


def whole_gradient(host: InProcessHost, role: str, job: Job) -> dict[str, Tensor]:
    """UserError: it is 0."""
    found = {name: slope.clone() for name, slope in host.gradient(role, job)}
    if not norm_of(found) > 0:
        raise UserError(
            f"the {role} has no gradient to compare in this batch, for instance because no answers to one "
            "question differ in reward; take other questions by seed="
        )
    return found


def one_unit_each(host: InProcessHost, role: str, job: Job, whole: Mapping[str, Tensor]) -> Compared:
    """With one unit in each forward pass."""
    learner = host.roster.learner(role)
    usual = learner.tokens_per_forward
    how = (learner.workers, learner.by_prompt)
    passes = [len(forward_rows(job.batch, job.unit, size, *how)) for size in (usual, 1)]
    learner.tokens_per_forward = 1
    try:
        apart = difference(host.gradient(role, job), whole)
    finally:
        learner.tokens_per_forward = usual
    return Compared(role, f"cut into {passes[1]} passes, not {passes[0]}", norm_of(whole), apart)


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
