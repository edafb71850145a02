"""Threads of this process that each compute some of the rows of a decoding step, from its first operation to
its last.

Threads that share every operation wait for each other 150 times a step of 30 layers; these wait once. Each
reads all weights, but they read the same ones at about the same time.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

from menon.engines.machine import one_thread

R = TypeVar("R")


def in_parts(run: Callable[[slice], R], rows: int, parts: int) -> list[R]:
    """`run` of `parts` slices of the rows, in order, each in a thread of its own with one torch thread and in
    inference mode. A single part runs in the calling thread, with all of torch's threads."""

    def part(index: int) -> R:
        with torch.inference_mode():
            return run(slice(rows * index // parts, rows * (index + 1) // parts))

    if parts == 1:
        return [part(0)]
    with one_thread():
        return list(_threads(parts).map(part, range(parts)))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "rows", initializer=torch.set_num_threads, initargs=(1,))
