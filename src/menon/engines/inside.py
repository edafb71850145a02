"""What a pass takes along from the inside of a model: the outputs of layers, and how their heads attend.
Torch alone."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from menon import ragged
from menon.batch import Batch, sent
from menon.engines.decoder import Attend
from menon.engines.packed import Packed, pick
from menon.engines.protocols import LogitRows
from menon.errors import UserError
from menon.streams import stream
from menon.update.protocols import Hidden, Inside, Need


@dataclass(frozen=True)
class Wanted:
    """The layers whose states or attention a pass hands out."""

    states: frozenset[int] = frozenset()
    """0: the embedding; 1 to the number of layers: their outputs; -1: the last one."""
    attention: frozenset[int] = frozenset()
    """1 to the number of layers."""

    def __bool__(self) -> bool:
        return bool(self.states or self.attention)


NOTHING = Wanted()


@dataclass(frozen=True)
class Seen:
    """What another model makes of the tokens of a batch, without gradient."""

    logits: LogitRows
    depth: int = 0
    """How many layers it has."""
    states: Mapping[int, Tensor] = field(default_factory=dict)
    """Layer -> [A, d]."""
    attention: Mapping[int, Tensor] = field(default_factory=dict)
    """Layer -> [A, heads, L]."""

    def of(self, need: Inside) -> Mapping[int, Tensor]:
        return self.states if need.what == "states" else self.attention


class Projection(nn.Linear):
    """States of one width -> states of another; learned, and of no use after the run."""


def projection(own: int, other: int, seed: int, name: str) -> Projection:
    """Without bias. Its weights are drawn from U(-1, 1) / sqrt(own)."""
    made = Projection(own, other, bias=False)
    drawn = stream(seed, "projection", name).uniform(-(own**-0.5), own**-0.5, size=(other, own))
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(drawn))
    return made


def own_layers(needs: Iterable[Need], depth: int, depths: Callable[[str], int]) -> Wanted:
    """The layers of this model that the needs read; `depths` gives the number of another model's layers."""
    needs = tuple(needs)
    pairs = {need: need.pairs(depth, depths(need.other)) for need in needs if isinstance(need, Inside)}
    found: dict[str, set[int]] = {"states": set(), "attention": set()}
    for need, layers in pairs.items():
        found[need.what] |= {own for own, _ in layers}
    found["states"] |= {need.layer for need in needs if isinstance(need, Hidden)}
    return Wanted(frozenset(found["states"]), frozenset(found["attention"]))


def other_layers(needs: Iterable[Need], role: str, depth: int, other: int) -> Wanted:
    """The layers of another model that the needs read."""
    found: dict[str, set[int]] = {"states": set(), "attention": set()}
    for need in needs:
        if isinstance(need, Inside) and need.other == role:
            found[need.what] |= {layer for _, layer in need.pairs(depth, other)}
    return Wanted(frozenset(found["states"]), frozenset(found["attention"]))


def depth_of(model: Any) -> int:
    """How many layers a model has, by its configuration; 0 where it does not say."""
    return int(getattr(model.config.get_text_config(), "num_hidden_layers", 0) or 0)


class Watched:
    """Attention that keeps the queries and keys of some layers."""

    def __init__(self, attend: Attend, layers: Collection[int]) -> None:
        self.attend, self.layers = attend, layers
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if layer + 1 in self.layers:
            self.kept[layer + 1] = q, k
        return self.attend(layer, q, k, v)


def attention_maps(q: Tensor, k: Tensor, packed: Packed, batch: Batch) -> Tensor:
    """q [M, heads, D], k [M, key_heads, D] of distinct tokens -> [S * L, heads, L] how much each token
    attends to the tokens of its sequence: softmax(q k / sqrt D), 0 for later ones. Nonsense where no state is
    needed."""
    cell = sent(ragged.pad(packed.place.clamp(min=0), batch.offset), q.device)
    query, key = (pick(states, cell.flatten()).unflatten(0, cell.shape) for states in (q, k))
    key = key.repeat_interleave(q.shape[1] // k.shape[1], 2)
    scores = torch.einsum("slhd,smhd->slhm", query, key) * q.shape[-1] ** -0.5
    past = torch.ones(cell.shape[1], cell.shape[1], dtype=torch.bool, device=q.device).tril()
    return scores.masked_fill(~past[:, None], -torch.inf).softmax(-1).flatten(0, 1)


def maps_of(output: Any, layers: Collection[int]) -> dict[int, Tensor]:
    """The same from the output of a model of `transformers`, by layer."""
    given = getattr(output, "attentions", None) or ()
    if layers and (len(given) < max(layers) or any(given[layer - 1] is None for layer in layers)):
        raise UserError(
            "this model does not hand out how its heads attend, which attention_maps reads; take "
            "loss=features, which compares the states of layers"
        )
    return {layer: given[layer - 1].transpose(1, 2).flatten(0, 1) for layer in layers}
