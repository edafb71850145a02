"""A preference model's score as reward (docs/numerics.md, 13.7)."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from menon.errors import UserError
from menon.foreign import Framed
from menon.parts import Around
from menon.reward.batched import NoReply, ask
from menon.reward.code.signatures import Asked
from menon.reward.judge import question_of
from menon.thought import after_thinking, before_thinking
from menon.types import Verdict

Score = Callable[[Sequence[str]], Sequence[float]]
"""Whole texts -> raw scores of the preference model. `Around` makes it from a model folder."""


@dataclass(frozen=True)
class Preference:
    """A preference model's score of prompt and answer. R = clip((s - mean) / std, -clip, clip), s the raw
    score; `acc` is unknown (NaN).

    `mean` and `std` are those of the raw scores of held-out demonstrations, measured once before the run, so
    that rewards of different preference models have the same scale. The model does not see the thought. A
    truncated answer (finish "length"), or one whose thought never ends, has no end for the model to score:
    with `missing_end` c >= 0 its reward is c * R (0: no reward, as in ReaLHF;
    1: no difference), with c < 0 it is c itself (OpenRLHF's rule). Where c <= 0 it is not sent to the model.

    NaN with an error: a call that raises, takes longer than `time_limit` seconds for a batch, returns
    something else than one number per text, or a score that is not finite.
    """

    model: str | Score = ""
    """A folder or a name on the hub with a scalar head; from Python also a function."""
    mean: float = 0.0
    """Mean of the raw scores, subtracted."""
    std: float = 1.0
    """Deviation of the raw scores, divided by."""
    clip: float = 20.0
    """Bound on the reward, on both sides."""
    missing_end: float = 0.0
    """Factor for truncated answers; below 0: their reward."""
    template: str = ""
    """The text format that the model was trained on, with {question} and {response}. "": the policy's prompt
    followed by the answer."""
    batch_size: int = 64
    """Texts per call."""
    time_limit: float = 600.0
    """Seconds for one batch."""
    kind: Literal["preference"] = "preference"

    def __post_init__(self) -> None:
        if not self.model:
            raise UserError(
                "a preference reward needs reward.model: the folder of a model with a scalar head"
            )
        if not self.std > 0 or not self.clip > 0:
            raise UserError(f"a preference reward's std ({self.std}) and clip ({self.clip}) must be positive")
        if self.batch_size < 1 or not self.time_limit > 0:
            raise UserError(
                f"a preference reward's batch_size ({self.batch_size}) must be at least 1, its time_limit "
                "positive"
            )
        if self.template and not all(place in self.template for place in ("{question}", "{response}")):
            raise UserError("a preference reward's template needs both {question} and {response}")

    def build(self, around: Around) -> "Preference":
        """The reward with its model loaded."""
        if not isinstance(self.model, str):
            return self
        return replace(self, model=around.load_preference(self.model, not self.template))

    @property
    def score(self) -> Score:
        assert not isinstance(self.model, str), "a preference model is built before it is asked"
        return self.model

    def __call__(
        self, prompt: str, completion: str, answer: str, finish: str = "stop", **columns: Any
    ) -> Verdict:
        """One answer; `many` is the same for a batch and faster."""
        return self.many([Asked(prompt, completion, answer, columns, finish)])[0]

    def many(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Verdicts in the order of the answers."""
        places = [place for place, one in enumerate(asked) if self.missing_end > 0 or not is_cut(one)]
        verdicts = [Verdict(self.missing_end, math.nan) for _ in asked]
        for start in range(0, len(places), self.batch_size):
            batch = places[start : start + self.batch_size]
            for place, verdict in zip(batch, self._ask([asked[place] for place in batch]), strict=True):
                verdicts[place] = verdict
        return verdicts

    def _ask(self, asked: Sequence[Asked]) -> list[Verdict]:
        try:
            scores = ask(self.score, [self.text(one) for one in asked], self.time_limit)
        except NoReply as error:
            return [failed(str(error)) for _ in asked]
        return [self._verdict(score, one) for score, one in zip(scores, asked, strict=True)]

    def _verdict(self, score: Any, asked: Asked) -> Verdict:
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            return failed(f"returned {score!r} as a score")
        reward = max(-self.clip, min(self.clip, (score - self.mean) / self.std))
        return Verdict(
            reward * self.missing_end if is_cut(asked) else reward, math.nan, {"raw": float(score)}
        )

    def text(self, asked: Asked) -> str:
        response = after_thinking(asked.prompt, asked.completion) or ""
        if not self.template:
            return Framed.of([(before_thinking(asked.prompt), False), (response, True)])
        texts = {"{question}": question_of(asked), "{response}": response}
        pieces = re.split(r"({question}|{response})", self.template)
        return Framed.of([(texts.get(piece, piece), piece in texts) for piece in pieces])


def is_cut(asked: Asked) -> bool:
    """Whether an answer has no end: it was truncated, or its thought was never closed."""
    return asked.finish == "length" or after_thinking(asked.prompt, asked.completion) is None


def failed(error: str) -> Verdict:
    return Verdict(math.nan, math.nan, error=f"the preference model {error}")
