"""In which order questions are asked."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from menon.errors import UserError
from menon.streams import stream
from menon.types import Prompt


class Shuffled:
    """Without end: every prompt once per epoch, in an order that depends on the seed and the epoch alone.

    >>> import numpy as np
    >>> prompts = [Prompt(i, np.array([i], dtype=np.int32), str(i)) for i in range(3)]
    >>> [(prompt.index, visit) for prompt, visit in Shuffled(prompts, seed=0).take(4)]
    [(2, 0), (1, 0), (0, 0), (1, 1)]
    """

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        if not prompts:
            raise UserError("there is no question to ask; give a data set with at least one row")
        self.prompts = tuple(prompts)
        self.seed = seed
        self.taken = 0

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        """The next prompts, each with its epoch, which is how often it was visited before; wraps into the next epoch."""
        asked: list[tuple[Prompt, int]] = []
        while len(asked) < count:
            epoch, place = divmod(self.taken, len(self.prompts))
            order = self.order(epoch)[place : place + count - len(asked)]
            asked += [(self.prompts[row], epoch) for row in order]
            self.taken += len(order)
        return asked

    def order(self, epoch: int) -> np.ndarray:
        return stream(self.seed, "order", epoch).permutation(len(self.prompts))

    def state(self) -> dict[str, Any]:
        return {"taken": self.taken, "prompts": len(self.prompts)}

    def load(self, state: dict[str, Any]) -> None:
        """UserError if the data set has another size than the one that the state was saved with."""
        if state["prompts"] != len(self.prompts):
            raise UserError(
                f"the saved run asked from {state['prompts']} questions and this data set has {len(self.prompts)}; "
                "resume with the data that the run began with"
            )
        self.taken = state["taken"]
