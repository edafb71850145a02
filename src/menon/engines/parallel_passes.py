"""Passes of one model in parallel, in threads of this process."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from menon.engines.machine import one_thread

P = TypeVar("P")
R = TypeVar("R")


def side_by_side(run: Callable[[P], R], parts: Iterable[P], workers: int, take: Callable[[R], None]) -> None:
    """Calls `take(run(part))` for all parts in their order: `run` in `workers` threads with one torch thread
    each, `take` in the calling thread. With one worker both run in the calling thread, with all of torch's
    threads.

    At most `workers` + 1 results exist at a time. Exceptions of `run` are raised here. Grad mode and autocast
    are set per thread, so `run` must set them.
    """
    if workers == 1:
        for part in parts:
            take(run(part))
        return
    with one_thread(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        ahead: deque[Future[R]] = deque()
        for part in parts:
            ahead.append(pool.submit(run, part))
            if len(ahead) > workers:
                take(ahead.popleft().result())
        while ahead:
            take(ahead.popleft().result())
