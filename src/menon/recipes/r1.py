"""DeepSeek-R1 (arXiv 2501.12948): cold start, RL, rejection sampling and SFT, general RL, distillation."""

from collections.abc import Mapping
from dataclasses import dataclass

from menon.base.lessons import rewards
from menon.pipeline.join import Join
from menon.pipeline.keep import Keep
from menon.pipeline.lessons import Lessons
from menon.pipeline.own_pairs import OwnPairs
from menon.pipeline.small import Small
from menon.pipeline.stage import Stage, made_by
from menon.pipeline.two_kinds import TwoKinds


@dataclass(frozen=True)
class R1(TwoKinds):
    """A readable cold start; RL by rules for accuracy, format and language; fine-tuning of the base on right
    answers of that policy, beside general ones; RL on both kinds of questions by rules, then with a reward
    model; and a smaller student, which imitates the same answers as the base did."""

    def stages(self) -> Mapping[str, Stage]:
        rows = {"reasoning": made_by("reject"), "general": self.replies}
        taste = rewards(taste=made_by("preference"))
        return {
            "lessons": Lessons(),
            "cold_start": self.imitate(self.worked, steps=60),
            "reason": self.practise(made_by("cold_start"), self.reasoning, steps=8),
            "reject": self.write(made_by("reason"), self.reasoning, 600, Keep(most=2, one_script=True)),
            "join": Join(rows, {"reasoning": 1100, "general": 500}),
            "sft": self.imitate(made_by("join"), steps=95),
            "rules": self.practise(made_by("sft"), self.questions, steps=16, kl=0.02),
            "own": self.write(made_by("rules"), self.pairs, 300, Keep(min_reward=0.0), "chosen"),
            "own_pairs": OwnPairs(self.pairs, made_by("own")),
            "preference": self.prefer(made_by("own_pairs"), steps=100),
            "general": self.practise(made_by("rules"), self.questions, steps=8, kl=0.02, reward=taste),
            "small": Small(),
            "distill": self.imitate(made_by("join"), steps=140, model=self.student),
        }
