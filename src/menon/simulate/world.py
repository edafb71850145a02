"""The simulated clock, and what passes time on it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class World:
    """Two clocks: that of the run's main thread, and how far the samplers have been followed."""

    now: float = 0.0
    """Seconds at which the main thread is."""
    written: float = 0.0
    """Seconds at which the latest completion was ready."""
    learning: float = 0.0
    """Seconds for which the learners computed."""
    sampling: float = 0.0
    """Seconds for which the samplers computed, those of all samplers added up."""
    slots: float = 0.0
    """Seconds for which their slots were filled, all slots added up."""
    marks: list[tuple[float, float, float, float]] = field(default_factory=list)
    """(now, learning, sampling, slots) at the end of each step."""

    def mark(self) -> None:
        self.marks.append((self.now, self.learning, self.sampling, self.slots))


class OnClock:
    """Writing beside the main thread on the simulated clock (`source.in_thread.Beside`).

    The samplers are followed as far as the main thread looks: until what it waits for is ready, which is then
    the time for it too; or until the main thread stops them, at its own time. So one thread does everything,
    and the result does not depend on the speed of the machine.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.error: BaseException | None = None
        self._work: Iterator[None] = iter(())

    def start(self, work: Iterator[None]) -> None:
        self._work = work

    def until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if next(self._work, self) is self:
                raise RuntimeError("the writing ended before its step was whole")
            self.world.now = max(self.world.now, self.world.written)

    def stop(self, abort: Callable[[], bool]) -> None:
        abort()
        for _ in self._work:
            pass
        self.world.now = max(self.world.now, self.world.written)
