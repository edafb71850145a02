"""What a run that compares layers puts on its models before they are placed."""

from collections.abc import Iterator, Mapping

from torch import nn
from transformers import PreTrainedModel

from menon.columns import needs_of
from menon.config import Objective
from menon.engines.inside import depth_of, projection
from menon.errors import UserError
from menon.update.protocols import Inside, projection_name


def inside_of(objective: Objective) -> Iterator[Inside]:
    """The needs that compare layers."""
    for term in objective.values():
        yield from (need for need in needs_of(term.loss) if isinstance(need, Inside))


def projections_to(
    objective: Objective, model: PreTrainedModel, teachers: Mapping[str, PreTrainedModel], seed: int
) -> dict[str, nn.Linear]:
    """The maps to the layers of a run's teacher. UserError: layers are compared, and there are several
    teachers, or the policy is its own."""
    if not any(inside_of(objective)):
        return {}
    if len(teachers) != 1:
        raise UserError(
            "layers are compared with those of one other model; set teacher=FOLDER, and leave teachers out"
        )
    (teacher,) = teachers.values()
    return projections(objective, model, teacher, seed)


def projections(
    objective: Objective, model: PreTrainedModel, teacher: PreTrainedModel, seed: int
) -> dict[str, nn.Linear]:
    """The maps from the policy's layers to the teacher's that are compared, by the name of their head; none
    where the widths are equal. UserError for layers that a model does not have."""
    found: dict[str, nn.Linear] = {}
    for need in inside_of(objective):
        for own, other in need.pairs(depth_of(model), depth_of(teacher)):
            here, there = width_of(model), width_of(teacher)
            if need.what == "states" and here != there:
                name = projection_name(own, other)
                found[name] = projection(here, there, seed, name).to(next(model.parameters()))
    return found


def width_of(model: PreTrainedModel) -> int:
    """How many numbers a state has."""
    return int(model.config.get_text_config().hidden_size)


def show_attention(objective: Objective, *models: PreTrainedModel) -> None:
    """Lets models hand out how their heads attend, where a term compares that: the fused kernels keep it to
    themselves. UserError for a model that has none but these."""
    if not any(need.what == "attention" for need in inside_of(objective)):
        return
    for model in models:
        try:
            model.set_attn_implementation("eager")
        except ValueError as error:
            raise UserError(
                f"{model.name_or_path} does not hand out how its heads attend, which attention_maps reads; "
                "take loss=features, which compares the states of layers"
            ) from error
