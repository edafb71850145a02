"""Makes the built-in base model from random weights: maximum likelihood on a generated corpus, by the same
step and loop as every other run."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from menon.base import tokenizer
from menon.base.corpus import PretrainRecipe
from menon.base.recipe import Recipe, batches
from menon.base.search import SearchRecipe
from menon.engines import hf_models
from menon.engines.in_process import InProcessHost
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.loop import Run, loop
from menon.loss import NLL
from menon.loss.aggregation import TokenMean
from menon.record import disk
from menon.record.folder import RunFolder
from menon.record.layout import Layout
from menon.source.rows import Corpus
from menon.step import Plan
from menon.sync.no_sampler import NoSampler
from menon.types import Example, StepReport
from menon.update.optimiser import Optimiser
from menon.update.terms import Term, Update

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECIPES: dict[str, type[Recipe]] = {"sums": PretrainRecipe, "search": SearchRecipe}
"""The recipes by the name of their corpus."""
TELL_EVERY = 5.0
"""Seconds between lines of progress."""
SAVE_EVERY = 250
"""Updates between checkpoints."""
UNFINISHED = "unfinished"
"""The folder of the run within the model's folder; it is removed when the model is done."""


def pretrain(recipe: Recipe, out: Path, tell: Callable[[str], None] = print) -> None:
    """Trains the model of the recipe and writes it to a folder, an ordinary Hugging Face one, with its recipe
    beside it.

    A checkpoint is saved every `SAVE_EVERY` updates. Called again with the same recipe and folder after a
    stop, the run goes on bit for bit as if it had not stopped. UserError: the folder holds anything else.
    """
    model = untrained(recipe)
    learner = TorchLearner(model, optimiser_of(recipe), tokens_per_forward=recipe.tokens_per_update)
    letters = tokenizer.build(recipe.shape.context)
    host = InProcessHost({"policy": learner}, {"policy": partial(hf_models.export, model, letters)})
    settings = json.loads(json.dumps(asdict(recipe)))
    run = Run(
        plan=Plan({}, (Update({"nll": Term(NLL(), TokenMean())}),), recipe.seed),
        source=Corpus(lambda: map(examples_of, batches(recipe)), json.dumps(settings, sort_keys=True)),
        host=host,
        channel=NoSampler(host),
        steps=recipe.updates,
        save_every=SAVE_EVERY,
    )
    with begin(settings, out) as folder:
        report = loop(run, folder, Progress(recipe.updates, tell))
        if report["steps"] < recipe.updates:
            return
    host.export("policy", out)
    shutil.rmtree(out / UNFINISHED)


def begin(settings: Mapping[str, Any], out: Path) -> RunFolder:
    """The folder of the run within the model's folder: a new one, or that of an earlier start with the same
    settings."""
    unfinished, again = out / UNFINISHED, "menon pretrain with the same settings"
    if unfinished.is_symlink():
        raise disk.foreign(unfinished)
    if not unfinished.is_dir():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} exists already; name a new folder with out=")
        unfinished.mkdir(parents=True)
        disk.write_json(out / "pretrain.json", dict(settings))
    elif disk.read_json(out / "pretrain.json") != settings:
        raise UserError(
            f"{out} was begun with other settings; repeat those to go on with it, or name a new "
            "folder with out="
        )
    if Layout(unfinished).about.exists():
        return replace(RunFolder.open(unfinished), resume=again)
    return replace(RunFolder.create(unfinished, {**settings, "device": "cpu"}), resume=again)


class Progress:
    """A `Watcher` that prints every `TELL_EVERY` seconds how far the run is."""

    def __init__(self, updates: int, tell: Callable[[str], None]) -> None:
        self.updates, self.notify = updates, tell
        self.first = self.start = self.last = 0.0

    def started(self, folder: Path, first_step: int, steps: int) -> None:
        self.start = self.last = time.perf_counter()
        self.first = first_step
        if first_step > 1:
            self.notify(f"going on after update {first_step - 1}")

    def evaluated(self, step: int, numbers: Mapping[str, Any]) -> None:
        pass

    def stepped(self, report: StepReport) -> None:
        now, step = time.perf_counter(), report.step
        if now - self.last > TELL_EVERY or step == self.updates:
            self.last, left = now, (now - self.start) / (step - self.first + 1) * (self.updates - step)
            count = f"{step:>{len(str(self.updates))}}/{self.updates}"
            self.notify(f"update {count}  nats per token {report.metrics['nll']:.4f}  {left:5.0f} s left")

    def finished(self, report: Mapping[str, Any]) -> None:
        pass


def untrained(recipe: Recipe) -> "PreTrainedModel":
    """The model with random weights, drawn from the recipe's seed."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes: dict[str, Any] = dict(recipe.shape.config())
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return Qwen3ForCausalLM(Qwen3Config(**sizes))


def optimiser_of(recipe: Recipe) -> Optimiser:
    """The optimiser of a recipe: AdamW with a linear warm-up and a cosine schedule."""
    return Optimiser(
        learning_rate=recipe.peak_learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_updates=recipe.warm_up,
        schedule="cosine",
        total_updates=recipe.updates,
        final_fraction=0.1,
    )


def examples_of(documents: Iterable[tuple[Sequence[int], Sequence[int]]]) -> list[Example]:
    """Prompts and responses as tokens; the model learns the responses, their end included."""
    return [
        Example(
            np.array([*prompt, *response], dtype=np.int32),
            np.arange(len(prompt) + len(response)) >= len(prompt),
            group=number,
        )
        for number, (prompt, response) in enumerate(documents)
    ]
