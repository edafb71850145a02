"""Measures how a step spends its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """`with clock("update"): ...` adds up seconds by name; it waits for a GPU to finish the work that was
    queued within the block."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def times(self) -> dict[str, float]:
        """time/<name> in seconds; time/step is the whole step, time/other the time that no name covers."""
        total = time.perf_counter() - self._start
        named = {f"time/{name}": seconds for name, seconds in self._seconds.items()}
        return named | {"time/other": total - sum(self._seconds.values()), "time/step": total}
