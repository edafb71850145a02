"""Answers of the policy, graded as they finish."""

from collections.abc import Mapping
from typing import Any

from menon.batch import pack
from menon.parts import Around, Stateful
from menon.rollout.protocols import Collect, Collected, Grade, Notes, Prompts, Sampler
from menon.source.protocols import Gathered
from menon.types import StepReport


class Online:
    """Prompts, a sampler, a rollout and a grader: one step's graded text at a time."""

    def __init__(
        self, prompts: Prompts, sampler: Sampler, rollout: Collect, grade: Grade, around: Around
    ) -> None:
        self.prompts, self.sampler, self.rollout, self.grade = prompts, sampler, rollout, grade
        self.around = around
        self._rollout_state = rollout.init() if isinstance(rollout, Stateful) else None

    def next(self) -> Gathered:
        own = () if self._rollout_state is None else (self._rollout_state,)
        found = self.rollout(self.prompts, self.sampler, self.grade, self.around, *own)
        self._rollout_state = found.state
        return gathered_from(found, self.sampler.version)

    def learned(self, report: StepReport) -> None:
        if isinstance(self.prompts, Notes):
            self.prompts.note(report.graded)

    def published(self, version: int) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"prompts": self.prompts.state(), "rollout": self._rollout_state}

    def load(self, state: Mapping[str, Any]) -> None:
        self.prompts.load(state["prompts"])
        self._rollout_state = state["rollout"]

    def close(self) -> None:
        pass


def gathered_from(found: Collected, version: int) -> Gathered:
    """The step of a rollout's text; `version` is the sampler's."""
    batch = pack(found.graded)
    written = None if batch.version is None else batch.version[batch.is_action]
    oldest = version if written is None or not len(written) else int(written.min())
    return Gathered(batch, tuple(found.graded), found.metrics, oldest)
