"""What the stages of a pipeline share that asks two kinds of questions, as DeepSeek-R1 does: its files, and
the sizes and rates of its runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from menon.base import BASES
from menon.base.lessons import rewards
from menon.config import OnlineSource
from menon.pipeline.keep import Keep
from menon.pipeline.stage import Pipeline, made_by
from menon.pipeline.train import Train
from menon.pipeline.write import Write
from menon.prompts.reader import Columns
from menon.reward.rules import Mix

R1_KL = 0.001
"""The coefficient of R1-Zero."""
LENGTH = 160
"""Longest answer of a built-in model: its sums worked out between tags."""


@dataclass(frozen=True)
class TwoKinds(Pipeline):
    """Questions that a rule can check, and general ones. Without files of the user's own they are those of
    the stages `lessons` and `small`."""

    worked: str = made_by("lessons", "worked.jsonl")
    """Rows of the cold start: questions with answers that are worked out readably."""
    reasoning: str = made_by("lessons", "reasoning.jsonl")
    """Questions that a rule can check. Their column kind is reasoning."""
    questions: str = made_by("lessons")
    """Such questions beside general ones, whose column kind is general."""
    heldout_data: str = made_by("lessons", "heldout.jsonl")
    """Questions of both kinds, by which every stage is measured."""
    replies: str = made_by("lessons", "replies.jsonl")
    """General questions with answers to imitate."""
    pairs: str = made_by("lessons", "pairs.jsonl")
    """General questions with a better and a worse answer, for the reward model."""
    student: str = made_by("small")
    """The smaller model that is taught in the end."""

    def imitate(self, data: str, steps: int, **more: Any) -> Train:
        """SFT, from the model of the pipeline if `more` names no other."""
        return self.train("sft", 3e-3, {"data": data, "steps": steps, **more})

    def practise(
        self, model: str, data: str, steps: int, kl: float = R1_KL, reward: Mix | None = None
    ) -> Train:
        """RL as R1-Zero's, by rules where no reward is given. `kl` times the KL to its start keeps what the
        reward does not pay for: without it general answers are forgotten while reasoning is learned."""
        asked = {"source.data": data, "source.reward": reward or rewards(), "objective.kl.coef": kl}
        return self.train("r1_zero", 3e-4, {**asked, "model": model, "steps": steps})

    def prefer(self, data: str, steps: int) -> Train:
        """A reward model."""
        rate = {"learning_rate": 1e-3} if self.model in BASES else {}
        return Train("reward_model", {**rate, "data": data, "steps": steps})

    def write(self, model: str, data: str, prompts: int, keep: Keep, gold: str | None = None) -> Write:
        """Four answers of a model to each of so many questions; `gold` is the column of the gold answers,
        where its name does not say so."""
        asked = OnlineSource(
            data,
            heldout_data=self.heldout_data if gold is None else None,  # its columns have other names
            columns=Columns(answer=gold),
            reward=rewards(),
            samples_per_prompt=4,
            max_new_tokens=LENGTH,
        )
        return Write(model, asked, prompts=prompts, keep=keep)

    def train(self, recipe: str, learning_rate: float, settings: Mapping[str, Any]) -> Train:
        """A run that is measured with the questions of both kinds. Sizes are those of a built-in base; other
        models have their own."""
        sizes = {"learning_rate": learning_rate, "source.max_new_tokens": LENGTH}
        asked = {
            "source.data": self.reasoning,
            "source.heldout_data": self.heldout_data,
            "source.heldout": 300,
            "source.reward": rewards(),
            "source.report_questions": 0,
        }
        return Train(recipe, {**(sizes if self.model in BASES else {}), **asked, **settings})
