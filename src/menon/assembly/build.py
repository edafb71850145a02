"""From a configuration to the parts of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from menon.assembly.answer_equivalence import equivalence_of, equivalence_of_task
from menon.assembly.header import header
from menon.assembly.placement import device_of, place
from menon.assembly.questions import own_questions, prompts_of, questions, stop_of, task_of
from menon.assembly.reward_models import model_reward
from menon.assembly.rollout_memory import check_memory
from menon.config import RunConfig, around_of
from menon.errors import UserError
from menon.eval.probe import Probe
from menon.eval.run import Evaluation
from menon.loop import Run
from menon.parts import Around, built
from menon.prompts.order import ByDifficulty, Shuffled
from menon.reward import rules
from menon.reward.call import UserReward
from menon.reward.code.tests import CodeTests
from menon.reward.exact import ExactMatch
from menon.reward.grade import Grading, Shows, grading_of
from menon.reward.models import ModelReward
from menon.reward.protocols import Reward
from menon.rollout.groups import answer
from menon.rollout.protocols import Answer, Grade, Sampler
from menon.rollout.turns import Turns, environment_alone
from menon.settings import nearest
from menon.source.online import Online
from menon.source.queued import Queued
from menon.step import Plan
from menon.types import Sampling
from menon.update.terms import Update

REWARDS: dict[str, Callable[[], Reward]] = {
    "code": CodeTests,
    **{kind: partial(rules.named, kind) for kind in rules.KINDS},
}
ORDERS = {"shuffled": Shuffled, "by_difficulty": ByDifficulty}


@contextmanager
def build(config: RunConfig, notify: Callable[[str], None] = lambda sentence: None) -> Iterator[Run]:
    """Everything of a run, in this process and on one device; `notify` hears what the user should know. Leaving
    the `with` ends what was started beside this process."""
    around = around_of(config)
    around = replace(around, sampling=replace(around.sampling, stop=stop_of(config)), notify=notify)
    with ExitStack() as undo:
        grade = grade_of(config)
        undo.callback(close_grade, grade)
        rows, heldout_rows = questions(config, notify)
        placed = undo.enter_context(place(config, notify))
        prompts, heldout = (
            prompts_of(part, config, placed.context, placed.tokenizer, grade, notify)
            for part in (rows, heldout_rows)
        )
        check_memory(config.source.rollout, around, prompts, placed.sampler)
        around = with_tokenizer(around, config, placed.tokenizer)
        sampling = Sampling(config.source.max_new_tokens, stop=around.sampling.stop)
        evaluation = Evaluation(tuple(heldout), grade, sampling, answer=around.answer or answer)
        source = Queued(
            Online(
                ORDERS[config.source.order](prompts, config.control.seed),
                placed.sampler,
                built(config.source.rollout, around),
                grade,
                around,
            ),
            config.source.ahead,
        )
        undo.callback(source.close)
        yield Run(
            plan=Plan(
                {name: built(part, around) for name, part in config.advantage.items()},
                updates_of(config),
                config.control.seed,
                reference=config.models.reference_update,
            ),
            source=source,
            host=placed.host,
            channel=placed.channel,
            steps=config.control.steps,
            evaluate=partial(evaluation, placed.sampler),
            probe=partial(probe_of(config, evaluation), placed.sampler),
            save_every=config.control.save_every,
            evaluate_every=config.control.evaluate_every,
            header=header(config, placed.parameters, str(placed.sampler.model.device), grade),
        )


def probe_of(config: RunConfig, evaluation: Evaluation) -> Callable[[Sampler], Mapping[str, Any]]:
    """Best temperature and vote on some of the held-out questions; nothing where the run asks for none."""
    if not config.source.report_questions:
        return lambda sampler: {}
    if config.source.data is None and config.source.reward is None and own_questions(config) is None:
        return Probe(evaluation, config.source.report_questions, equivalence_of_task(task_of(config)))
    return Probe(
        evaluation, config.source.report_questions, equivalence_of(getattr(evaluation.grade, "reward", None))
    )


def close_grade(grade: Grade) -> None:
    if isinstance(grade, Grading):
        close_reward(grade.reward)


def close_reward(reward: Reward) -> None:
    rules.close(reward)


def with_tokenizer(around: Around, config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Around:
    """What only a tokenizer can give."""

    def decode_each() -> list[str]:
        return tokenizer.batch_decode([[token] for token in range(len(tokenizer))])

    return replace(around, answer=answer_with(config, tokenizer), decode_each=decode_each)


def updates_of(config: RunConfig) -> tuple[Update, ...]:
    if config.models.critic is not None and config.models.critic.shared_trunk:
        return (
            Update(
                config.objective | config.models.critic.objective,
                "policy",
                config.models.policy.updates_per_step,
                config.models.policy.old,
            ),
        )
    alone = 0 if config.models.critic is None else config.models.critic.pretrain_steps
    policy = Update(
        config.objective, "policy", config.models.policy.updates_per_step, config.models.policy.old, alone
    )
    if config.models.critic is None:
        return (policy,)
    return (policy, Update(config.models.critic.objective, "critic", config.models.critic.updates_per_step))


def grade_of(config: RunConfig) -> Grade:
    """The reward's verdict; of an environment that asks its own questions and has no other reward, what it
    gave."""
    if config.source.reward is None and own_questions(config) is not None:
        return environment_alone
    return grading_of(reward_of(config), shows_of(config))


def shows_of(config: RunConfig) -> Shows:
    """What the task looks for in an answer, where questions are a task's: whether it shows working, whether
    it reflects."""
    if config.source.data is not None or own_questions(config) is not None:
        return {}
    task = task_of(config)
    looks = {"working": getattr(task, "works", None), "reflection": getattr(task, "reflects", None)}
    return {name: look for name, look in looks.items() if look is not None}


def answer_with(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Answer:
    """One turn, or turns with the run's environment."""
    if config.source.environment is None:
        return answer

    def tokenize(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(tokens: Sequence[int]) -> str:
        return str(
            tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    return Turns(config.source.environment, tokenize, decode, config.control.seed, config.source.max_turns)


def reward_of(config: RunConfig) -> Reward:
    """The task's own, a rule, tests of programs, a model, or the user's function."""
    task = task_of(config) if config.source.data is None else None
    reward = config.source.reward
    if reward is None:
        return ExactMatch() if task is None else task.grade
    if isinstance(reward, ModelReward):
        return model_reward(reward, device_of(config.engine.device))
    if isinstance(reward, rules.RulePart):
        return rules.build(reward)
    if isinstance(reward, CodeTests):
        return reward
    if not isinstance(reward, str) or ":" in reward:
        return UserReward(reward)
    if reward not in REWARDS:
        raise UserError(
            f"there is no reward '{reward}'{nearest(reward, REWARDS)}; your own is file.py:function"
        )
    return REWARDS[reward]()
