"""Pairs the learner's tensors with those of the sampler."""

from collections.abc import Iterator, Mapping, Set

from torch import Tensor

from menon.errors import UserError
from menon.rollout.protocols import Sampler
from menon.sync.protocols import HasWeights, Holder
from menon.update.protocols import PROJECTION, VALUE

BESIDE = (f"{VALUE.name}_head.", PROJECTION)
"""How the names of weights begin that learn beside a policy: a critic's head, projections to a teacher."""


def pairs(learner: HasWeights, sampler: Sampler) -> tuple[Holder, dict[str, tuple[Tensor, Tensor]]]:
    """The sampler, and for each of its weights, by name, the learner's and the sampler's tensor.  A learner
    may also have heads that a sampler does without. UserError if the sampler's weights cannot be reached, or
    the two hold other names or shapes.
    """
    holder = holder_of(sampler)
    given, held = learner.weights(), holder.weights()
    check_alike({name for name, _ in model_tensors(given)}, held.keys())
    for name, weight in held.items():
        check_shape(name, given[name], weight)
    return holder, {name: (given[name], weight) for name, weight in held.items()}


def model_tensors(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Those of a learner's weights that belong to its model and not to a head beside it, without gradient."""
    for name, weight in weights.items():
        if not name.startswith(BESIDE):
            yield name, weight.detach()


def holder_of(sampler: Sampler) -> Holder:
    """The sampler as one whose weights are in this process. UserError: they are not."""
    if not isinstance(sampler, Holder):
        raise UserError(
            f"{type(sampler).__name__} does not show its weights to this process; choose another weight "
            "channel"
        )
    return sampler


def check_alike(given: Set[str], held: Set[str]) -> None:
    """UserError unless learner and sampler have weights of the same names."""
    if odd := sorted(given ^ held):
        has, lacks = ("learner", "sampler") if odd[0] in given else ("sampler", "learner")
        raise UserError(f"the {has} holds '{odd[0]}', which the {lacks} lacks; give both the same model")


def check_shape(name: str, given: Tensor, held: Tensor) -> None:
    """UserError unless the learner's and the sampler's tensor of this name have one shape."""
    if given.shape != held.shape:
        shapes = f"{tuple(given.shape)} in the learner and {tuple(held.shape)} in the sampler"
        raise UserError(f"'{name}' has shape {shapes}; give both the same model")
