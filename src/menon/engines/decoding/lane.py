"""Decides when further requests join the sequences that one process is writing, so that it is the same step
in every run.

Which sequences are neighbours in a decoding step changes the last bits of their numbers, so a run repeats
bit for bit only if each request joins in the same step every time. A request that follows from a completion
may come early or late, because environments take their time and the other process may be busy. So it does
not join when it comes. The completions of a process are *settled* in their order: the process learns what
follows from them, or that nothing does. Before a step it waits until the unsettled completions are at most
a quarter as many as the unfinished sequences, and it settles no more than that, even if more has come. So
the step in which a request joins depends on what was written and on nothing else.

This quarter gives environments time to work while other sequences are written. Without it every step would
wait for them; with more, slots would be empty although requests are ready.
"""

from collections.abc import Callable, Sequence

from menon.engines.decoding.prefix_cache import PrefixCache
from menon.engines.decoding.scheduler import Scheduler
from menon.engines.decoding.settings import Settings
from menon.engines.decoding.slots import Slots
from menon.engines.decoding.stop_strings import Detokenizer
from menon.types import Completion, Request

WINDOW = 4
"""One completion may be unsettled for this many unfinished sequences."""


class Lane:
    """A scheduler, and the number of its completions that are not settled."""

    def __init__(self, scheduler: Scheduler, settles: bool) -> None:
        """`settles`: requests follow from completions, all but those of requests that are `last`."""
        self.scheduler, self.settles = scheduler, settles
        self.unsettled = 0

    @staticmethod
    def of(
        requests: Sequence[Request],
        most: int,
        settles: bool,
        settings: Settings,
        slots: Callable[[int], Slots],
        detokenizer: Detokenizer,
    ) -> "Lane":
        """A lane with its first requests, of which at most `most` are live at a time; `slots` makes the slots
        for a number of sequences."""
        made = slots(most if settings.fixed else max(1, min(most, len(requests))))
        prefixes = None if settings.prefix_bytes is None else PrefixCache(settings.prefix_bytes)
        lane = Lane(Scheduler(made, settings, detokenizer, prefixes), settles)
        lane.settle(0, requests, most)
        return lane

    @property
    def busy(self) -> bool:
        """Whether a request is live or queued."""
        return self.scheduler.size > 0

    @property
    def overdue(self) -> bool:
        """Whether more completions must be settled before the next step."""
        return self.unsettled > self.scheduler.size // WINDOW

    def step(self, version: int) -> list[Completion]:
        finished = self.scheduler.step(version)
        self.unsettled += self.to_settle(finished)
        return finished

    def to_settle(self, finished: Sequence[Completion]) -> int:
        """How many of these must be settled."""
        return sum(not completion.request.last for completion in finished) if self.settles else 0

    def settle(self, count: int, requests: Sequence[Request], most: int) -> None:
        """Settles the next `count` completions (0: none) with the requests that follow from them; see
        `Scheduler.ask` for `most`."""
        self.unsettled -= count
        if requests:
            self.scheduler.ask(requests, most)
