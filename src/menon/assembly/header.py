"""What a run is, in the lines that stand above it."""

from typing import Any

from menon.assembly.questions import own_questions
from menon.config import RunConfig, around_of
from menon.prompts.tasks import name_of
from menon.reward.grade import Grading
from menon.rollout.protocols import Grade, sizes_of


def header(config: RunConfig, parameters: int, device: str, grade: Grade) -> dict[str, str]:
    updates = f"{config.models.policy.updates_per_step} update" + (
        "s" if config.models.policy.updates_per_step > 1 else ""
    )
    return {
        "recipe": config.recipe,
        "model": f"{config.models.policy.model}, {quantity(parameters)} parameters",
        "task": asked_in(config),
        "step": f"{size_of(config)}, {updates}, learning rate {config.models.policy.optimiser.learning_rate:g}",
        "machine": f"{device}, {config.engine.dtype}",
        **(getattr(grade.reward, "header", {}) if isinstance(grade, Grading) else {}),
    }


def asked_in(config: RunConfig) -> str:
    """Where the questions come from, what answers the policy, and what grades it if that is not the task's
    own."""
    own = own_questions(config)
    reward = (
        config.source.reward
        if isinstance(config.source.reward, str | None)
        else kind_or_name(config.source.reward)
    )
    return ", ".join(
        [
            config.source.data or name_of(config.source.task or own),
            *(
                [f"environment {name_of(config.source.environment)}"]
                if config.source.environment is not None and own is None
                else []
            ),
            *([f"reward {reward}"] if reward else []),
        ]
    )


def size_of(config: RunConfig) -> str:
    """What is written in a step, as far as the configuration settles it."""
    groups = f"{config.source.prompts_per_step} prompts x {config.source.samples_per_prompt} samples"
    return sizes_of(config.source.rollout, around_of(config)).form or groups


def kind_or_name(reward: Any) -> str:
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
