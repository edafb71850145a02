"""Steps of decoding as CUDA graphs: recorded once for each shape, then started as a whole. Torch alone.

A GPU executes a small step faster than Python can launch its operations. A recorded step needs no Python. It
reads and writes the tensors that it was recorded with, so these must keep their addresses.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, tuple[int, ...]], Tensor]
"""(tokens and their positions [2, n] on the device, widths of attention) -> logits [n, V]; it never waits for
the device."""
Capture = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""Records what a function does on the device; the replay does it again and gives the same tensor,
overwritten."""

CLASSES = 8
"""How many different numbers of rows are recorded. Others are rounded up, and the free rows are computed
too."""


class Graphs:
    """A step for up to `slots` rows, recorded the first time that a shape occurs."""

    def __init__(self, step: Step, slots: int, device: torch.device, capture: Capture) -> None:
        self.step, self.slots, self.capture = step, slots, capture
        self.given = torch.zeros(2, slots, dtype=torch.int64, device=device)
        self.replays: dict[tuple[int, tuple[int, ...]], Callable[[], Tensor]] = {}
        self.failed = False

    def __call__(self, given: Tensor, widths: tuple[int, ...]) -> Tensor:
        """`given` [2, n] is on the CPU. Logits of at least n rows, which the next call overwrites."""
        n, each = given.shape[1], -(-self.slots // CLASSES)
        rows = min(-(-n // each) * each, self.slots)
        self.given[:, :n] = given.to(self.given.device)
        if (rows, widths) not in self.replays and not self.failed:
            try:
                self.replays[rows, widths] = self.capture(lambda: self.step(self.given[:, :rows], widths))
            except RuntimeError as error:
                self.failed = True
                self.replays.clear()
                warnings.warn(
                    f"decoding continues without CUDA graphs, which is slower: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
        if self.failed:
            return self.step(self.given[:, :rows], widths)
        return self.replays[rows, widths]()


def capture_on(device: torch.device) -> Capture | None:
    """A new recorder, for graphs that are freed together; None if the device cannot record."""
    if device.type != "cuda":
        return None
    pool = (
        torch.cuda.graph_pool_handle()
    )  # one for all: replays never overlap, and each one's logits are read before the next

    def capture(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            run()  # libraries set themselves up here; the same keys and values are written again by every run
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            logits = run()

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay

    return capture
