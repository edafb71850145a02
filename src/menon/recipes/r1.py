"""DeepSeek-R1 (arXiv 2501.12948): cold start, RL, rejection sampling and SFT, general RL, distillation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from menon.base import BASES
from menon.base.lessons import rewards
from menon.config import OnlineSource
from menon.pipeline.join import Join
from menon.pipeline.keep import Keep
from menon.pipeline.lessons import Lessons
from menon.pipeline.small import Small
from menon.pipeline.stage import Pipeline, Stage, made_by
from menon.pipeline.train import Train
from menon.pipeline.write import Write

LENGTH = 160
"""Longest answer of a built-in model: its sums worked out between tags."""


@dataclass(frozen=True)
class R1(Pipeline):
    """A readable cold start; RL by rules for accuracy, format and language; fine-tuning of the base on right
    answers of that policy, beside general ones; RL by rules and a reward model; and a smaller student, which
    imitates the same answers as the base did. R1-Zero, which has no cold start, is the recipe r1_zero."""

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

    def stages(self) -> Mapping[str, Stage]:
        sft, rl, pairs = self.at_rate(3e-3), self.at_rate(3e-4), self.at_rate(1e-3, asks=False)
        asked = OnlineSource(
            *(self.reasoning, self.heldout_data),
            reward=rewards(),
            samples_per_prompt=4,
            max_new_tokens=LENGTH,
        )
        rows = {"reasoning": made_by("reject"), "general": self.replies}
        general = {"source.data": self.questions, "source.reward": rewards(taste=made_by("preference"))}
        return {
            "lessons": Lessons(),
            "cold_start": Train("sft", {**sft, "data": self.worked, "steps": 60}),
            "reason": Train("r1_zero", {**rl, "model": made_by("cold_start"), "steps": 8}),
            "reject": Write(made_by("reason"), asked, prompts=600, keep=Keep(most=2, one_script=True)),
            "join": Join(rows, {"reasoning": 1100, "general": 500}),
            "sft": Train("sft", {**sft, "data": made_by("join"), "steps": 95}),
            "preference": Train("reward_model", {**pairs, "data": self.pairs, "steps": 60}),
            "rules": Train("r1_zero", {**rl, "model": made_by("sft"), "steps": 16}),
            "general": Train("r1_zero", {**rl, **general, "model": made_by("rules"), "steps": 5}),
            "small": Small(),
            "distill": Train("sft", {**sft, "data": made_by("join"), "model": self.student, "steps": 140}),
        }

    def at_rate(self, learning_rate: float, asks: bool = True) -> dict[str, Any]:
        """What the runs share: the questions, and the sizes of a built-in base. Other models have their
        own."""
        asked = {
            "source.data": self.reasoning,
            "source.heldout_data": self.heldout_data,
            "source.heldout": 300,
            "source.reward": rewards(),
            "source.report_questions": 0,
        }
        sizes: dict[str, Any] = {"learning_rate": learning_rate} if self.model in BASES else {}
        if asks and self.model in BASES:
            sizes["source.max_new_tokens"] = LENGTH
        return {**sizes, **(asked if asks else {})}
