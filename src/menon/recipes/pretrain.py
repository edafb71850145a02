"""The built-in base model from nothing: maximum likelihood on a generated corpus, through the same offline step as all else."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from menon import offline
from menon.base import corpus, tokenizer
from menon.base.corpus import PretrainRecipe
from menon.batch import Batch, pack
from menon.engines import hf_models
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.loss import NLL
from menon.loss.share import TokenMean
from menon.record import disk
from menon.types import Graded, Prompt, Rollout, Verdict
from menon.update.objective import Term, Update
from menon.update.optimiser import Optimiser

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TELL_EVERY = 5.0
"""Seconds between lines of progress."""


def pretrain(recipe: PretrainRecipe, out: Path, tell: Callable[[str], None] = print) -> None:
    """Trains the model of the recipe and writes it to a new folder, an ordinary Hugging Face one, with its recipe beside it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already; name a new folder with out=")
    model = untrained(recipe)
    learner = TorchLearner(model, optimiser_of(recipe), tokens_per_forward=recipe.tokens_per_update)
    update = Update({"nll": Term(NLL(), TokenMean())})
    start = told = time.perf_counter()
    for number, documents in enumerate(corpus.batches(recipe), start=1):
        metrics = offline.offline_step(batch_of(documents), update, {"policy": learner}, recipe.seed, number)
        now = time.perf_counter()
        if now - told > TELL_EVERY or number == recipe.updates:
            told, left = now, (now - start) / number * (recipe.updates - number)
            nll = float(metrics["nll"])
            tell(f"update {number:>{len(str(recipe.updates))}}/{recipe.updates}  nats per token {nll:.4f}  {left:5.0f} s left")
    hf_models.export(model, tokenizer.build(recipe.shape.context), out)
    disk.write_json(out / "pretrain.json", asdict(recipe))


def untrained(recipe: PretrainRecipe) -> "PreTrainedModel":
    """The random start, drawn from the recipe's seed."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes: dict[str, Any] = dict(recipe.shape.config())
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return Qwen3ForCausalLM(Qwen3Config(**sizes))


def optimiser_of(recipe: PretrainRecipe) -> Optimiser:
    return Optimiser(
        learning_rate=recipe.peak_learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_updates=recipe.warm_up,
        schedule="cosine",
        total_updates=recipe.updates,
        final_fraction=0.1,
    )


def batch_of(documents: Iterable[tuple[Sequence[int], Sequence[int]]]) -> Batch:
    """Prompts and responses as tokens; the model learns the responses, their end included."""
    return pack([graded_of(number, prompt, response) for number, (prompt, response) in enumerate(documents)])


def graded_of(number: int, prompt: Sequence[int], response: Sequence[int]) -> Graded:
    """A document as if the policy had written its response."""
    tokens = np.array([*prompt, *response], dtype=np.int32)
    nothing = np.zeros(len(tokens), dtype=np.float32)
    rollout = Rollout(
        prompt=Prompt(number, tokens[: len(prompt)], ""),
        tokens=tokens,
        is_action=np.arange(len(tokens)) >= len(prompt),
        logp=nothing,
        log_kept=nothing,
        entropy=nothing,
        version=np.zeros(len(tokens), dtype=np.int32),
        finish="stop",
        text="",
        group=number,
    )
    return Graded(rollout, Verdict(0.0, float("nan")))
