"""What a run is, in the lines that stand above it."""

from typing import Any

from menon.assembly.questions import own_questions
from menon.config import RunConfig
from menon.prompts.tasks import name_of
from menon.reward.grade import Grading
from menon.rollout.protocols import Grade


def header(config: RunConfig, parameters: int, device: str, grade: Grade) -> dict[str, str]:
    updates = f"{config.updates_per_step} update" + ("s" if config.updates_per_step > 1 else "")
    return {
        "recipe": config.recipe,
        "model": f"{config.model}, {quantity(parameters)} parameters",
        "task": asked_in(config),
        "step": f"{size_of(config)}, {updates}, learning rate {config.optimiser.learning_rate:g}",
        "machine": f"{device}, {config.dtype}",
        **(getattr(grade.reward, "header", {}) if isinstance(grade, Grading) else {}),
    }


def asked_in(config: RunConfig) -> str:
    """Where the questions come from, what answers the policy, and what grades it if that is not the task's
    own."""
    own = own_questions(config)
    reward = config.reward if isinstance(config.reward, str | None) else kind_or_name(config.reward)
    return ", ".join(
        [
            config.data or name_of(config.task or own),
            *(
                [f"environment {name_of(config.environment)}"]
                if config.environment is not None and own is None
                else []
            ),
            *([f"reward {reward}"] if reward else []),
        ]
    )


def size_of(config: RunConfig) -> str:
    """What is written in a step, as far as the configuration settles it."""
    if (branching := getattr(config.rollout, "branching", None)) is not None:
        return f"{config.prompts_per_step} trees of {'-'.join(map(str, branching))}"
    return f"{config.prompts_per_step} prompts x {config.samples_per_prompt} samples"


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
