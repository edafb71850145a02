"""Which layers of a model are compared with which of another."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from menon.errors import UserError

LayerMap = Literal["uniform"] | tuple[tuple[int, int], ...]


def check_map(layers: LayerMap, weights: tuple[float, ...], kind: str) -> None:
    """UserError for a map or weights that fit no models."""
    if layers == ():
        raise UserError(f"layers of {kind} names no pair; write [[1, 2], [2, 4]], or uniform")
    if weights and layers == "uniform":
        raise UserError(f"weights of {kind} belong to the pairs of layers; name the pairs too")
    if weights and len(weights) != len(layers):
        raise UserError(f"{kind} has {len(layers)} pairs of layers and {len(weights)} weights; give one each")


def pairs_of(layers: LayerMap, depth: int, other: int, lowest: int) -> tuple[tuple[int, int], ...]:
    """(own layer, the other's). Uniform: own layer j of N and layer j M / N of M, rounded, halves up, and at
    least 1. UserError for layers that the models do not have.

    >>> pairs_of("uniform", 3, 8, 0)
    ((1, 3), (2, 5), (3, 8))
    """
    if not depth or not other:
        raise UserError(
            "a model does not say how many layers it has, so its layers cannot be compared with a teacher's; "
            "take distill_logits"
        )
    if layers == "uniform":
        return tuple((j, max(1, (2 * j * other + depth) // (2 * depth))) for j in range(1, depth + 1))
    for whose, size, place in (("policy", depth, 0), ("teacher", other, 1)):
        for pair in layers:
            if not lowest <= pair[place] <= size:
                raise UserError(
                    f"layers names layer {pair[place]} of the {whose}, which has {lowest} to {size}; "
                    "name [policy's, teacher's] pairs within them"
                )
    return layers


def weighted(distances: Sequence[Tensor], weights: tuple[float, ...]) -> Tensor:
    """[n] the sum over pairs of layers."""
    factors = weights or (1.0,) * len(distances)
    total = factors[0] * distances[0]
    for factor, distance in zip(factors[1:], distances[1:], strict=True):
        total = total + factor * distance
    return total
