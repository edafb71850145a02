"""Grades answers while the sampler writes others."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from menon.types import Rollout, Verdict

Key = TypeVar("Key")


def judge_aside(
    finished: Iterable[tuple[Key, Rollout]], judge: Callable[[list[Rollout]], list[Verdict]]
) -> tuple[dict[Key, Rollout], dict[Key, Verdict]]:
    """Rollouts and verdicts by key. In one thread, `judge` gets all rollouts that have finished since its
    last call.  Which rollouts are graded together depends on timing, so a verdict must depend on its own
    answer alone. An error of `judge` ends the writing and is raised here.
    """
    rollouts: dict[Key, Rollout] = {}
    verdicts: dict[Key, Verdict] = {}
    waiting: SimpleQueue[Key | None] = SimpleQueue()

    def work() -> None:
        more = True
        while more:
            taken = [waiting.get()]
            while not waiting.empty():
                taken.append(waiting.get())
            more = None not in taken
            keys = [key for key in taken if key is not None]
            if keys:
                verdicts.update(zip(keys, judge([rollouts[key] for key in keys]), strict=True))

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        try:
            for key, rollout in finished:
                if working.done():
                    break
                rollouts[key] = rollout
                waiting.put(key)
        finally:
            waiting.put(None)
        working.result()
    return rollouts, verdicts
