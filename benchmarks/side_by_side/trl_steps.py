"""A trainer of TRL that makes one step for each request.

Its own loop runs the steps; a callback waits for a request before each and answers after it. Nothing is
logged or saved.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from side_by_side.channel import Channel

TrainerOf = Callable[..., Any]
"""(start, model, tokenizer, settings, callbacks) -> a trainer; `start` is the first line of the driver."""


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


def serve_steps(
    trainer_of: TrainerOf, rows_in_step: Callable[[Mapping[str, Any]], int], **of_tokenizer: Any
) -> None:
    """Builds the trainer from the first line, then makes a step for each request until the driver ends."""
    channel = Channel()
    start = channel.receive()
    if start is None:
        return
    folder, device = start["folder"], start.get("device", "cpu")
    tokenizer = AutoTokenizer.from_pretrained(folder, **of_tokenizer)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    with tempfile.TemporaryDirectory() as out:
        settings = common(rows_in_step(start), start["micro"], start["dtype"], device == "cpu", out)
        trainer = trainer_of(start, model.to(device), tokenizer, settings, [Asked(channel)])
        channel.send({"ready": True})
        trainer.train()


def common(count: int, micro: int, dtype: str, cpu: bool, folder: str) -> dict[str, Any]:
    """One update per step of `count` rows, in micro-batches of `micro`."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": count // micro,
        "learning_rate": 1e-6,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": dtype == "bfloat16",
        "gradient_checkpointing": False,
        "max_steps": 10**6,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": cpu,
        "dataloader_pin_memory": False,
    }
