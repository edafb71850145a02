"""Pairs the learner's tensors with those of the sampler."""

from collections.abc import Collection

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
    if not isinstance(sampler, Holder):
        raise UserError(
            f"{type(sampler).__name__} does not show its weights to this process; choose another weight "
            "channel"
        )
    given, held = learner.weights(), sampler.weights()
    policy_names(given, held)
    for name, weight in held.items():
        if given[name].shape != weight.shape:
            shapes = f"{tuple(given[name].shape)} in the learner and {tuple(weight.shape)} in the sampler"
            raise UserError(f"'{name}' has shape {shapes}; give both the same model")
    return sampler, {name: (given[name], weight) for name, weight in held.items()}


def policy_names(given: Collection[str], held: Collection[str]) -> list[str]:
    """The names of a learner's weights that its sampler has too: all but those of heads. UserError if the two
    hold other names."""
    policy = [name for name in given if not name.startswith(BESIDE)]
    if odd := sorted({*policy} ^ {*held}):
        has, lacks = ("learner", "sampler") if odd[0] in given else ("sampler", "learner")
        raise UserError(f"the {has} holds '{odd[0]}', which the {lacks} lacks; give both the same model")
    return policy
