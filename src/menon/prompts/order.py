"""The order in which questions are asked."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from menon.errors import UserError
from menon.streams import stream
from menon.types import Graded, Prompt


class Shuffled:
    """An endless order: every prompt once per epoch, shuffled by the seed and the number of the epoch.

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
        """The next prompts, each with its epoch, which is also how often it was visited before. It continues
        into the next epoch where needed."""
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
                f"the saved run asked from {state['prompts']} questions and this data set has "
                f"{len(self.prompts)}; "
                "resume with the data that the run began with"
            )
        self.taken = state["taken"]


class Unsolved(Shuffled):
    """Every question once per epoch, without those that were answered right at least `SOLVED` of the time
    when they were last asked (no-positive-resampling: ScaleRL, arXiv 2510.13786).

    Such a question is not asked again. When none is left, all of them come again.
    """

    SOLVED = 0.9

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        super().__init__(prompts, seed)
        self.solved: set[int] = set()
        self.row = {prompt.index: row for row, prompt in enumerate(self.prompts)}

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        """The next unsolved prompts, each with its epoch."""
        asked: list[tuple[Prompt, int]] = []
        while len(asked) < count:
            epoch, place = divmod(self.taken, len(self.prompts))
            rows = [int(row) for row in self.order(epoch)[place:]]
            for row in rows[: count - len(asked)]:
                if row not in self.solved:
                    asked.append((self.prompts[row], epoch))
                self.taken += 1
        return asked

    def note(self, graded: Sequence[Graded]) -> None:
        """Removes the questions that these graded answers solve; answers whose correctness is unknown are
        skipped."""
        self.solved |= {self.row[index] for index, rate in rates(graded).items() if rate >= self.SOLVED}
        if len(self.solved) == len(self.prompts):
            self.solved.clear()

    def state(self) -> dict[str, Any]:
        return super().state() | {"solved": sorted(self.solved)}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self.solved = set(state["solved"])


class ByDifficulty(Shuffled):
    """Questions that are answered wrong come more often (prioritised sampling: Kimi k1.5, arXiv 2501.12599).

    A question is drawn with a probability proportional to max(1 - s, `REST`), where s is the share of right
    answers when it was last asked (0 if it was not asked yet). `REST` makes sure that learned questions are
    asked again. Within one `take`, no question is drawn twice before all were drawn once.
    """

    REST = 0.05

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        super().__init__(prompts, seed)
        self.visits: dict[str, int] = {}
        self.rates: dict[str, float] = {}
        self.row = {prompt.index: str(row) for row, prompt in enumerate(self.prompts)}

    def take(self, count: int) -> list[tuple[Prompt, int]]:
        """The next prompts, each with how often it was asked before."""
        asked: list[tuple[Prompt, int]] = []
        weight = np.array(
            [max(1 - self.rates.get(str(row), 0.0), self.REST) for row in range(len(self.prompts))]
        )
        while len(asked) < count:
            # The largest u^(1/w) are a draw without replacement by weight (Efraimidis and Spirakis 2006).
            key = np.log(stream(self.seed, "difficulty", self.taken).random(len(weight))) / weight
            for row in np.argsort(-key, kind="stable")[: count - len(asked)]:
                visit = self.visits.get(str(row), 0)
                self.visits[str(row)] = visit + 1
                asked.append((self.prompts[row], visit))
            self.taken += 1
        return asked

    def note(self, graded: Sequence[Graded]) -> None:
        """Updates s of the questions that these graded answers belong to; answers whose correctness is
        unknown are skipped."""
        self.rates |= {self.row[index]: rate for index, rate in rates(graded).items()}

    def state(self) -> dict[str, Any]:
        return super().state() | {"visits": dict(self.visits), "rates": dict(self.rates)}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self.visits, self.rates = dict(state["visits"]), dict(state["rates"])


def rates(graded: Sequence[Graded]) -> dict[int, float]:
    """A question's number in its data set -> the share of right answers among those of known correctness."""
    found: dict[int, list[float]] = {}
    for answer in graded:
        if not np.isnan(answer.verdict.acc):
            found.setdefault(answer.rollout.prompt.index, []).append(answer.verdict.acc)
    return {index: float(np.mean(accs)) for index, accs in found.items()}
