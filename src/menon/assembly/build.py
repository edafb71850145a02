"""From a configuration to a run in this process: the placement. What is heavy is built last."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.advantage.segment import tree_values
from menon.assembly.answer_equivalence import equivalence_of, equivalence_of_task
from menon.assembly.questions import own_questions, prompts_of, questions, stop_of, task_of
from menon.assembly.reward_models import model_reward
from menon.assembly.samplers import sampler_of, tell_of_memory
from menon.assembly.tree_memory import check_memory
from menon.base import BASES
from menon.config import RunConfig
from menon.engines.decoding.stop_strings import text_of
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.forward import value_head
from menon.engines.hf_models import export, load_policy, load_value_model
from menon.engines.torch_learner import TorchLearner, TorchScorer
from menon.errors import UserError
from menon.eval.probe import Probe
from menon.eval.run import Evaluation
from menon.loop import Run
from menon.prompts.order import ByDifficulty, Shuffled
from menon.record.spans import TextSpans
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
from menon.step import Plan
from menon.types import Sampling
from menon.update.natural import NaturalLearner
from menon.update.objective import Update
from menon.update.protocols import Learner, Scorer

Rollout = Groups | DynamicSampling | GreedyBaseline | Segments | Trees

REWARDS: dict[str, Callable[[], Reward]] = {
    "code": CodeTests,
    **{kind: partial(rules.named, kind) for kind in rules.KINDS},
}
ORDERS = {"shuffled": Shuffled, "by_difficulty": ByDifficulty}
CORPUS = {"base": "sums", "search_base": "search"}
"""What `menon pretrain` makes a built-in model from."""
WEIGHTS_DTYPE = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""What the learner's weights are kept in; bfloat16 runs compute in bfloat16 on float32 weights."""


def build(config: RunConfig, notify: Callable[[str], None] = lambda sentence: None) -> Run:
    """Everything of a run, in one process and on one device. `notify` hears what the user should know. See
    `close`."""
    rollout = rollout_of(config)
    grade = grade_of(config)
    try:
        return assemble(config, rollout, grade, notify)
    except BaseException:
        close_grade(grade)
        raise


def assemble(config: RunConfig, rollout: Rollout, grade: Grade, notify: Callable[[str], None]) -> Run:
    rows, heldout_rows = questions(config, notify)
    device = device_of(config.device)
    name = model_name(config.model)
    model, tokenizer = load_policy(name, WEIGHTS_DTYPE[config.dtype], device)
    prompts = prompts_of(rows, config, model, tokenizer, grade, notify)
    heldout = prompts_of(heldout_rows, config, model, tokenizer, grade, notify)
    sampler, channel = sampler_of(config, model, tokenizer, notify)
    with ExitStack() as undo:
        undo.callback(sampler.close)
        tell_of_memory(config, sampler, prompts, notify)
        if isinstance(rollout, Trees):
            check_memory(rollout, prompts, sampler)
        answer = answer_with(config, tokenizer)
        collect = with_tokenizer(rollout, answer, tokenizer)
        evaluation = Evaluation(
            tuple(heldout), grade, Sampling(config.max_new_tokens, stop=stop_of(config)), answer=answer
        )
        run = Run(
            plan=Plan(
                collect, grade, config.advantage, updates_of(config), config.seed, config.reference_update
            ),
            prompts=ORDERS[config.order](prompts, config.seed),
            sampler=sampler,
            models=models_of(config, model, name, device),
            channel=channel,
            evaluate=evaluation,
            probe=probe_of(config, evaluation),
            export=lambda folder: export(model, tokenizer, folder),
            steps=config.steps,
            save_every=config.save_every,
            evaluate_every=config.evaluate_every,
            spans=TextSpans(text_of(tokenizer, skip_special=False)),
        )
        undo.pop_all()
    return run


def probe_of(config: RunConfig, evaluation: Evaluation) -> Callable[[Sampler], Mapping[str, Any]]:
    """Best temperature and vote on some of the held-out questions; nothing where the run asks for none."""
    if not config.report_questions:
        return lambda sampler: {}
    if config.data is None and config.reward is None and own_questions(config) is None:
        return Probe(evaluation, config.report_questions, equivalence_of_task(task_of(config)))
    return Probe(evaluation, config.report_questions, equivalence_of(getattr(evaluation.grade, "reward", None)))


def close(run: Run) -> None:
    """Ends what a run has started beside this process."""
    if isinstance(run.sampler, TorchSampler):
        run.sampler.close()
    close_grade(run.plan.grade)


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


# Models


def device_of(name: str) -> torch.device:
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise UserError(f"there is no device '{name}'; use auto, cpu, cuda, or cuda:1 and so on") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"there is no engine for device '{name}'; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device is '{name}', and torch sees {torch.cuda.device_count()} GPUs here; use device=cpu or "
            "another number"
        )
    if device.index is not None:
        torch.cuda.set_device(device)  # what torch does and tells of "the" GPU is then this one's
    return device


def model_name(model: str) -> str:
    """What `load_policy` takes: the folder of a built-in base, or the name itself."""
    if model not in BASES:
        return model
    if not (BASES[model] / "config.json").exists():
        raise UserError(
            f"the built-in model '{model}' is missing here; make one with `menon pretrain "
            f"corpus={CORPUS[model]} out=my-base` "
            "and use model=my-base"
        )
    return str(BASES[model])


def models_of(
    config: RunConfig, model: PreTrainedModel, name: str, device: torch.device
) -> dict[str, Scorer]:
    """By role: policy, and where the configuration has them reference and critic. All start from the same
    weights."""
    settings: dict[str, Any] = {
        "temperature": config.temperature,
        "tokens_per_forward": config.tokens_per_forward,
        "device": device,
        "autocast": torch.bfloat16 if config.dtype == "bfloat16" else None,
    }
    models: dict[str, Scorer] = {}
    if config.reference == "frozen":
        models["reference"] = TorchScorer(copy.deepcopy(model).requires_grad_(False), **settings)
    critic = config.critic
    if critic is not None and critic.shared_trunk:
        weight: Any = model.get_input_embeddings().weight
        head = value_head(weight.shape[1], critic.init, config.seed).to(weight.dtype)
        both = stepping(TorchLearner(model, config.optimiser, value_head=head, **settings), config)
        return {"policy": both, "critic": both, **models}
    if critic is not None:
        value_model = load_value_model(name, WEIGHTS_DTYPE[config.dtype], device, critic.init, config.seed)
        models["critic"] = TorchLearner(value_model, critic.optimiser, **settings)
    return {"policy": stepping(TorchLearner(model, config.optimiser, **settings), config), **models}


def stepping(policy: Learner, config: RunConfig) -> Learner:
    """With its own optimiser, or by natural gradients."""
    return policy if config.natural is None else NaturalLearner(policy, config.natural)
