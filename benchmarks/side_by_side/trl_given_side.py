"""TRL's SFTTrainer or DPOTrainer, one step for each request, on the same rows each time.

Its own loop runs the steps, as in `trl_side`. Nothing is logged or saved.
"""

import tempfile
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from side_by_side.channel import Channel
from side_by_side.task import read_questions
from side_by_side.trl_side import Asked

TRAINERS = {"sft": (SFTTrainer, SFTConfig, {}), "dpo": (DPOTrainer, DPOConfig, {"beta": 0.1})}


def settings(name: str, count: int, micro: int, dtype: str, cpu: bool, folder: str) -> Any:
    """One update per step of `count` rows, in micro-batches of `micro`."""
    _, config, own = TRAINERS[name]
    return config(
        **own,
        output_dir=folder,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=count // micro,
        max_length=None,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=dtype == "bfloat16",
        gradient_checkpointing=False,
        max_steps=10**6,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=cpu,
        dataloader_pin_memory=False,
    )


def main() -> None:
    channel = Channel()
    start = channel.receive()
    if start is None:
        return
    name, folder, device = start["name"], start["folder"], start.get("device", "cpu")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").to(
        device
    )
    sizes = {
        "count": start["count"],
        "micro": start["micro"],
        "dtype": start["dtype"],
        "cpu": device == "cpu",
    }
    with tempfile.TemporaryDirectory() as out:
        trainer = TRAINERS[name][0](
            model=model,
            args=settings(name, **sizes, folder=out),
            train_dataset=Dataset.from_list(read_questions(start["rows"])),
            processing_class=tokenizer,
            callbacks=[Asked(channel)],
        )
        channel.send({"ready": True})
        trainer.train()


if __name__ == "__main__":
    main()
