"""Where the processes of a run are started: on this machine, or on the hosts that Ray chooses."""

import itertools
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from menon.engine_settings import Engine, OnRay
from menon.engines.ray_cluster import RayCluster
from menon.errors import UserError
from menon.processes.forkserver import Forkserver
from menon.processes.supervisor import Supervisor
from menon.processes.worker import Launch, Spawn

NUMBERS = itertools.count()
"""Two runs of one process, such as those of a pipeline, have other names."""


class Site:
    """The processes of one run: first its samplers, then its ranks. UserError: Ray cannot start them."""

    def __init__(self, engine: Engine, samplers: int, heartbeats: Path | None = None) -> None:
        """`heartbeats` is the file in which the supervisor says how they are."""
        self.samplers, self.ranks = samplers, engine.ranks
        self.supervisor = Supervisor(heartbeats)
        self.cluster: RayCluster | None = None
        self._undo = ExitStack()
        self._undo.callback(self.supervisor.close)
        if isinstance(engine.placement, OnRay):
            bundles = [bundle(engine.device, self.threads(self.samplers))] * self.samplers
            if self.ranks > 1:
                bundles += [bundle(engine.device, self.threads(self.ranks))] * self.ranks
            name, where = f"menon-{os.getpid()}-{next(NUMBERS)}", engine.placement
            self.cluster = RayCluster(
                name, bundles, where.address, where.interface, spread=not engine.colocated
            )
            self._undo.callback(self.cluster.close)

    @staticmethod
    def threads(processes: int) -> int:
        """Threads of each of so many processes that work at the same time."""
        return max(1, torch.get_num_threads() // max(1, processes))

    def sampler_launches(self, entry: str) -> Sequence[Launch]:
        """How the processes that write are started. On this machine they are forked from one that has
        imported their libraries, so that one that ended is replaced at once."""
        if self.cluster is not None:
            spawn = Spawn(entry, environment=environment(self.threads(self.samplers)))
            return [self.cluster.launch(place, spawn) for place in range(self.samplers)]
        server = Forkserver(entry)
        self._undo.callback(server.close)
        return [server] * self.samplers

    def rank_launches(self, entry: str, *arguments: Any) -> Sequence[Launch] | None:
        """How each rank is started; None: as children of this process."""
        if self.cluster is None:
            return None
        spawn = Spawn(entry, *arguments, environment=environment(self.threads(self.ranks)))
        return [self.cluster.launch(self.samplers + rank, spawn) for rank in range(self.ranks)]

    def close(self) -> None:
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keeps the heartbeat file of a run that failed: it says what each process had to do."""
        self.close()
        if error is None:
            self.supervisor.forget()


def bundle(device: str, threads: int) -> dict[str, float]:
    """What one process asks of Ray."""
    uses_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    return {"CPU": float(threads), **({"GPU": 1.0} if uses_gpu else {})}


def environment(threads: int) -> dict[str, str]:
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def check_processes(engine: Engine, writes: bool) -> None:
    """UserError where a run is given samplers and writes no text, or Ray is to place it and it has no process
    that Ray places."""
    if engine.samplers is not None and not writes:
        raise UserError(
            f"this run writes no text, so samplers={engine.samplers} has nothing to do; leave it out"
        )
    placed = engine.ranks > 1 or (writes and engine.num_samplers)
    if isinstance(engine.placement, OnRay) and not placed:
        why = f"sampler={engine.sampler.kind}" if writes else "it writes no text"
        raise UserError(
            f"placement=ray places ranks and the built-in sampler, and this run has neither ({why}, "
            "ranks=1); set ranks=2 or more, or leave placement out"
        )
