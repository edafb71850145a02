"""Threads of this process that each do a part of an operation, each with one torch thread."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

from menon.engines.machine import one_thread

P = TypeVar("P")
R = TypeVar("R")


def slices(rows: int, parts: int) -> list[slice]:
    """Cuts rows into so many parts of about one size.

    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    return [slice(rows * index // parts, rows * (index + 1) // parts) for index in range(parts)]


def in_parts(run: Callable[[slice], R], rows: int, parts: int) -> list[R]:
    """`run` of `parts` slices of the rows, in order (`in_threads`)."""
    return in_threads(run, slices(rows, parts))


def in_threads(run: Callable[[P], R], parts: Sequence[P]) -> list[R]:
    """`run` of all parts, in order, in inference mode: the first one in the calling thread, and each other
    in a thread of its own, all with one torch thread. A single part has all of torch's threads."""

    @torch.inference_mode()
    def inside(part: P) -> R:
        return run(part)

    if len(parts) == 1:
        return [inside(parts[0])]
    with one_thread():
        others = [_threads(len(parts) - 1).submit(inside, part) for part in parts[1:]]
        try:
            first = inside(parts[0])
        finally:
            wait(others)
        return [first, *(other.result() for other in others)]


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "rows", initializer=torch.set_num_threads, initargs=(1,))
