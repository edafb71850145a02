"""A whole run on a model of a few thousand weights, for tests of the loop: real engines, a step in hundredths
of a second."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.advantage import GAE, GRPO, Reinforce, Whiten
from menon.engines.decoding.stop_strings import text_of
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import export
from menon.engines.in_process import InProcessHost
from menon.engines.network import ValueModel, value_head
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.loop import Run, loop
from menon.loss import PolicyGradient, PPOClip, ValueLoss
from menon.loss.aggregation import SequenceMean, TokenMean
from menon.parts import Around
from menon.prompts.order import Shuffled
from menon.record.folder import RunFolder
from menon.record.spans import TextSpans
from menon.rollout.groups import Groups, answer
from menon.rollout.protocols import Grade
from menon.shaping import KLInReward
from menon.source.online import Online
from menon.step import Plan
from menon.sync.by_reference import ByReference
from menon.types import Graded, Request, Rollout, Sampling, StepReport, Verdict
from menon.update.optimiser import Optimiser
from menon.update.terms import Term, Update

Algorithm = Literal["reinforce", "grpo", "ppo"]
VOCAB = 40
SAMPLING = Sampling(max_new_tokens=5)


def even(rollout: Rollout) -> Verdict:
    """A random model's answers earn 0 and 1 about equally."""
    right = float(rollout.tokens[rollout.is_action].sum() % 2 == 0)
    return Verdict(right, right, {"half": right / 2})


def tiny_run(
    algorithm: Algorithm = "grpo",
    *,
    steps: int = 4,
    grade: Grade = even,
    seed: int = 0,
    device: str = "cpu",
    **settings: Any,
) -> Run:
    """Three prompts a step of five, two updates; evaluates every second step. `settings` are fields of the
    Run."""
    model, tokenizer = tiny_model(vocab=VOCAB, seed=seed), tiny_tokenizer(VOCAB)
    questions = [prompt(i, f"{i}+{i + 1}=", str(2 * i + 1), VOCAB) for i in range(5)]
    held_out = [prompt(100 + i, f"{i}*{i}=", str(i * i), VOCAB) for i in range(2)]
    policy = TorchLearner(model, Optimiser(learning_rate=1e-2), device=device)
    models: dict[str, Any] = {"policy": policy}

    sampler = TorchSampler(model, tokenizer, seed=seed)

    def evaluate() -> list[Graded]:
        requests = [Request(question, SAMPLING, purpose="evaluate") for question in held_out]
        return answer(requests, range(len(requests)), sampler, grade)

    advantage: dict[str, Any] = {"credit": Reinforce(), "whiten": Whiten()}
    updates = [Update({"policy": Term(PolicyGradient(), SequenceMean())}, count=2)]
    if algorithm == "grpo":  # with memory: the coefficient of an adaptive KL penalty
        models["reference"] = TorchScorer(tiny_model(vocab=VOCAB, seed=seed), device=device)
        advantage = {"kl": KLInReward(beta=0.1, target=0.05, horizon=20), "credit": GRPO()}
        updates = [Update({"policy": Term(PPOClip(), TokenMean())}, count=2)]
    if algorithm == "ppo":
        trunk = tiny_model(vocab=VOCAB, seed=seed + 1).base_model
        critic = ValueModel(trunk, value_head(trunk.config.hidden_size))
        models["critic"] = TorchLearner(critic, Optimiser(learning_rate=1e-2), device=device)
        advantage = {"credit": GAE()}
        value = Update({"value": Term(ValueLoss(), TokenMean())}, model="critic", count=2)
        updates = [Update({"policy": Term(PPOClip(), TokenMean())}, count=2), value]
    run = Run(
        plan=Plan(advantage, tuple(updates), seed),
        source=Online(Shuffled(questions, seed), sampler, Groups(), grade, Around(3, 2, SAMPLING)),
        host=InProcessHost(models, {"policy": partial(export, model, tokenizer)}),
        channel=ByReference(policy, sampler),
        evaluate=evaluate,
        steps=steps,
        save_every=1,
        evaluate_every=2,
        spans=TextSpans(text_of(tokenizer, skip_special=False)),
    )
    return replace(run, **settings)


def models_of(run: Run) -> dict[str, Any]:
    """The models behind a run's host, by role."""
    assert isinstance(run.host, InProcessHost)
    return run.host.models


def online(run: Run) -> Online:
    """The source of a run whose policy writes."""
    assert isinstance(run.source, Online)
    return run.source


def critic_first(run: Run, steps: int) -> Run:
    """The critic alone learns in the first steps."""
    updates = tuple(
        replace(update, after=steps) if update.model == "policy" else update for update in run.plan.updates
    )
    return replace(run, plan=replace(run.plan, updates=updates))


class Watching:
    """A Watcher that remembers; `on_step` may do what it likes after a step."""

    def __init__(self, on_step: Callable[[StepReport], None] = lambda report: None) -> None:
        self.sentences: list[str] = []
        self.steps: list[int] = []
        self.evaluations: list[int] = []
        self.first_step = 0
        self.report: Mapping[str, Any] | None = None
        self._on_step = on_step

    def started(self, folder: Path, first_step: int, steps: int) -> None:
        self.first_step = first_step

    def evaluated(self, step: int, numbers: Mapping[str, float]) -> None:
        self.evaluations.append(step)

    def stepped(self, report: StepReport) -> None:
        self.steps.append(report.step)
        self._on_step(report)

    def notify(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def finished(self, report: Mapping[str, Any]) -> None:
        self.report = report


def opened(path: Path) -> RunFolder:
    """The run folder at a path, made if it is not there."""
    return RunFolder.open(path) if (path / "run.json").exists() else RunFolder.create(path, {"seed": 0})


def drive(
    path: Path, run: Run | None = None, watch: Watching | None = None, stop_after: int | None = None
) -> Watching:
    """One session. `stop_after`: as many steps of the run are done when it is asked to stop."""
    watch = watch or Watching()
    run = run or tiny_run()
    with opened(path) as folder:
        loop(run, folder, watch, lambda: stop_after is not None and len(folder.metrics()) >= stop_after)
    return watch


def traces(path: Path) -> dict[str, Any]:
    """What must be bit-identical in two folders of one run, by file: metrics without times and memory, others
    as bytes."""
    found: dict[str, Any] = {name: os.readlink(path / "checkpoints" / name) for name in ("latest", "best")}
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = str(file.relative_to(path))
        if name == "metrics.jsonl":
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found[name] = [
                {key: value for key, value in line.items() if not key.startswith(("time/", "memory/"))}
                for line in lines
            ]
        elif name.startswith(("checkpoints/", "transcripts/", "evaluations")) and ".damaged" not in name:
            found[name] = file.read_bytes()
    return found


def weights_of(run: Run) -> dict[str, np.ndarray]:
    policy = models_of(run)["policy"]
    assert isinstance(policy, TorchLearner)
    return {
        name: weight.detach().cpu().to(torch.float64).numpy().copy()
        for name, weight in policy.weights().items()
    }
