"""The teachers of a run: their models, and which of them scores a row."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from menon.config import Models
from menon.engines.by_row import ByRow
from menon.engines.hf_models import load_policy
from menon.engines.protocols import Scorer
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.prompts.reader import at, has
from menon.prompts.sources import BadRow
from menon.types import Prompt
from menon.update.teacher_settings import POLICY, START

Load = Callable[[str], str]
"""The name of a model in a setting -> the folder or name that is loaded."""


def check_named(models: Models) -> None:
    """UserError for a recipe of distillation whose teacher is still to be named."""
    if models.teacher == "" and not models.teachers:
        raise UserError(
            "this recipe learns from a teacher, and none is named; set teacher=FOLDER to a model with the "
            "policy's vocabulary"
        )


def models_named(
    models: Models, load: Load, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype, device: torch.device
) -> dict[str, PreTrainedModel]:
    """The models of a run's teachers by their names, each once. The policy is none of them."""
    names = [name for name in (models.teacher, *models.teachers.values()) if name and name != POLICY]
    folders = {name: load(models.policy.model if name == START else name) for name in names}
    return {name: with_tokens_of(tokenizer, folder, dtype, device) for name, folder in folders.items()}


def teacher_of(
    models: Models,
    policy: Scorer,
    loaded: Mapping[str, PreTrainedModel],
    settings: Mapping[str, Any],
    scorer: Callable[..., TorchScorer] = TorchScorer,
) -> Scorer | None:
    """The teacher of a run, or its teachers as one scorer; None if it has none. `settings` are those of every
    `TorchScorer`, or of the kind of `scorer` that the run takes."""
    made: dict[str, Scorer] = {POLICY: policy}
    made |= {name: scorer(model, **settings) for name, model in loaded.items()}
    if models.teacher:
        return made[models.teacher]
    if not models.teachers:
        return None
    several = {name: made[model] for name, model in models.teachers.items()}
    return ByRow(several, min(map(vocabulary_of, several.values())))


def vocabulary_of(scorer: Any) -> int:
    """The number of logits of a model; a natural gradient's learner has it one level down."""
    learner = getattr(scorer, "inner", scorer)
    return int(learner.model.get_output_embeddings().weight.shape[0])


def with_tokens_of(
    tokenizer: PreTrainedTokenizerBase, name: str, dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    """A teacher's model. UserError unless its tokens are the policy's."""
    teacher, own = load_policy(name, dtype, device)
    if own.get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"the teacher {name} has another vocabulary than the policy, so its probabilities and states "
            "belong to other tokens; take a teacher of the same family, or learn from texts that it has "
            "written (distill_data)"
        )
    return teacher.requires_grad_(False)


# Which teacher scores a row


@dataclass(frozen=True)
class ByColumn:
    """The number of the teacher that a row names; 0 where a run has one teacher."""

    names: Collection[str]
    """The names of the teachers, in their order; (): there is one for all rows."""
    column: str
    task: str = ""
    """The name of the task that asks, for rows without the column."""

    def __call__(self, row: Mapping[str, Any]) -> int:
        """BadRow: the row names no teacher, or one that is not there."""
        if not self.names:
            return 0
        says = has(row, self.column)
        if not says and not self.task:
            raise BadRow(
                f"has no column '{self.column}', which says which of the teachers scores it; name the column "
                "with teacher_by="
            )
        name = str(at(row, self.column)) if says else self.task
        if name not in self.names:
            which = f"'{self.column}'" if says else "the task"
            raise BadRow(
                f"belongs to the teacher '{name}' ({which}), and there are {', '.join(self.names)}; add "
                f"teachers.{name}=FOLDER"
            )
        return list(self.names).index(name)


def by_column(models: Models, task: str = "") -> ByColumn:
    """For the rows of a run; `task` is the name of the task that makes them."""
    return ByColumn(tuple(models.teachers), models.teacher_by, task)


def with_teachers(prompts: Sequence[Prompt], number_of: ByColumn) -> list[Prompt]:
    """The prompts with the numbers of their teachers. UserError: a row names none."""
    found = []
    for prompt in prompts:
        try:
            found.append(replace(prompt, teacher=number_of(prompt.columns)))
        except BadRow as fault:
            raise UserError(f"the row of {prompt.text[:60]!r} {fault}") from None
    return found


def taught(
    prompts: Sequence[Prompt], models: Models, task: str, notify: Callable[[str], None]
) -> list[Prompt]:
    """The same for the prompts of a run; `notify` hears of teachers that no row names."""
    found = with_teachers(prompts, by_column(models, task))
    if idle := unused(models, {prompt.teacher for prompt in found}):
        notify(idle)
    return found


def unused(models: Models, numbers: Collection[int]) -> str:
    """A sentence about teachers that no row names; "" if there is none."""
    idle = [name for number, name in enumerate(models.teachers) if number not in numbers]
    if not idle:
        return ""
    return (
        f"no row belongs to the teacher {idle[0]}"
        + (f" (nor to {', '.join(idle[1:])})" if idle[1:] else "")
        + f"; its weights take memory for nothing, so leave teachers.{idle[0]} out"
    )
