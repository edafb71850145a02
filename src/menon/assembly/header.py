"""The lines that describe a run, printed above its progress."""

from typing import Any

from menon.assembly.questions import own_questions
from menon.config import OnlineSource, RunConfig, around_of
from menon.prompts.tasks import task_name
from menon.reward.grade import Grading
from menon.rollout.protocols import Grade, sizes_of


def header(config: RunConfig, parameters: int, device: str, length: str, grade: Grade) -> dict[str, str]:
    """The header of a run: label -> text of each line; `length` is how long answers may be, in words."""
    policy, source = config.models.policy, config.source
    updates = f"{policy.updates_per_step} update" + ("s" if policy.updates_per_step > 1 else "")
    groups = f"{source.prompts_per_step} prompts x {source.samples_per_prompt} samples"
    written = sizes_of(source.rollout, around_of(config.source, config.control.seed)).form or groups
    return {
        "recipe": config.recipe,
        "model": f"{policy.model}, {quantity(parameters)} parameters",
        "task": asked_in(source),
        "step": f"{written}, {updates}, learning rate {policy.optimiser.learning_rate:g}",
        "answers": length,
        "machine": f"{device}, {config.engine.dtype}",
        **(getattr(grade.reward, "header", {}) if isinstance(grade, Grading) else {}),
    }


def asked_in(source: OnlineSource) -> str:
    """Where the questions come from, which environment answers the policy, and which reward grades it if it
    is not the task's own."""
    own, environment = own_questions(source), source.environment
    reward = source.reward if isinstance(source.reward, str | None) else kind_or_name(source.reward)
    beside = [f"environment {task_name(environment)}"] if environment is not None and own is None else []
    graded = [f"reward {reward}"] if reward else []
    return ", ".join([source.data or task_name(source.task or own), *beside, *graded])


def kind_or_name(reward: Any) -> str:
    """The name of a reward in a line of text."""
    return str(getattr(reward, "kind", None) or getattr(reward, "__name__", "your own"))


def quantity(count: int) -> str:
    """
    >>> quantity(5_984), quantity(886_400), quantity(494_032_768), quantity(7_600_000_000)
    ('5,984', '0.89 M', '494 M', '7.6 B')
    """
    if count < 1e5:
        return f"{count:,}"
    size, unit = (count / 1e6, "M") if count < 1e9 else (count / 1e9, "B")
    return f"{size:.2g} {unit}" if size < 10 else f"{size:.0f} {unit}"
