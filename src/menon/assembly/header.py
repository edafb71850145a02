"""The lines that describe a run, printed above its progress."""

import inspect
from typing import Any, get_args

from menon.assembly.questions import own_questions, task_of
from menon.config import OnlineSource, Policy, RewardPart, around_of
from menon.docstrings import first_sentence
from menon.prompts.tasks import task_name
from menon.reward.exact import ExactMatch
from menon.reward.grade import Grading
from menon.reward.rules import Mix, Weighted
from menon.rollout.protocols import Grade, sizes_of


def header(
    policy: Policy, source: OnlineSource, parameters: int, machine: str, length: str, grade: Grade
) -> dict[str, str]:
    """The header of a run below its recipe: label -> text of each line; `length` is how long answers may be,
    in words."""
    updates = f"{policy.updates_per_step} update" + ("s" if policy.updates_per_step > 1 else "")
    groups = f"{source.prompts_per_step} prompts x {source.samples_per_prompt} samples"
    written = sizes_of(source.rollout, around_of(source, 0)).form or groups
    return {
        "model": model_in_words(policy, parameters),
        "task": asked_in(source),
        "reward": reward_in_words(source),
        "step": f"{written}, {updates}, learning rate {policy.optimiser.learning_rate:g}",
        "answers": length,
        "machine": machine,
        **(getattr(grade.reward, "header", {}) if isinstance(grade, Grading) else {}),
    }


def model_in_words(policy: Policy, parameters: int) -> str:
    """
    >>> model_in_words(Policy(adapter=Adapter(rank=8)), 886_400)
    'base, 0.89 M parameters, of which none learns: an adapter of rank 8 does'
    """
    beside = (
        ""
        if policy.adapter is None
        else (f", of which none learns: an adapter of rank {policy.adapter.rank} does")
    )
    return f"{policy.model}, {quantity(parameters)} parameters{beside}"


def asked_in(source: OnlineSource) -> str:
    """Where the questions come from, and which environment answers the policy."""
    own, environment = own_questions(source), source.environment
    beside = [f"environment {task_name(environment)}"] if environment is not None and own is None else []
    return ", ".join([source.data or task_name(source.task or own), *beside])


def reward_in_words(source: OnlineSource) -> str:
    """Which rule decides what an answer is worth, with the first sentence of its docstring, which
    `menon help reward` shows too."""
    reward = source.reward
    if reward is None and own_questions(source) is not None:
        return f"the environment's own: the sum of what {task_name(source.environment)} gives in its turns"
    if reward is None and source.data is None:
        task = task_of(source)
        return f"the task's own: {said_first(task.grade) or task_name(task)}"
    if reward is None:
        return rule_in_words(ExactMatch())
    kinds: dict[Any, type] = {part.kind: part for part in get_args(RewardPart)}
    return rule_in_words(kinds.get(reward, reward) if isinstance(reward, str) else reward)


def rule_in_words(rule: Any) -> str:
    """A rule, or a class of rules, in one line; a function of the user's by its name.

    >>> rule_in_words("my_reward.py:score")
    'own: my_reward.py:score'
    >>> rule_in_words(Mix({"math": 1, "format": 0.2}))
    'mix: 1 math + 0.2 format'
    """
    if isinstance(rule, Mix):
        parts = rule.parts.items()
        weights = ((part.weight if isinstance(part, Weighted) else part, name) for name, part in parts)
        return "mix: " + " + ".join(f"{weight:g} {name}" for weight, name in weights)
    kind = getattr(rule, "kind", None)
    if kind is None:
        return f"own: {rule if isinstance(rule, str) else getattr(rule, '__name__', type(rule).__name__)}"
    model = f" ({rule.model})" if isinstance(getattr(rule, "model", None), str) and rule.model else ""
    return f"{kind}{model}: {said_first(rule if isinstance(rule, type) else type(rule))}"


def said_first(thing: Any) -> str:
    """The first sentence of a docstring, to go on after a colon; "" if there is none."""
    sentence = first_sentence(inspect.getdoc(thing) or "").replace("`", "")
    return (
        sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() or sentence[:2] == "A " else sentence
    )


def quantity(count: int) -> str:
    """
    >>> quantity(5_984), quantity(886_400), quantity(494_032_768), quantity(7_600_000_000)
    ('5,984', '0.89 M', '494 M', '7.6 B')
    """
    if count < 1e5:
        return f"{count:,}"
    size, unit = (count / 1e6, "M") if count < 1e9 else (count / 1e9, "B")
    return f"{size:.2g} {unit}" if size < 10 else f"{size:.0f} {unit}"
