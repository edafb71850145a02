"""From a configuration to the parts of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from transformers import PreTrainedTokenizerBase

from menon.assembly.answer_equivalence import equivalence_of, equivalence_of_task
from menon.assembly.answer_length import length_for, length_in_words
from menon.assembly.answers import give_answers
from menon.assembly.before import check_before
from menon.assembly.header import header
from menon.assembly.hints import hints_of
from menon.assembly.models import device_of
from menon.assembly.notices import advice_for, notices
from menon.assembly.origin import origin_of_run
from menon.assembly.own_parts import own_arrange, own_credit, own_reference, own_rollout, own_term
from menon.assembly.placement import Placed, place
from menon.assembly.questions import (
    check_tags,
    own_questions,
    prompts_to_train,
    questions,
    stop_of,
    task_asked,
    task_of,
    with_examples,
)
from menon.assembly.reward_models import with_models
from menon.assembly.rollout_memory import check_memory
from menon.assembly.teachers import taught
from menon.assembly.tokenizer_voice import TokenizerVoice
from menon.columns import Setup, estimator
from menon.config import Control, Models, Objective, OnlineSource, RewardPart, RunConfig, around_of, setup_of
from menon.engines.decoding.stop_strings import text_of
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.tokens import continue_with, marker_for
from menon.eval.probe import Probe
from menon.eval.run import Evaluation
from menon.loop import Agreement, Run
from menon.parts import Around, built, close, needs_truth
from menon.prompts.order import ByDifficulty, Shuffled, Unsolved
from menon.prompts.render import NoRoom
from menon.record.signs import own_data_of_base
from menon.record.spans import TextSpans
from menon.reward.call import UserReward
from menon.reward.exact import ExactMatch
from menon.reward.grade import Grading, Shows, grading_of
from menon.reward.protocols import Reward
from menon.rollout.environments import Agent, Verifiers
from menon.rollout.groups import answer
from menon.rollout.protocols import Answer, Begins, Grade, Sampler
from menon.rollout.turns import Turns, environment_alone
from menon.settings import plain_data
from menon.source.asynchronous import Asynchronous
from menon.source.online import Online
from menon.source.protocols import Gathered, Source
from menon.source.queued import Queued
from menon.source.told import Told
from menon.step import Plan
from menon.types import Prompt, Sampling, Tokens
from menon.update.teacher_settings import fields_of_step
from menon.update.terms import AnyTerm, Update
from menon.user_code import unknown_reward

AGREEMENT = {
    "float32": Agreement(1e-4, stops=True),
    "float64": Agreement(1e-4, stops=True),
    "bfloat16": Agreement(0.1, stops=False),
}
"""By the run's dtype, in nats a token. A model of 387 M random weights differs by 3e-6 in float32 and .05 in
bfloat16, the built-in base by 2e-7 and .0015."""
ORDERS = {"shuffled": Shuffled, "by_difficulty": ByDifficulty, "unsolved": Unsolved}


@contextmanager
def build(config: RunConfig, notify: Callable[[str], None] = lambda sentence: None) -> Iterator[Run]:
    """Builds all parts of a run, in this process and on one device; `notify` gets sentences that the user
    should read. Leaving the `with` ends the processes that were started for the run."""
    check_before(config, notify)
    around = around_here(config.source, config.control.seed, config.engine.device, notify)
    reward_models: dict[str, str] = {}
    around = with_models(around, partial(device_of, around.device), reward_models, config.source.template)
    with ExitStack() as undo:
        grade = grade_of(config.source, reward_of(config.source, around))
        undo.callback(close_grade, grade)
        rows, heldout_rows = questions(config.source, config.control.seed, notify)
        asked, rows, heldout_rows = with_examples(config.source, rows, heldout_rows, notify)
        config = replace(config, source=asked)
        placed = undo.enter_context(place(config, notify))
        about = config.source, config.models, config.objective
        for notice in notices(*about, config.control.steps, rows, placed):
            notify(notice)
        with naming_the_base(config.source.data, config.models.policy.model):
            prompts, heldout = (
                prompts_to_train(part, config.source, placed.context, placed.tokenizer, grade, notify)
                for part in (rows, heldout_rows)
            )
        length = length_for(config.source.max_new_tokens, placed.context, [*prompts, *heldout])
        answers = length_in_words(config.source.max_new_tokens, length, placed.context)
        config = replace(config, source=replace(config.source, max_new_tokens=length))
        around = replace(around, sampling=replace(around.sampling, max_new_tokens=length))
        prompts = taught(prompts, config.models, task_asked(config.source), notify)
        hints = hints_of(config.models.teacher_questions, prompts, config.source, placed, notify)
        give_answers(config.advantage, prompts, placed)
        check_tags(placed.tokenizer, config.source.keep_special_tokens, notify)
        around = with_tokenizer(around, config.source, placed)
        evaluation = evaluation_of(config.source, heldout, grade, around.sampling, placed)
        online = online_of(config.source, prompts, placed, grade, around)
        policy, machine = config.models.policy, f"{placed.device}, {config.engine.dtype}"
        source = written_beside(online, config.source, config.control.steps, hints)
        undo.callback(source.close)
        yield Run(
            plan=plan_of(setup_of(config), around, config.models, config.control),
            source=source,
            host=placed.host,
            channel=placed.channel,
            steps=config.control.steps,
            evaluate=partial(evaluation, placed.sampler),
            probe=partial(probe_of(config.source, evaluation), placed.sampler),
            save_every=config.control.save_every,
            evaluate_every=config.control.evaluate_every,
            stop_without_signal=config.control.stop_without_signal,
            needs_truth=tuple(parts_that_need_truth(setup_of(config), config.source.order, config.models)),
            spans=TextSpans(text_of(placed.tokenizer, skip_special=False)),
            origin=origin_of_run(
                placed.origin, prompts, heldout, reward_models, getattr(grade, "reward", None)
            ),
            agreement=AGREEMENT[config.engine.dtype],
            advice=advice_for(config.source, placed),
            header={
                "recipe": config.recipe,
                **header(policy, config.source, placed.parameters, machine, answers, grade),
            },
            settings=plain_data(config),
        )


def around_here(source: OnlineSource, seed: int, device: str, notify: Callable[[str], None]) -> Around:
    """What the parts of a run may use of it, before its models are placed."""
    around = around_of(source, seed)
    sampling = replace(around.sampling, stop=stop_of(source))
    return replace(around, sampling=sampling, notify=notify, device=device)


@contextmanager
def naming_the_base(data: str | None, model: str) -> Iterator[None]:
    """Where prompts do not fit into the context of a built-in model that is asked the user's questions, the
    error says so first."""
    try:
        yield
    except NoRoom as error:
        said = own_data_of_base({"data": data, "model": model})
        if not said:
            raise
        raise NoRoom(f"{said}. Its context is too short as well: {error}") from error


def online_of(
    source: OnlineSource, prompts: Sequence[Prompt], placed: Placed, grade: Grade, around: Around
) -> Online:
    """What the policy writes to these questions; `around` has the tokenizer."""
    if isinstance(placed.sampler, TorchSampler):
        check_memory(source.rollout, around, prompts, placed.sampler)
    return Online(
        ORDERS[source.order](prompts, around.seed),
        placed.sampler,
        own_rollout(built(source.rollout, around)),
        grade,
        around,
    )


def written_beside(
    online: Online, source: OnlineSource, steps: int, hints: Callable[[Gathered], Gathered] | None
) -> Source:
    """The source, written while earlier steps are learned from, where the run asks for it. A rollout that
    cannot pause in the middle of its text, and an environment, which cannot either, are written step by
    step. Hints for teachers hear of each step when it is learned from."""
    found: Source = online
    if source.staleness and isinstance(online.rollout, Begins) and source.environment is None:
        found = Asynchronous(online, source.staleness, steps)
    elif source.staleness:
        found = Queued(online, source.staleness)
    return found if hints is None else Told(found, hints)


def plan_of(setup: Setup, around: Around, models: Models, control: Control) -> Plan:
    """What the run does in every step."""
    advantage = {name: built(part, around) for name, part in setup.advantage.items()}
    return Plan(
        own_credit(advantage, estimator(setup)),
        updates_of(dict(setup.objective), models, around),
        control.seed,
        own_arrange({name: built(part, around) for name, part in setup.arrange.items()}),
        teacher_rate=models.teacher_rate,
        reference=own_reference(models.reference_update),
        record_updates=control.record == "full",
    )


def evaluation_of(
    source: OnlineSource,
    heldout: Sequence[Prompt],
    grade: Grade,
    sampling: Sampling,
    placed: Placed,
) -> Evaluation:
    """The evaluation of a run, at temperature 1, with the length and the stop strings of training. Its
    answers do not depend on the run's seed."""
    answer = answer_with(source, source.heldout_seed, placed.tokenizer, placed.decode)
    sampling = Sampling(sampling.max_new_tokens, stop=sampling.stop)
    return Evaluation(tuple(heldout), grade, sampling, seed=source.heldout_seed, answer=answer)


def probe_of(source: OnlineSource, evaluation: Evaluation) -> Callable[[Sampler], Mapping[str, Any]]:
    """A function that measures the best temperature and maj@8 on some of the held-out questions, or {} where
    the run asks for none."""
    if not source.report_questions:
        return lambda sampler: {}
    own = getattr(evaluation.grade, "reward", None)
    equivalence = equivalence_of(own)
    if equivalence is None and (source.reward is None or getattr(evaluation.grade, "truth", None)):
        equivalence = equivalence_of_task(task_of(source)) if truth_of(source) is not None else None
    return Probe(evaluation, source.report_questions, equivalence)


def close_grade(grade: Grade) -> None:
    """Ends the processes of the grader's reward."""
    if isinstance(grade, Grading):
        close(grade.reward)


def with_tokenizer(around: Around, source: OnlineSource, placed: Placed) -> Around:
    """`around` with the functions that need the tokenizer."""
    tokenizer = placed.tokenizer

    def decode_each() -> list[str]:
        return tokenizer.batch_decode([[token] for token in range(len(tokenizer))])

    return replace(
        around,
        answer=answer_with(source, around.seed, placed.tokenizer, placed.decode, around.notify),
        decode_each=decode_each,
    )


def updates_of(objective: Objective, models: Models, around: Around) -> tuple[Update, ...]:
    """The updates of a step: those of the policy, and of the critic if it has a trunk of its own."""
    policy, critic = models.policy, models.critic
    own = terms_of(objective, "objective", around)
    update = Update(own, "policy", policy.updates_per_step, policy.old)
    if critic is None:
        return (update,)
    values = terms_of(critic.objective, "critic.objective", around)
    if critic.shared_trunk:
        return (replace(update, terms=own | values),)
    return (
        replace(update, after=critic.pretrain_steps),
        Update(values, "critic", critic.updates_per_step),
    )


def terms_of(objective: Objective, place: str, around: Around) -> dict[str, AnyTerm]:
    """The terms as they are called in a run."""
    ready = {name: replace(term, share=built(term.share, around)) for name, term in objective.items()}
    return {name: own_term(term, f"{place}.{name}") for name, term in ready.items()}


def grade_of(source: OnlineSource, reward: Reward) -> Grade:
    """A grader that asks the reward. Where an environment asks its own questions and there is no other
    reward, the grader sums up what the environment gave."""
    if source.reward is None and own_questions(source) is not None:
        return environment_alone
    return grading_of(reward, shows_of(source), None if source.reward is None else truth_of(source))


def truth_of(source: OnlineSource) -> Reward | None:
    """What knows whether an answer is right whatever the reward says: the task that asks the questions."""
    asked = source.data is None and own_questions(source) is None
    return task_of(source).grade if asked else None


def parts_that_need_truth(setup: Setup, order: str, models: Models) -> Iterator[str]:
    """The settings that need to know which answers are right."""
    yield from (name for name, part in setup.parts() if needs_truth(part))
    if any("right_answer" in fields_of_step(text) for text in models.teacher_questions):
        yield "teacher_question"
    if order != "shuffled":
        yield f"order={order}"


def shows_of(source: OnlineSource) -> Shows:
    """How the source's task recognises working and reflection in an answer, where the questions are those of
    a task."""
    if source.data is not None or own_questions(source) is not None:
        return {}
    task = task_of(source)
    looks = {"working": getattr(task, "works", None), "reflection": getattr(task, "reflects", None)}
    return {name: look for name, look in looks.items() if look is not None}


def answer_with(
    source: OnlineSource,
    seed: int,
    tokenizer: PreTrainedTokenizerBase,
    decode: Callable[[list[int]], str],
    notify: Callable[[str], None] = lambda sentence: None,
) -> Answer:
    """One turn, or turns with the run's environment; `notify` gets sentences about it for the user."""
    if source.environment is None:
        return answer
    environment: Any = source.environment
    if isinstance(environment, Agent):
        voice = TokenizerVoice(
            ("policy",), tokenizer, decode, len(tokenizer), arguments=source.template_arguments
        )
        environment = environment.playing(voice, notify)
    if isinstance(environment, Verifiers) and not environment.tokenizer:
        environment = replace(environment, tokenizer=str(tokenizer.name_or_path))
    go_on, mark = continue_with(tokenizer), marker_for(tokenizer)
    if getattr(environment, "special_tokens", False):
        mark = str

    def tokenize(text: str, before: Tokens) -> Sequence[int]:
        return go_on(mark(text), before)

    return Turns(environment, tokenize, decode, seed, source.max_turns, graded_text=source.graded_text)


def reward_of(source: OnlineSource, around: Around) -> Reward:
    """The reward of the source: the task's own, a part, or the user's function, which runs in an isolated
    process."""
    task = task_of(source) if source.data is None else None
    reward = source.reward
    if reward is None:
        return ExactMatch() if task is None else task.grade
    if isinstance(reward, RewardPart):
        return built(reward, around)
    if not isinstance(reward, str) or ":" in reward:
        return UserReward(built(reward, around))
    kinds = {part.kind: part for part in get_args(RewardPart)}
    if reward not in kinds:
        raise unknown_reward(reward, kinds)
    return built(kinds[reward](), around)
