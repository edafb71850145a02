"""TRL's GRPOTrainer, one step for each request, with answers of fixed lengths.

Its own loop runs the steps; a callback waits for a request before each and answers after it. Nothing is
logged or saved.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteriaList, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from side_by_side.channel import Channel
from side_by_side.hf_side import RowStops, continuous
from side_by_side.task import digits, read_questions

NEWLINE = 10
"""A byte of the base's tokenizer: what stands for an end of text that came before its time."""


class Asked(TrainerCallback):
    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def now(self) -> float:
        """A step ends when the GPU has done it: nothing in a step that is not logged waits for its last
        kernels."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        request = self.channel.receive()
        if request is None:
            os._exit(0)
        torch.set_num_threads(request["threads"])
        self.start = self.now()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.channel.send({"seconds": self.now() - self.start})


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


def settings(
    samples: int, answers: int, longest: int, micro: int, dtype: str, mode: str, cpu: bool, folder: str
) -> GRPOConfig:
    """One update per step of `answers` answers, in micro-batches of `micro`; every token of the step weighs
    the same (dapo)."""
    return GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=answers // micro,
        num_generations=samples,
        max_completion_length=longest,
        num_iterations=1,
        loss_type="dapo",
        beta=0.0,
        epsilon=0.2,
        scale_rewards="group",
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=dtype == "bfloat16",
        gradient_checkpointing=False,
        use_transformers_continuous_batching=mode == "continuous",
        transformers_continuous_batching_config={
            "page_size": 32,
            "num_blocks": 4096,
            "max_batch_tokens": 2048,
        },
        max_steps=10**6,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=cpu,
        dataloader_pin_memory=False,
        shuffle_dataset=False,
    )


def main() -> None:
    channel = Channel()
    start = channel.receive()
    if start is None:
        return
    folder, limits = start["folder"], start["limits"]
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    device = start.get("device", "cpu")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").to(
        device
    )
    script(model, limits, tokenizer.eos_token_id)
    rows = [
        {"prompt": row["question"], "answer": row["answer"]} for row in read_questions(start["questions"])
    ]
    sizes = {
        "samples": start["samples"],
        "answers": len(limits),
        "longest": max(limits),
        "micro": start["micro"],
    }
    with tempfile.TemporaryDirectory() as out:
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=settings(**sizes, dtype=start["dtype"], mode=start["mode"], cpu=device == "cpu", folder=out),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[Asked(channel)],
        )
        channel.send({"ready": True})
        trainer.train()


if __name__ == "__main__":
    main()
