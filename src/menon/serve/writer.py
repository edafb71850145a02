"""Writes the requests of all clients in one decoding batch, and gives each token out as it is drawn."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import torch

from menon.engines.decoding.lane import Lane
from menon.engines.decoding.live import Newest, drop, newest
from menon.engines.decoding.prefix_cache import PrefixCache
from menon.engines.decoding.scheduler import Scheduler
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.engines.request_checks import most_tokens
from menon.errors import UserError
from menon.types import Finish, Request

ALTERNATIVES = 20
"""Alternatives that are recorded beside each token; OpenAI's API gives no more."""
FULL = 8
"""Kept starts are forgotten when less than one part in so many of their room is left."""

Event = Newest | Finish | Exception
"""A token, why the answer ended, or why it could not be written."""


@dataclass(eq=False)
class Job:
    """One answer that is to be written."""

    request: Request
    deliver: Callable[[Event], None]
    """Called in the writer's thread, for every token in order, and then for the end."""
    ends: frozenset[int] = field(default_factory=frozenset)
    """Tokens that end this answer besides those that end all."""


class Writer:
    """A thread that decodes. Requests join the batch between two steps, and leave it when they end or when
    their client has gone away. `sampler` must record `ALTERNATIVES`."""

    def __init__(self, sampler: TorchSampler) -> None:
        self.sampler = sampler
        self.wake = threading.Condition()
        self.asked: list[Job] = []
        self.unwanted: list[Job] = []
        self.loads: list[tuple[Path, Future[None]]] = []
        self.jobs: dict[int, Job] = {}
        """The answers that are being written or wait for a slot, by the `id` of their request."""
        self.scheduler: Scheduler | None = None
        self.longest = self.most = 0
        self.steps = 0
        """Decoding steps so far."""
        self.closed = False
        self.thread = threading.Thread(target=self._work, name="menon-writer", daemon=True)
        self.thread.start()

    def ask(self, jobs: Sequence[Job]) -> None:
        """Has these written. UserError for a request that the model cannot answer."""
        for job in jobs:
            self.sampler.check(job.request)
        with self.wake:
            self.asked += jobs
            self.wake.notify()

    def drop(self, jobs: Sequence[Job]) -> None:
        """Ends answers that are no longer wanted; nothing more is delivered once this is heeded. Those that
        have ended are left alone."""
        with self.wake:
            self.unwanted += jobs
            self.wake.notify()

    def load(self, folder: Path) -> Future[None]:
        """Reads the weights of a model folder, once every answer under way is finished; answers that are
        asked for meanwhile are written with the new weights."""
        done: Future[None] = Future()
        with self.wake:
            self.loads.append((folder, done))
            self.wake.notify()
        return done

    def close(self) -> None:
        with self.wake:
            self.closed = True
            self.wake.notify()
        self.thread.join()
        self.sampler.close()

    @property
    def busy(self) -> bool:
        return self.scheduler is not None and self.scheduler.size > 0

    def _work(self) -> None:
        while True:
            with self.wake:
                self.wake.wait_for(
                    lambda: self.asked or self.unwanted or self.loads or self.closed or self.busy
                )
                if self.closed:
                    return
                unwanted, self.unwanted = self.unwanted, []
                # New weights wait until what is being written is whole, and what is asked waits for them.
                asked, self.asked = ([], self.asked) if self.loads else (self.asked, [])
            try:
                self._leave(unwanted)
                self._join([job for job in asked if job not in unwanted])
                if self.busy:
                    self._step()
                elif self.loads:
                    self._load()
            except Exception as error:
                self._fail(error)

    def _leave(self, unwanted: list[Job]) -> None:
        live = [job for job in unwanted if self.jobs.pop(id(job.request), None) is not None]
        if live and self.scheduler is not None:
            drop(self.scheduler, [job.request for job in live])
        with self.wake:
            self.asked = [job for job in self.asked if job not in unwanted]

    def _join(self, asked: list[Job]) -> None:
        fitting = [job for job in asked if self._fits(job)]
        if not fitting:
            return
        self.jobs |= {id(job.request): job for job in fitting}
        requests = [job.request for job in fitting]
        if self.scheduler is None:
            settings = self.sampler.open(keep=True).settings
            lane = Lane.of(
                requests, self.most, False, settings, self.sampler.slots_for, self.sampler.detokenizer
            )
            self.scheduler = lane.scheduler
        else:
            self.scheduler.ask(requests, self.most)

    def _fits(self, job: Job) -> bool:
        """Whether there is memory for an answer of this length; if not, it ends with the sampler's error, and
        the others go on."""
        size = most_tokens(job.request)
        if size > self.longest:
            try:
                self.most, self.longest = self.sampler.most_in_each(size), size
            except UserError as error:
                job.deliver(error)
                return False
        return True

    def _step(self) -> None:
        assert self.scheduler is not None
        scheduler = self.scheduler
        ended = {id(done.request): done.finish for done in scheduler.step(self.sampler.version)}
        self.steps += 1
        early = []
        for piece in newest(scheduler):
            job = self.jobs[id(piece.request)]
            job.deliver(piece)
            finish = ended.get(id(piece.request))
            if finish is None and piece.token in job.ends:
                finish = "stop"
                early.append(piece.request)
            if finish is not None:
                del self.jobs[id(piece.request)]
                job.deliver(finish)
        drop(scheduler, early)
        kept = scheduler.prefixes
        if kept is not None and kept.room * FULL < kept.whole:
            scheduler.prefixes = PrefixCache(kept.whole)

    def _load(self) -> None:
        folder, done = self.loads.pop(0)
        try:
            model, _ = load_policy(folder, self.sampler.model.dtype, self.sampler.model.device)
            new, mine = dict(model.named_parameters()), self.sampler.weights()
            if {name: one.shape for name, one in new.items()} != {n: one.shape for n, one in mine.items()}:
                raise UserError(f"{folder} holds a model of another size or kind than the one that is served")
            with torch.no_grad():
                for name, weight in mine.items():
                    weight.copy_(new[name])
            self.sampler.version += 1
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)

    def _fail(self, error: Exception) -> None:
        """Every answer under way ends with this error, and the next ones begin with empty slots."""
        jobs, self.jobs = list(self.jobs.values()), {}
        self.scheduler, self.longest = None, 0
        for job in jobs:
            job.deliver(error)
