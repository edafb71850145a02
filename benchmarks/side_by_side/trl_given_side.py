"""TRL's SFTTrainer or DPOTrainer, one step for each request (`trl_steps`), on the same rows each time."""

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from side_by_side.task import read_questions
from side_by_side.trl_steps import serve_steps

TRAINERS = {"sft": (SFTTrainer, SFTConfig, {}), "dpo": (DPOTrainer, DPOConfig, {"beta": 0.1})}


def trainer_of(
    start: Mapping[str, Any], model: Any, tokenizer: Any, settings: dict[str, Any], callbacks: list[Any]
) -> Any:
    trainer, config, own = TRAINERS[start["name"]]
    return trainer(
        model=model,
        args=config(**own, **settings, max_length=None),
        train_dataset=Dataset.from_list(read_questions(start["rows"])),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


if __name__ == "__main__":
    serve_steps(trainer_of, lambda start: start["count"])
