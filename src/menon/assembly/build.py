"""From a configuration to the parts of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from menon.advantage.segment import tree_values
from menon.assembly.answer_equivalence import equivalence_of, equivalence_of_task
from menon.assembly.header import header
from menon.assembly.placement import device_of, place
from menon.assembly.questions import own_questions, prompts_of, questions, stop_of, task_of
from menon.assembly.reward_models import model_reward
from menon.assembly.samplers import tell_of_memory
from menon.assembly.tree_memory import check_memory
from menon.config import RunConfig
from menon.errors import UserError
from menon.eval.probe import Probe
from menon.eval.run import Evaluation
from menon.loop import Run
from menon.prompts.order import ByDifficulty, Shuffled
from menon.reward import rules
from menon.reward.call import UserReward
from menon.reward.code.tests import CodeTests
from menon.reward.exact import ExactMatch
from menon.reward.grade import Grading, Shows, grading_of
from menon.reward.models import ModelReward
from menon.reward.protocols import Reward
from menon.rollout.dynamic import DynamicSampling
from menon.rollout.greedy import GreedyBaseline
from menon.rollout.groups import Groups, answer
from menon.rollout.kinds import DynamicRollout, GreedyRollout, SegmentsRollout, TreeRollout
from menon.rollout.partition import CutPoints, EqualParts, FixedTokens, Lines, Partition
from menon.rollout.protocols import Answer, Grade, Sampler
from menon.rollout.replay import Replay
from menon.rollout.segments import Segments
from menon.rollout.tree_growth import TreeShape
from menon.rollout.trees import Trees
from menon.rollout.turns import Turns, environment_alone
from menon.settings import nearest
from menon.source.online import Online
from menon.step import Plan
from menon.types import Sampling
from menon.update.terms import Update

Rollout = Groups | DynamicSampling | GreedyBaseline | Segments | Trees

REWARDS: dict[str, Callable[[], Reward]] = {
    "code": CodeTests,
    **{kind: partial(rules.named, kind) for kind in rules.KINDS},
}
ORDERS = {"shuffled": Shuffled, "by_difficulty": ByDifficulty}


def build(
    config: RunConfig, notify: Callable[[str], None] = lambda sentence: None
) -> AbstractContextManager[Run]:
    """Everything of a run, in this process and on one device; `notify` hears what the user should know. Leaving the
    `with` ends what was started beside this process."""
    rollout = rollout_of(config)
    return _built(config, rollout, grade_of(config), notify)


@contextmanager
def _built(config: RunConfig, rollout: Rollout, grade: Grade, notify: Callable[[str], None]) -> Iterator[Run]:
    with ExitStack() as undo:
        undo.callback(close_grade, grade)
        rows, heldout_rows = questions(config, notify)
        placed = undo.enter_context(place(config, notify))
        prompts, heldout = (
            prompts_of(part, config, placed.context, placed.tokenizer, grade, notify)
            for part in (rows, heldout_rows)
        )
        tell_of_memory(config, placed.sampler, prompts, notify)
        if isinstance(rollout, Trees):
            check_memory(rollout, prompts, placed.sampler)
        answer = answer_with(config, placed.tokenizer)
        collect = with_tokenizer(rollout, answer, placed.tokenizer)
        sampling = Sampling(config.max_new_tokens, stop=stop_of(config))
        evaluation = Evaluation(tuple(heldout), grade, sampling, answer=answer)
        source = Online(ORDERS[config.order](prompts, config.seed), placed.sampler, collect, grade)
        undo.callback(source.close)
        yield Run(
            plan=Plan(config.advantage, updates_of(config), config.seed, reference=config.reference_update),
            source=source,
            host=placed.host,
            channel=placed.channel,
            steps=config.steps,
            evaluate=partial(evaluation, placed.sampler),
            probe=partial(probe_of(config, evaluation), placed.sampler),
            save_every=config.save_every,
            evaluate_every=config.evaluate_every,
            header=header(config, placed.parameters, str(placed.sampler.model.device), grade),
        )


def probe_of(config: RunConfig, evaluation: Evaluation) -> Callable[[Sampler], Mapping[str, Any]]:
    """Best temperature and vote on some of the held-out questions; nothing where the run asks for none."""
    if not config.report_questions:
        return lambda sampler: {}
    if config.data is None and config.reward is None and own_questions(config) is None:
        return Probe(evaluation, config.report_questions, equivalence_of_task(task_of(config)))
    return Probe(
        evaluation, config.report_questions, equivalence_of(getattr(evaluation.grade, "reward", None))
    )


def close_grade(grade: Grade) -> None:
    if isinstance(grade, Grading):
        close_reward(grade.reward)


def close_reward(reward: Reward) -> None:
    rules.close(reward)


def rollout_of(config: RunConfig) -> Rollout:
    sampling = Sampling(
        config.max_new_tokens, config.temperature, config.top_p, config.top_k, stop_of(config)
    )
    size = (config.prompts_per_step, config.samples_per_prompt, sampling)
    if isinstance(config.rollout, DynamicRollout):
        own = config.rollout
        return DynamicSampling(*size, own.lo, own.hi, own.prompts_per_round, own.max_rounds, own.min_groups)
    if isinstance(config.rollout, GreedyRollout):
        return GreedyBaseline(*size)
    if isinstance(config.rollout, SegmentsRollout):
        return Segments(
            *size, partition_of(config.rollout), config.rollout.value_samples, config.rollout.max_values
        )
    if isinstance(config.rollout, TreeRollout):
        tree = config.rollout
        replay = Replay(tree.edges_per_question, tree.max_age, tree.edges_per_step)
        return Trees(
            config.prompts_per_step,
            sampling,
            tree_values,
            TreeShape(tree.branching, tree.segment_tokens),
            replay,
            config.seed,
        )
    return Groups(*size)


def partition_of(own: SegmentsRollout) -> Partition:
    """Lines are told apart by tokens, so theirs comes with the tokenizer."""
    kinds: dict[str, Partition] = {
        "cutpoints": CutPoints(own.interval, own.threshold),
        "tokens": FixedTokens(own.segment_tokens),
        "parts": EqualParts(own.parts),
        "lines": Lines(()),
    }
    return kinds[own.partition]


def with_tokenizer(rollout: Rollout, answer: Answer, tokenizer: PreTrainedTokenizerBase) -> Rollout:
    """The rollout with what only a tokenizer can give."""
    if not isinstance(rollout, Segments | Trees):
        return replace(rollout, answer=answer)
    if isinstance(rollout, Trees) or not isinstance(rollout.partition, Lines):
        return rollout
    pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return replace(
        rollout, partition=Lines(frozenset(token for token, piece in enumerate(pieces) if "\n" in piece))
    )


def updates_of(config: RunConfig) -> tuple[Update, ...]:
    if config.critic is not None and config.critic.shared_trunk:
        return (
            Update(config.objective | config.critic.objective, "policy", config.updates_per_step, config.old),
        )
    alone = 0 if config.critic is None else config.critic.pretrain_steps
    policy = Update(config.objective, "policy", config.updates_per_step, config.old, alone)
    if config.critic is None:
        return (policy,)
    return (policy, Update(config.critic.objective, "critic", config.critic.updates_per_step))


def grade_of(config: RunConfig) -> Grade:
    """The reward's verdict; of an environment that asks its own questions and has no other reward, what it
    gave."""
    if config.reward is None and own_questions(config) is not None:
        return environment_alone
    return grading_of(reward_of(config), shows_of(config))


def shows_of(config: RunConfig) -> Shows:
    """What the task looks for in an answer, where questions are a task's: whether it shows working, whether
    it reflects."""
    if config.data is not None or own_questions(config) is not None:
        return {}
    task = task_of(config)
    looks = {"working": getattr(task, "works", None), "reflection": getattr(task, "reflects", None)}
    return {name: look for name, look in looks.items() if look is not None}


def answer_with(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> Answer:
    """One turn, or turns with the run's environment."""
    if config.environment is None:
        return answer

    def tokenize(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(tokens: Sequence[int]) -> str:
        return str(
            tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    return Turns(config.environment, tokenize, decode, config.seed, config.max_turns)


def reward_of(config: RunConfig) -> Reward:
    """The task's own, a rule, tests of programs, a model, or the user's function."""
    task = task_of(config) if config.data is None else None
    reward = config.reward
    if reward is None:
        return ExactMatch() if task is None else task.grade
    if isinstance(reward, ModelReward):
        return model_reward(reward, device_of(config.device))
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
