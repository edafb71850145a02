"""From the settings of an evaluation to its numbers: the model, the questions and the reward are put together
here."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.assembly.answer_equivalence import equivalence_of, equivalence_of_task
from menon.assembly.answer_length import default_length, least_room, length_for
from menon.assembly.as_run import source_of_run
from menon.assembly.build import answer_with, truth_of
from menon.assembly.models import WEIGHTS_DTYPE, device_of, model_name
from menon.assembly.questions import (
    check_tags,
    heldout_questions,
    own_questions,
    proved,
    questions_of,
    rendered,
    room_of,
    task_of,
)
from menon.assembly.reward_models import with_models
from menon.config import OnlineSource
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.hf_models import load_policy
from menon.engines.limits import rows_of
from menon.engines.machine import workers
from menon.errors import UserError
from menon.eval.config import EvalConfig
from menon.eval.ifeval import Instructions, instruction_level, with_splitter
from menon.eval.measure import WithinTolerance
from menon.eval.run import AnswerEquivalence, Evaluation, Item, items_of, numbers_of
from menon.eval.sets import NamedSet, find_set, rows_of_set
from menon.loop import check_graders
from menon.parts import Around, built, close
from menon.prompts.reader import Row, read_rows
from menon.prompts.tasks import ChainSum
from menon.prompts.template import NONE, find_template
from menon.record.folder import surroundings
from menon.record.layout import Layout
from menon.record.reader import RunView
from menon.reward.call import UserReward
from menon.reward.choice import MultipleChoice
from menon.reward.code.tests import CodeTests
from menon.reward.exact import ExactMatch
from menon.reward.extract import LENIENT, Way, names
from menon.reward.grade import Grading, grading_of
from menon.reward.math.answer import MathAnswer
from menon.reward.parts import RewardPart
from menon.reward.protocols import Reward
from menon.reward.prove import prove
from menon.reward.rules import KINDS
from menon.rollout.protocols import Grade
from menon.rollout.turns import environment_alone
from menon.streams import stream
from menon.sync.fingerprint import fingerprint
from menon.types import Prompt, Sampling
from menon.user_code import unknown_reward

TASK_QUESTIONS = 200
"""How many held-out questions of a built-in task are asked by default."""


@dataclass(frozen=True)
class Result:
    """The result of an evaluation: settings, numbers, and the verdicts of all samples."""

    config: EvalConfig
    """The settings, with all defaults filled in."""
    about: dict[str, Any]
    """The model's folder and the fingerprint of its weights, seconds, versions, machine."""
    numbers: dict[str, Any]
    items: list[Item]


def evaluate(
    config: EvalConfig,
    notify: Callable[[str], None] = lambda sentence: None,
    on_ready: Callable[[EvalConfig], None] = lambda config: None,
) -> Result:
    """Loads the model, asks the questions, grades the answers and computes the numbers. `notify` gets
    sentences about the data that the user should read; `on_ready` gets the settings with all defaults filled
    in, before the first question."""
    named = find_set(config.set) if config.set is not None else None
    folder = folder_of(config.model)
    source = source_of(config)
    with reward_for(config, named) as (reward, equivalence):
        config, rows = settled(config, named, notify)
        model, tokenizer = load_policy(folder, WEIGHTS_DTYPE[config.dtype], device_of(config.device))
        if config.dtype == "bfloat16":
            model = own_copy(model, torch.bfloat16)
        truth = truth_of(source) if config.set is None and config.reward is not None else None
        grade = environment_alone if reward is None else grading_of(reward, truth=truth)
        check_tags(tokenizer, config.keep_special_tokens, notify)
        prompts = prompts_to_evaluate(rows, config, model, tokenizer, notify)
        if asks_own(config) and isinstance(grade, Grading):
            prompts = proved(prompts, grade, config.on_bad, notify)
        length = length_for(config.max_new_tokens, rows_of(model), prompts)
        config = replace(config, n=len(prompts), max_new_tokens=length)
        tell_of_golds(prompts, grade, notify)
        processes = workers(model.num_parameters(), model.device)
        with closing(
            TorchSampler(
                model,
                tokenizer,
                seed=config.seed,
                slots=config.slots,
                processes=processes,
                keep_special_tokens=config.keep_special_tokens,
            )
        ) as sampler:
            write = answer_with(source, config.seed, tokenizer, sampler.detokenizer.text, notify)
            evaluation = Evaluation(tuple(prompts), grade, sampling_of(config), config.per_question, write)
            on_ready(config)
            start = time.perf_counter()
            graded = evaluation(sampler)
            seconds = time.perf_counter() - start
        check_graders(graded, "the evaluation", "evaluate again")
        items = items_of(graded, config.per_question, equivalence)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    about = {
        "model_folder": folder,
        "weights": fingerprint(weights),
        "seconds": round(seconds, 3),
        **surroundings(),
    }
    numbers = numbers_of(items, config.k, config.seed)
    if isinstance(reward, Instructions):
        numbers["parts"] |= instruction_level(numbers["parts"])
    return Result(config, about, numbers, items)


def sampling_of(config: EvalConfig) -> Sampling:
    """How the answers of an evaluation are drawn, once their length is known."""
    assert config.max_new_tokens is not None
    return Sampling(
        config.max_new_tokens,
        config.temperature,
        config.top_p,
        stop=config.stop,
        forking_temperature=config.forking_temperature,
        entropy_threshold=config.entropy_threshold,
    )


def folder_of(model: str) -> str:
    """The folder or name that `load_policy` takes; for a run folder this is its newest checkpoint."""
    folder = Path(model).expanduser()
    if Layout(folder).about.is_file() and not (folder / "config.json").exists():
        latest = RunView.open(folder).layout.latest
        if not latest.exists():
            raise UserError(
                f"the run {model} has no checkpoint yet; go on with it by `menon train --resume {model}`"
            )
        return str(latest.resolve())
    return model_name(model)


# Questions


def source_of(config: EvalConfig) -> OnlineSource:
    """The questions and the environment as those of a run: the run whose own questions are asked, or one with
    the settings of the evaluation."""
    source = OnlineSource(data=config.data, task=config.task)
    if asks_own(config) and config.run is not None:
        source = source_of_run(config.run)
        if config.environment is None and own_questions(source) is not None:
            raise UserError(
                f"the questions of {config.run} are those of its environment; leave environment=null out, or "
                "name other questions, like task=chain_sum"
            )
    return replace(
        source,
        environment=config.environment,
        max_turns=config.max_turns,
        graded_text=config.graded_text,
        template_arguments=config.template_arguments,
    )


def asks_own(config: EvalConfig) -> bool:
    """Whether neither task, data nor set is named: the questions are those of a run, of an environment or of
    the default task."""
    return config.task is None and config.data is None and config.set is None


def settled(
    config: EvalConfig, named: NamedSet | None, notify: Callable[[str], None]
) -> tuple[EvalConfig, list[Row]]:
    """The settings, with defaults filled in from the task or set, and the questions. The length of answers
    stays open where the model's context decides it."""
    if named is not None:
        rows, skipped = rows_of_set(named, str(config.set), Path(str(config.path)), config.on_bad)
        config = replace(
            config,
            template=config.template or named.template,
            max_new_tokens=config.max_new_tokens or named.max_new_tokens,
            stop=config.stop or named.stop,
        )
    elif config.data is not None:
        rows, skipped = read_rows(config.data, config.on_bad, columns=config.columns)
    elif asks_own(config) and (config.run is not None or own_questions(source_of(config)) is not None):
        rows, skipped = heldout_questions(source_of(config), notify), 0
    else:
        config = replace(config, task=config.task or ChainSum())
        rows, skipped = task_rows(config), 0
    if skipped:
        notify(f"{skipped} rows of {config.path or config.data} cannot be used and are left out")
    few_shot = config.few_shot.chosen(None, config.seed)
    rows = few_shot.without(rows)
    filled = replace(
        config,
        few_shot=few_shot,
        template=config.template or "none",
        max_new_tokens=config.max_new_tokens or default_length(config.model),
        n=config.n or len(rows),
        samples=config.per_question,
        stop=config.stop or find_template(config.template or "none").stop,
    )
    return filled, some_of(rows, filled)


def task_rows(config: EvalConfig) -> list[Row]:
    """Held-out questions, the same as those of a training run's evaluation."""
    task = config.task or ChainSum()
    room = room_of(task, "task", "heldout")
    if config.n is not None and config.n > room:
        raise UserError(f"n is {config.n}, and {config.source} has {room} held-out questions; lower n")
    return questions_of(task, "task", "heldout", config.n or TASK_QUESTIONS, 0)


def some_of(rows: list[Row], config: EvalConfig) -> list[Row]:
    """n rows drawn at random, in their order: the same for every model, template and seed."""
    n = config.n or len(rows)
    if n > len(rows):
        raise UserError(
            f"n is {n}, and {config.source} has {len(rows)} questions; lower n, or leave it out to take all"
        )
    chosen = sorted(stream(0, "questions", len(rows)).permutation(len(rows))[:n].tolist())
    return [rows[place] for place in chosen]


def prompts_to_evaluate(
    rows: Sequence[Row],
    config: EvalConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    notify: Callable[[str], None],
) -> list[Prompt]:
    """The rows as prompts that fit into the model's context."""
    return rendered(
        rows,
        config.template or "none",
        rows_of(model),
        tokenizer,
        least_room(config.max_new_tokens),
        config.on_bad,
        notify,
        config.template_arguments,
        config.few_shot,
    )


# Rewards


@contextmanager
def reward_for(
    config: EvalConfig, named: NamedSet | None
) -> Iterator[tuple[Reward | None, AnswerEquivalence | None]]:
    """The reward, and how its answers are compared where that is known; no reward where the environment asks
    its own questions. The reward is closed at the end of the `with`."""
    reward, equivalence = make_reward(config, named)
    try:
        yield reward, equivalence
    finally:
        close(reward)


def make_reward(config: EvalConfig, named: NamedSet | None) -> tuple[Reward | None, AnswerEquivalence | None]:
    """Makes the reward of an evaluation, and how its answers are compared for votes (None: they cannot
    be)."""
    template = config.template or (named.template if named is not None else NONE)
    around = with_models(Around(), partial(device_of, config.device), template=template)
    if isinstance(config.reward, RewardPart):
        part: Reward = built(config.reward, around)
        return part, equivalence_of(part)
    if config.reward is not None and (not isinstance(config.reward, str) or ":" in config.reward):
        return UserReward(config.reward), None
    name = config.reward or (named.check if named is not None else None)
    if name is not None:
        rewards = KINDS | CHECKS
        if name not in rewards:
            raise unknown_reward(name, rewards)
        reward: Reward = built(rewards[name](), around)
        return reward, equivalence_of(reward)
    source = source_of(config)
    if own_questions(source) is not None:
        return None, None
    if source.data is None:
        task = task_of(source)
        return task.grade, equivalence_of_task(task)
    return ExactMatch(), equivalence_of(ExactMatch())


@dataclass(frozen=True)
class LenientChoice(MultipleChoice):
    """Multiple choice that reads leniently which letter an answer states."""

    ways: ClassVar[tuple[Way, ...]] = LENIENT


CHECKS: dict[str, Callable[[], Reward]] = {
    "math": lambda: MathAnswer(names(LENIENT), worked=False),
    "choice": LenientChoice,
    "numeric": lambda: WithinTolerance(ways=LENIENT),
    "code": CodeTests,
    "instructions": with_splitter,
}
"""Rewards by name, for the named sets. They read leniently what an answer states: no policy trains on these
scores, so none can learn to exploit them."""


def tell_of_golds(prompts: Sequence[Prompt], grade: Grade, notify: Callable[[str], None]) -> None:
    """Notifies when gold answers of a set earn no reward by its verifier, so that no model can be right
    there. The questions stay in the set."""
    if not isinstance(grade, Grading) or (spell := getattr(grade.reward, "spell", None)) is None:
        return
    wrong = [p for p in prompts if p.answer is not None and prove(p, grade, spell).acc != 1]
    if wrong:
        notify(
            f"the gold answers of {len(wrong)} of {len(prompts)} questions earn no reward by this verifier, "
            f"first that of row {wrong[0].index + 1} ({wrong[0].answer!r}); no model can be right there"
        )
