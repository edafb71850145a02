"""From the settings of `menon posterior` to draws and a file of them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.answer_length import length_for
from menon.assembly.as_run import as_run
from menon.assembly.build import shows_of, truth_of
from menon.assembly.evaluation import (
    asks_own,
    folder_of,
    prompts_to_evaluate,
    reward_for,
    sampling_of,
    settled,
    source_of,
)
from menon.assembly.models import WEIGHTS_DTYPE, device_of
from menon.assembly.posterior_numbers import Numbers, numbers_of
from menon.assembly.questions import check_tags, proved
from menon.batch import pack
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import load_policy
from menon.engines.limits import rows_of
from menon.engines.machine import workers
from menon.engines.torch_scorer import TorchScorer
from menon.errors import OnBad, UserError, at_least
from menon.eval.config import EvalConfig, Reward, Task
from menon.prompts.reader import Columns
from menon.reward.grade import grading_of
from menon.rollout.posterior import PosteriorPart, SuffixMH
from menon.rollout.posterior.drawn import Drawn
from menon.rollout.posterior.target import Target, Truncated
from menon.rollout.protocols import Grade
from menon.settings import FreeSettings, choice, read
from menon.types import Floats, Graded, Prompt, Rollout, Verdict

Method = Annotated[PosteriorPart, choice(PosteriorPart)]
OF_TURNS = ("environment", "max_turns", "graded_text")
"""Settings of a run that a draw, a single turn, cannot have."""


@dataclass(frozen=True)
class PosteriorConfig:
    """The settings of `menon posterior`."""

    model: str = "base"
    """"base" or "search_base" (built in), a model folder, a run folder (its newest checkpoint), or a name on
    the hub."""
    method: Method = field(default_factory=SuffixMH)
    """How draws are made; `menon help suffix_mh` and so on say what each does."""
    beta: float = 0.1
    """Weight of the model against the reward: an answer is exp(r / beta) times likelier than the model has
    it."""
    draws: int = 4
    """Draws for each question."""
    truncated: Truncated = "reject"
    """Answers cut at the limit have probability 0 (reject), or count with their reward (score)."""
    task: Task | None = None
    """A built-in task, or your own dataclass, file.py:Class; its held-out questions are asked."""
    data: str | None = None
    """Questions and answers: a JSONL, JSON, CSV or Parquet file, a folder of the library datasets, or
    hub:NAME."""
    columns: Columns = field(default_factory=Columns)
    """Which columns of `data` hold question and answer, where their names do not say so."""
    run: str | None = None
    """A run folder whose template, reward and held-out questions are taken where no others are given. The
    default is the run that the model comes from."""
    reward: Reward = None
    """As for `menon eval`. Default: that of the run or task, and exact for data."""
    template: str | None = None
    """A template by name, or text with {q} for the question. Default: that of the run, else none."""
    template_arguments: FreeSettings = field(default_factory=dict)
    """What the model's chat template gets besides the messages."""
    n: int | None = None
    """How many questions; default: 200 of a task, all of a file."""
    temperature: float = 1.0
    """Temperature of the model, which belongs to the distribution that the draws come from."""
    top_p: float = 1.0
    """Answers come from the likeliest tokens that hold this much of the probability, as part of that
    distribution."""
    max_new_tokens: int | None = None
    """Most tokens of an answer. Default: that of the run, else 96 for a built-in model, else what the model's
    context leaves, at most 1,024."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer, besides the end-of-text token; without any, those of the template."""
    keep_special_tokens: bool = False
    """Special tokens stay in the text that rewards read."""
    seed: int = 0
    """Seed of the draws."""
    on_bad: OnBad = "stop"
    """Rows that cannot be used: do not start, or leave them out and count them."""
    slots: int = 256
    """Answers that are written at the same time. Affects memory and speed only."""
    threads: int | None = None
    """Without a number as many as are free."""
    dtype: Literal["float32", "float64"] = "float32"
    """Dtype of the weights."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""
    out: str = ""
    """The file of draws, JSON lines; default: posterior/MODEL-SOURCE-METHOD-TIME.jsonl."""

    def __post_init__(self) -> None:
        at_least(1, "draws", self.draws)
        EvalConfig.__post_init__(self.asked)

    @property
    def asked(self) -> EvalConfig:
        """The evaluation with the same questions, reward and sampling."""
        names = {each.name for each in fields(EvalConfig)} & {each.name for each in fields(self)}
        return EvalConfig(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Drawing:
    """The draws to each question, and numbers over all of them."""

    config: PosteriorConfig
    drawn: Sequence[Drawn]
    numbers: Numbers


def read_posterior(settings: Mapping[str, Any]) -> PosteriorConfig:
    """The settings, with those of the run that the model comes from. UserError: an environment."""
    tree = as_run(dict(settings))
    if (environment := tree.pop("environment", None)) is not None:
        kind = environment.get("kind") if isinstance(environment, Mapping) else environment
        raise UserError(
            f"draws are single turns, and the environment {kind} has a state that cannot be restored; set "
            "environment=null to leave it out"
        )
    given_by_run = {name for name in OF_TURNS if name not in settings}
    return read(PosteriorConfig, {name: value for name, value in tree.items() if name not in given_by_run})


def draw(config: PosteriorConfig, notify: Callable[[str], None] = lambda sentence: None) -> Drawing:
    """Loads the model, asks the questions and draws; `notify` gets sentences that the user should read.
    UserError: no question has a draw."""
    asked, source = config.asked, source_of(config.asked)
    with reward_for(asked, None) as (reward, _):
        if reward is None:
            raise UserError("these questions are an environment's own; name others, like task=chain_sum")
        asked, rows = settled(asked, None, notify)
        model, tokenizer = load_policy(
            folder_of(config.model), WEIGHTS_DTYPE[config.dtype], device_of(config.device)
        )
        check_tags(tokenizer, config.keep_special_tokens, notify)
        grade = grading_of(reward, shows_of(source), None if config.reward is None else truth_of(source))
        prompts = prompts_to_evaluate(rows, asked, model, tokenizer, notify)
        if asks_own(asked):
            prompts = proved(prompts, grade, config.on_bad, notify)
        length = length_for(asked.max_new_tokens, rows_of(model), prompts)
        asked = replace(asked, max_new_tokens=length)
        drawn = drawn_by(replace(config, stop=asked.stop), asked, model, tokenizer, grade, prompts)
    if not any(one.draws for one in drawn):
        raise UserError(f"no question has a draw; of the first one, {drawn[0].note}")
    short = [one for one in drawn if one.note]
    if short:
        place = short[0].prompt.index + 1
        notify(f"{len(short)} of {len(drawn)} questions have fewer draws; of row {place}, {short[0].note}")
    return Drawing(config, drawn, numbers_of(drawn))


def drawn_by(
    config: PosteriorConfig,
    asked: EvalConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    grade: Grade,
    prompts: Sequence[Prompt],
) -> list[Drawn]:
    """The method at work on a loaded model."""
    scorer = TorchScorer(model, device=model.device)

    def untempered(rollouts: Sequence[Rollout]) -> list[Floats]:
        answers = [
            replace(one, is_action=np.arange(len(one.tokens)) >= len(one.prompt.tokens)) for one in rollouts
        ]
        batch = pack([Graded(one, Verdict(0.0, float("nan"))) for one in answers])
        logp = scorer.score(batch, ("logp",))["logp"].float().cpu().numpy()
        return np.split(logp, batch.offset[1:-1].numpy())

    with closing(
        TorchSampler(
            model,
            tokenizer,
            seed=config.seed,
            slots=config.slots,
            processes=workers(model.num_parameters(), model.device),
            keep_special_tokens=config.keep_special_tokens,
        )
    ) as sampler:
        target = Target(
            *(sampler, grade, sampling_of(asked), config.beta, config.truncated, config.seed, untempered)
        )
        drawn = config.method(prompts, target, config.draws)
        if any(one.prior for one in drawn):
            return drawn
        with target.open() as writer:  # to compare with, where the method writes no answer of the model alone
            groups = writer.groups(prompts, config.draws)
        return [replace(one, prior=tuple(group)) for one, group in zip(drawn, groups, strict=True)]
