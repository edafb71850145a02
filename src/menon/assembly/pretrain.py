"""The built-in base model from nothing: maximum likelihood on a generated corpus, through the same offline
step as all else."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from menon import offline
from menon.base import tokenizer
from menon.base.corpus import PretrainRecipe
from menon.base.recipe import Recipe, batches
from menon.base.search import SearchRecipe
from menon.batch import Batch, pack
from menon.engines import hf_models
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.record import checkpoint, disk
from menon.record.checkpoint import Snapshot
from menon.types import Graded, Prompt, Rollout, Verdict
from menon.update.objective import Term, Update
from menon.update.optimiser import Optimiser

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECIPES: dict[str, type[Recipe]] = {"sums": PretrainRecipe, "search": SearchRecipe}
"""By the name of the corpus."""
TELL_EVERY = 5.0
"""Seconds between lines of progress."""
SAVE_EVERY = 250
"""Updates."""
UNFINISHED = "unfinished"
"""Folder of checkpoints in the model's; gone when the model is done."""


def pretrain(recipe: Recipe, out: Path, tell: Callable[[str], None] = print) -> None:
    """Trains the model of the recipe and writes it to a folder, an ordinary Hugging Face one, with its recipe
    beside it.

    Saved every `SAVE_EVERY` updates; asked again with the same recipe and folder after it was stopped, it
    goes on as if it had not been, bit for bit. UserError: the folder holds anything else.
    """
    model = untrained(recipe)
    learner = TorchLearner(model, optimiser_of(recipe), tokens_per_forward=recipe.tokens_per_update)
    update = Update({"nll": Term(NLL(), TokenMean())})
    letters = tokenizer.build(recipe.shape.context)
    done = begin(recipe, out, learner, tell)
    start = last = time.perf_counter()
    for number, documents in islice(enumerate(batches(recipe), start=1), done, None):
        metrics = offline.offline_step(batch_of(documents), update, {"policy": learner}, recipe.seed, number)
        now = time.perf_counter()
        if now - last > TELL_EVERY or number == recipe.updates:
            last, left = now, (now - start) / (number - done) * (recipe.updates - number)
            nll = float(metrics["nll"])
            tell(
                f"update {number:>{len(str(recipe.updates))}}/{recipe.updates}  nats per token {nll:.4f}  "
                f"{left:5.0f} s left"
            )
        if number % SAVE_EVERY == 0:
            snapshot = Snapshot(number, {"policy": learner.weights()}, learner.state())
            checkpoint.save(
                out / UNFINISHED, snapshot, lambda folder: hf_models.export(model, letters, folder), keep=1
            )
    hf_models.export(model, letters, out)
    shutil.rmtree(out / UNFINISHED)


def begin(recipe: Recipe, out: Path, learner: TorchLearner, tell: Callable[[str], None]) -> int:
    """Makes the folder, or goes on in it; the updates that are done."""
    if not (out / UNFINISHED).is_dir():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} exists already; name a new folder with out=")
        (out / UNFINISHED).mkdir(parents=True)
        disk.write_json(out / "pretrain.json", asdict(recipe))
        return 0
    if disk.read_json(out / "pretrain.json") != json.loads(json.dumps(asdict(recipe))):
        raise UserError(
            f"{out} was begun with other settings; repeat those to go on with it, or name a new folder "
            "with out="
        )
    snapshot = checkpoint.newest(out / UNFINISHED, tell, keep=1)
    if snapshot is None:
        return 0
    learner.load(snapshot.weights["policy"], snapshot.state)
    tell(f"going on after update {snapshot.step}")
    return snapshot.step


def untrained(recipe: Recipe) -> "PreTrainedModel":
    """The random start, drawn from the recipe's seed."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes: dict[str, Any] = dict(recipe.shape.config())
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return Qwen3ForCausalLM(Qwen3Config(**sizes))


def optimiser_of(recipe: Recipe) -> Optimiser:
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
