"""A small judge from a larger one's labels (arXiv 2503.23829)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from menon.pipeline.agree import Agree
from menon.pipeline.label import Label
from menon.pipeline.stage import Pipeline, Stage, made_by
from menon.pipeline.train import Train
from menon.prompts.tasks import ChainSum


@dataclass(frozen=True)
class Judge(Pipeline):
    """A policy explores by RL while its reward says which answers are right; what it said becomes the rows by
    which the judge is fine-tuned, and the judge is held against labels of answers that it has not seen.
    """

    labeller: str = ""
    """The larger judge, which rewards the exploring policy: a folder or a name on the hub; "": the task's own
    verifier, or the reward of `reward=`."""
    student: str = ""
    """The model that becomes the judge; "": that of the pipeline."""
    prompt: str = "{question}\n{reference}\n{final_step}\nDo they agree? "
    """What the judge is asked."""

    def stages(self) -> Mapping[str, Stage]:
        explored: dict[str, Any] = {"task": ChainSum(), "steps": 10}
        if self.labeller:
            explored["reward"] = {"kind": "judge", "model": self.labeller}
        lessons = {"data": made_by("label"), "rows_per_step": 64, "steps": 400}
        return {
            "explore": Train("grpo", explored),
            "label": Label(made_by("explore", "."), self.prompt),
            "judge": Train("sft", lessons | ({"model": self.student} if self.student else {})),
            "agree": Agree(made_by("judge"), made_by("label", "cases.jsonl"), self.prompt),
        }
