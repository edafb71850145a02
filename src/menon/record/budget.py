"""A budget of time: when a run must end so that its last evaluation still fits."""

import time
from collections import deque
from dataclasses import dataclass, field

LAST = 3
"""Steps by whose times the next one is judged."""


@dataclass
class Budget:
    """Seconds for one session of a run, counted from `began` on; None: as many as it takes.

    >>> budget = Budget(10.0, began=time.perf_counter() - 6)
    >>> budget.evaluated(1.0); budget.stepped(2.0); budget.over
    False
    >>> budget.stepped(4.0); budget.over
    True
    """

    seconds: float | None
    began: float = field(default_factory=time.perf_counter)
    """By `time.perf_counter`."""
    evaluation: float = 0.0
    """Seconds of the longest evaluation so far."""
    ended: bool = False
    """It ended the run before its last step."""
    steps: "deque[float]" = field(default_factory=lambda: deque(maxlen=LAST))
    """Seconds of the last steps, with what was saved and evaluated between them left out."""

    def stepped(self, seconds: float) -> None:
        self.steps.append(seconds)

    def evaluated(self, seconds: float) -> None:
        self.evaluation = max(self.evaluation, seconds)

    @property
    def over(self) -> bool:
        """Whether another step, as long as the longest of the last ones, and the evaluation after it would
        take longer than is left. A session makes one step at least."""
        if self.seconds is None or not self.steps:
            return False
        spent = time.perf_counter() - self.began
        return spent + max(self.steps) + self.evaluation > self.seconds
