"""From a finished answer to its verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

from menon.reward.protocols import Reward
from menon.reward.signatures import Asked, judge
from menon.types import Prompt, Rollout, Verdict

GIVEN = ("prompt", "completion", "answer", "finish", "completion_ids")
"""Names that a reward gets from the answer; a row's column of such a name is not passed."""


@dataclass(frozen=True)
class Grading:
    """Gives each answer to one reward; never raises for what a model wrote.

    A truncated answer keeps the score that the reward gives it (spec 0.5); a reward that minds reads `finish`.
    """

    reward: Reward

    def __call__(self, rollout: Rollout) -> Verdict:
        ids = rollout.tokens[len(rollout.prompt.tokens) :].tolist()
        return self.judge(rollout.prompt, rollout.text, rollout.finish, ids)

    def judge(self, prompt: Prompt, completion: str, finish: str = "stop", completion_ids: Sequence[int] = ()) -> Verdict:
        """The verdict of an answer that nobody sampled."""
        columns = {name: value for name, value in prompt.columns.items() if name not in GIVEN}
        asked = Asked(prompt.text, completion, prompt.answer, columns, finish, list(completion_ids))
        return judge(self.reward, "menon", asked)
