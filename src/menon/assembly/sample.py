"""A few answers of a model to one question, token by token: the implementation of `menon sample`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from menon.assembly.answer_length import default_length, length_for
from menon.assembly.as_run import run_of, source_tree
from menon.assembly.evaluation import (
    folder_of,
    prompts_to_evaluate,
    reward_for,
    sampling_of,
    task_rows,
)
from menon.assembly.models import WEIGHTS_DTYPE, device_of
from menon.engines.decoding.stop_strings import text_of
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.hf_models import load_policy
from menon.engines.limits import rows_of
from menon.errors import UserError, at_least
from menon.eval.config import EvalConfig, Task
from menon.prompts.reader import Row
from menon.prompts.tasks import ChainSum
from menon.record.spans import TextSpans, pieces_of
from menon.reward.grade import grading_of
from menon.rollout.groups import answer
from menon.settings import FreeSettings
from menon.types import Graded, Request, Rollout, Verdict


@dataclass(frozen=True)
class SampleConfig:
    """The settings of `menon sample`."""

    model: str = "base"
    """"base" or "search_base" (built in), a model folder, a run folder (its newest checkpoint), or a name on
    the hub."""
    task: Task | None = None
    """The task whose held-out question number `question` is asked and whose verdict is shown; chain_sum where
    no text is given."""
    question: int = 1
    """Number of the held-out question, counted from 1."""
    n: int = 4
    """How many answers are drawn."""
    template: str = "none"
    """A template by name, or text with {q} for the question."""
    template_arguments: FreeSettings = field(default_factory=dict)
    """What the model's chat template gets besides the question, like enable_thinking or documents."""
    temperature: float = 1.0
    """0: the likeliest token always."""
    top_p: float = 1.0
    """Answers are drawn from the likeliest tokens that hold this much of the probability."""
    max_new_tokens: int | None = None
    """Longest answer, in tokens. Default: that of the run that the model comes from, or 96 for a built-in
    model, else what the model's context leaves beside the prompt, at most 1,024."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer besides the end-of-text token."""
    seed: int = 0
    """Seed of the answers."""
    threads: int | None = None
    """Without a number as many as are free."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Dtype of the weights."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        for name in ("question", "n", "max_new_tokens"):
            if (value := getattr(self, name)) is not None:
                at_least(1, name, value)
        at_least(0, "seed", self.seed)


@dataclass(frozen=True)
class Sampled:
    """One answer, with the text of each of its tokens."""

    graded: Graded
    pieces: Sequence[str]
    """The text of each token."""


def sample(config: SampleConfig, text: str | None) -> list[Sampled]:
    """`n` answers to a text, or to a held-out question of a task if there is no text. acc is NaN where the
    right answer is not known."""
    asked = EvalConfig(
        model=config.model,
        task=config.task,
        template=config.template,
        template_arguments=config.template_arguments,
        temperature=config.temperature,
        top_p=config.top_p,
        max_new_tokens=config.max_new_tokens or length_of(config.model),
        stop=config.stop,
        seed=config.seed,
    )
    rows = [{"question": text}] if text is not None else [held_out(asked, config.question)]
    model, tokenizer = load_policy(
        folder_of(config.model), WEIGHTS_DTYPE[config.dtype], device_of(config.device)
    )
    if config.dtype == "bfloat16":
        model = own_copy(model, torch.bfloat16)
    prompts = prompts_to_evaluate(rows, asked, model, tokenizer, lambda sentence: None)
    asked = replace(asked, max_new_tokens=length_for(asked.max_new_tokens, rows_of(model), prompts))
    requests = [
        Request(prompts[0], sampling_of(asked), number, purpose="sample") for number in range(config.n)
    ]
    sampler = TorchSampler(model, tokenizer, seed=config.seed)
    with reward_for(asked, None) as (reward, _):
        grade = unjudged if text is not None or reward is None else grading_of(reward)
        graded = answer(requests, [0] * config.n, sampler, grade)
    spans = TextSpans(text_of(tokenizer, skip_special=False))
    begin = len(prompts[0].tokens)
    found = [spans(g.rollout.tokens) for g in graded]
    texts = [pieces_of(text, start.tolist())[begin:] for text, start in found]
    return [Sampled(g, pieces) for g, pieces in zip(graded, texts, strict=True)]


def length_of(model: str) -> int | None:
    """The longest answer of the run that a model comes from, or of a built-in model; None: what the model's
    context leaves."""
    run = run_of(model)
    return default_length(model) if run is None else source_tree(run).get("max_new_tokens")


def held_out(asked: EvalConfig, number: int) -> Row:
    """Held-out question `number` of the task, counted from 1."""
    room = (asked.task or ChainSum()).room("heldout")
    if number > room:
        raise UserError(
            f"question is {number}, and {asked.source} has {room} held-out questions; take a lower number"
        )
    return task_rows(replace(asked, n=number))[-1]


def unjudged(rollout: Rollout) -> Verdict:
    """The verdict of an answer to a free text: its correctness is unknown."""
    return Verdict(0.0, float("nan"))
