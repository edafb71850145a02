"""A small judge from a larger one's labels (arXiv 2503.23829)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from menon.base import BASES
from menon.pipeline.agree import Agree
from menon.pipeline.guesses import Guesses
from menon.pipeline.label import Label
from menon.pipeline.stage import Pipeline, Stage, made_by
from menon.pipeline.train import Train
from menon.prompts.tasks.subjects import Subjects


@dataclass(frozen=True)
class Judge(Pipeline):
    """A policy explores by RL while its reward says which answers are right; what it said becomes the rows by
    which the judge is fine-tuned, and the judge is held against labels of answers that it has not seen. A
    built-in model, which knows no facts, first learns half of them.
    """

    labeller: str = ""
    """The larger judge, which rewards the exploring policy: a folder or a name on the hub; "": the task's own
    verifier."""
    student: str = ""
    """The model that becomes the judge; "": that of the pipeline."""
    prompt: str = "{question}\n{reference}\n{final_step}\nDo they agree? "
    """What the judge is asked."""

    def stages(self) -> Mapping[str, Stage]:
        found: dict[str, Stage] = {}
        explored: dict[str, Any] = {"task": Subjects(), "steps": 12, "max_new_tokens": 48}
        if self.labeller:
            explored["reward"] = {"kind": "judge", "model": self.labeller}
        if self.model in BASES:
            found["guesses"] = Guesses()
            found["know"] = Train("sft", {"data": made_by("guesses"), "rows_per_step": 64, "steps": 150})
            explored["model"] = made_by("know")
        found["explore"] = Train("grpo", explored)
        found["label"] = Label(made_by("explore", "."), self.prompt)
        lessons = {"data": made_by("label"), "rows_per_step": 32, "steps": 300}
        found["judge"] = Train("sft", lessons | ({"model": self.student} if self.student else {}))
        found["agree"] = Agree(made_by("judge"), made_by("label", "cases.jsonl"), self.prompt)
        return found
