"""Distillation by data: a teacher writes answers, a verifier chooses among them, the student imitates."""

from collections.abc import Mapping
from dataclasses import dataclass

from menon.config import OnlineSource
from menon.errors import UserError
from menon.pipeline.keep import Keep
from menon.pipeline.stage import Pipeline, Stage, made_by
from menon.pipeline.train import Train
from menon.pipeline.write import Write
from menon.prompts.tasks import ChainSum


@dataclass(frozen=True)
class DistillData(Pipeline):
    """The teacher answers the questions of the task or of the data, those of its answers that the verifier
    finds right become rows, and the student is fine-tuned on them (sft). Only text passes from one to the
    other, so the teacher may have another tokenizer, and another template (`write.template`).
    """

    teacher: str = ""
    """Who writes the answers: a folder, a run, or a name on the hub."""

    def stages(self) -> Mapping[str, Stage]:
        if not self.teacher:
            raise UserError(
                "distill_data learns from what a teacher writes, and none is named; set teacher=FOLDER"
            )
        asked = OnlineSource(task=ChainSum(), samples_per_prompt=4)
        return {
            "write": Write(self.teacher, asked, prompts=1024, keep=Keep(most=4)),
            "sft": Train("sft", {"data": made_by("write"), "task": ChainSum(), "steps": 60}),
        }
