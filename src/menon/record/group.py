"""One group of a step as the record has it: its answers with everything stored about their tokens, and the
ratios of the update that learned from each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from menon.record.reader import RunView
from menon.settings import setting

if TYPE_CHECKING:
    from menon.batch import Batch

ROW = (
    *("group", "sample", "prompt", "answer", "completion", "finish", "score", "acc", "parts", "error"),
    *("node", "parent", "depth", "standard_error", "learn", "age"),
)
"""Columns of a transcript with one value per answer."""
TEXT = ("tokens", "is_action", "text", "text_start")
"""Columns from which the text of each token follows; the last two are in no folder of format 1."""
TOKEN = ("behaviour_logp", "entropy", "value", "advantage")
"""Columns of a transcript with one number per token, where the run stored them."""


@dataclass(frozen=True)
class Ratio:
    """pi / pi_old of an answer's tokens around the update that learned from the answer."""

    update: int
    """Number of the update in its step, from 0, over all models."""
    updates: int
    """How many updates the policy had in the step."""
    first: bool
    """It was the policy's first, and the loss compares with the policy before it, so every ratio is 1."""
    before: NDArray[np.float64]
    """[T] as the loss had it; NaN where a token was not learned from or its old log-prob was not scored."""
    after: NDArray[np.float64]
    """[T] the same after the update."""


@dataclass(frozen=True)
class Answer:
    """One answer. T counts its tokens from the first that the policy wrote, observations of an environment
    included."""

    row: Mapping[str, Any]
    """One value per answer: `ROW`, and `TEXT` where the folder has it."""
    begin: int
    """Tokens of the sequence before the first that the policy wrote."""
    is_action: NDArray[np.bool_]
    """[T] the policy wrote it."""
    trained: NDArray[np.bool_]
    """[T] a loss may touch it."""
    outcome: float
    """The sum of its rewards after shaping."""
    columns: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """[T] those of `TOKEN` that the run stored."""
    ratio: Ratio | None = None
    """None: the run did not record its updates, or no update learned from the answer."""

    @property
    def num_actions(self) -> int:
        return int(self.is_action.sum())

    @property
    def advantage(self) -> NDArray[np.float64]:
        """The advantages of its trained tokens; empty where none were stored."""
        stored = self.columns.get("advantage")
        return np.zeros(0) if stored is None else stored[self.trained]

    @property
    def pieces(self) -> list[str] | None:
        """[T] the text of each token; None in a folder of format 1."""
        starts, text = self.row.get("text_start"), self.row.get("text")
        if starts is None or text is None:
            return None
        bounds = [*starts, len(text)]
        return [text[bounds[t] : bounds[t + 1]] for t in range(self.begin, len(starts))]


def read_group(view: RunView, step: int, group: int) -> list[Answer]:
    """The answers of a group in the order of the transcript; [] if the step has no such group. UserError if
    there is no such step."""
    stored = view.transcripts.columns(step)
    names = [name for name in (*ROW, *TEXT) if name in stored]
    rows = view.transcripts.rows(step, names, group)
    if not rows:
        return []
    batch = view.transcripts.batch(step)
    logps = update_logps(view, step)
    places = (batch.group == group).nonzero()[:, 0].tolist()
    return [answer_of(batch, place, row, logps.get(place)) for place, row in zip(places, rows, strict=True)]


@dataclass(frozen=True)
class Logps:
    """Log-probs of a sequence's tokens around the update that it was in, [L] each; the rest as in `Ratio`."""

    update: int
    updates: int
    first: bool
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def update_logps(view: RunView, step: int) -> dict[int, Logps]:
    """Row of the transcript -> log-probs of the policy around its update; {} if they were not recorded."""
    if step not in view.updates.steps:
        return {}
    records = [record for record in view.update_records(step) if record.logp_before is not None]
    numbers = sorted({record.update for record in records})
    by_trainer = setting(view.settings, "old", "trainer") == "trainer"
    logps: dict[int, Logps] = {}
    for record in records:  # the terms of an update share its log-probs
        assert record.logp_before is not None
        assert record.logp_after is not None
        bounds = record.offset[1:-1]
        before = np.split(record.logp_before.astype(np.float64), bounds)
        after = np.split(record.logp_after.astype(np.float64), bounds)
        first = by_trainer and record.update == numbers[0]
        for row, old, new in zip(record.sequence.tolist(), before, after, strict=True):
            logps[row] = Logps(record.update, len(numbers), first, old, new)
    return logps


def answer_of(batch: "Batch", place: int, row: Mapping[str, Any], logps: Logps | None) -> Answer:
    """The answer in row `place` of the transcript."""
    low, high = batch.offset[place : place + 2].tolist()
    acts = batch.is_action[low:high].numpy()
    begin = int(acts.argmax()) if acts.any() else high - low
    rest = slice(low + begin, high)

    def column(name: str) -> NDArray[np.float64] | None:
        stored = getattr(batch, name)
        return None if stored is None else stored[rest].double().numpy()

    trained = batch.trained[rest].numpy()
    return Answer(
        row,
        begin,
        acts[begin:],
        trained,
        outcome=float(batch.reward[low:high].double().sum()),
        columns={name: stored for name in TOKEN if (stored := column(name)) is not None},
        ratio=None if logps is None else ratio_of(logps, begin, column("old_logp"), trained),
    )


def ratio_of(logps: Logps, begin: int, old: NDArray[np.float64] | None, trained: NDArray[np.bool_]) -> Ratio:
    """The ratios of the tokens from `begin` on to the old log-probs [T]. In the first update the loss takes
    the detached new log-prob for the old one; else tokens whose old log-prob was not scored have NaN."""
    before, after = logps.before[begin:], logps.after[begin:]
    if logps.first:
        old = before
    known = np.full(len(trained), np.nan) if old is None else np.where(trained, old, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        return Ratio(logps.update, logps.updates, logps.first, np.exp(before - known), np.exp(after - known))
