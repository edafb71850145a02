"""TRL's GRPOTrainer, one step for each request (`trl_steps`), with answers of fixed lengths."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import StoppingCriteriaList
from trl import GRPOConfig, GRPOTrainer

from side_by_side.hf_side import RowStops, continuous
from side_by_side.task import digits, read_questions
from side_by_side.trl_steps import serve_steps

NEWLINE = 10
"""A byte of the base's tokenizer: what stands for an end of text that came before its time."""


def script(model: Any, limits: Sequence[int], end: int) -> None:
    """Every answer of a call gets its fixed length, its end-of-text token included."""
    generate = model.generate
    last = torch.tensor(limits, device=model.device) - 1

    def scripted(input_ids: torch.Tensor, generation_config: Any, **given: Any) -> torch.Tensor:
        model.generation_config.eos_token_id = generation_config.eos_token_id = None
        prompt = input_ids.shape[1]
        stops = StoppingCriteriaList([RowStops(prompt + last + 1)])
        out = generate(
            input_ids=input_ids, generation_config=generation_config, stopping_criteria=stops, **given
        )
        if out.shape != (len(limits), prompt + max(limits)):
            raise RuntimeError(
                f"generate gave {tuple(out.shape)} for {len(limits)} answers of at most {max(limits)} tokens"
            )
        answers = out[:, prompt:]
        answers[answers == end] = NEWLINE
        answers[torch.arange(len(last)), last] = end
        return out

    def scripted_batch(
        inputs: list[list[int]], generation_config: Any, continuous_batching_config: Any, **given: Any
    ) -> Any:
        model.generation_config.eos_token_id = generation_config.eos_token_id = None
        answers = continuous(model, inputs, limits, generation_config, continuous_batching_config)
        return {
            str(place): Answer([NEWLINE if t == end else t for t in answer[:-1]] + [end])
            for place, answer in enumerate(answers)
        }

    model.generate, model.generate_batch = scripted, scripted_batch


class Answer:
    def __init__(self, tokens: list[int]) -> None:
        self.generated_tokens = tokens


def reward(completions: list[str], **columns: Any) -> list[float]:
    return [digits(completion) for completion in completions]


def trainer_of(
    start: Mapping[str, Any], model: Any, tokenizer: Any, settings: dict[str, Any], callbacks: list[Any]
) -> GRPOTrainer:
    """Every token of a step weighs the same (dapo)."""
    limits = start["limits"]
    script(model, limits, tokenizer.eos_token_id)
    rows = [
        {"prompt": row["question"], "answer": row["answer"]} for row in read_questions(start["questions"])
    ]
    batching = {"page_size": 32, "num_blocks": 4096, "max_batch_tokens": 2048}
    config = GRPOConfig(
        **settings,
        num_generations=start["samples"],
        max_completion_length=max(limits),
        num_iterations=1,
        loss_type="dapo",
        beta=0.0,
        epsilon=0.2,
        scale_rewards="group",
        use_transformers_continuous_batching=start["mode"] == "continuous",
        transformers_continuous_batching_config=batching,
        shuffle_dataset=False,
    )
    return GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


if __name__ == "__main__":
    serve_steps(trainer_of, lambda start: len(start["limits"]), padding_side="left")
