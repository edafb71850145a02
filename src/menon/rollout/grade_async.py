"""Verdicts while the sampler goes on."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from menon.types import Rollout, Verdict


def judge_aside(
    finished: Iterable[tuple[int, Rollout]], judge: Callable[[list[Rollout]], list[Verdict]]
) -> tuple[dict[int, Rollout], dict[int, Verdict]]:
    """Rollouts and verdicts by place. `judge` gets, in one thread, whatever has finished since it was last
    free.

    What it is given together depends on the machine's timing, so a verdict must depend on its own answer
    alone. An error of `judge` ends the writing and is raised here.
    """
    rollouts: dict[int, Rollout] = {}
    verdicts: dict[int, Verdict] = {}
    waiting: SimpleQueue[int | None] = SimpleQueue()

    def work() -> None:
        more = True
        while more:
            taken = [waiting.get()]
            while not waiting.empty():
                taken.append(waiting.get())
            more = None not in taken
            places = [place for place in taken if place is not None]
            if places:
                verdicts.update(zip(places, judge([rollouts[place] for place in places]), strict=True))

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        try:
            for place, rollout in finished:
                if working.done():
                    break
                rollouts[place] = rollout
                waiting.put(place)
        finally:
            waiting.put(None)
        working.result()
    return rollouts, verdicts
