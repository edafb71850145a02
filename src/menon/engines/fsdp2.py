"""Models in parts on ranks, by PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`).

Each rank holds a part of every weight, of its gradient and of its moments. The weights of a layer are brought
together for as long as the layer is computed. Gradients are summed over the ranks, not averaged: a token's
weight is its share of the whole update already.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.nn.utils import get_total_norm

from menon.engines.decoder import Affine, Decoder, Layer
from menon.engines.layers import enter_by_call, layers_of
from menon.engines.llama_family import layer_of
from menon.engines.rank_group import RankGroup
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer

T = TypeVar("T")


@dataclass(frozen=True)
class Sharding:
    """How models are held on ranks."""

    group: RankGroup
    offload: bool = False
    """Keep the parts of weights, gradients and moments in the memory of the host, not of the GPU."""


class Root(nn.Module):
    """All weights of a model and its heads. Its forward is any pass over them: `run` is called once those
    outside of the layers are together."""

    def __init__(self, model: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.model, self.heads = model, nn.ModuleDict(heads)

    def forward(self, run: Callable[[], T]) -> T:
        return run()


class Sharded(TorchScorer):
    """What a scorer and a learner in parts have in common."""

    def __init__(self, sharding: Sharding, *given: Any, **settings: Any) -> None:
        self.sharding = sharding
        self._weights: Mapping[str, Tensor] = {}
        super().__init__(*given, **settings)

    def settle(self, checkpointing: bool) -> None:
        """Cuts the model into parts. Passes run one at a time, in one order on all ranks."""
        layers = layers_of(self.model)
        for layer in layers:
            enter_by_call(layer, checkpointing)
        self._root: Any = Root(self.model, self.heads)
        cut_into_parts(self._root, layers, self.sharding)
        self._weights = dict(super().weights())
        self.workers, self.by_prompt, self.device = 1, False, self.sharding.group.device
        shape = self.readout.network.decoder
        self._live = None if shape is None else partial(live_decoder, shape, self.model, layers)

    def within(self, run: Callable[[], T]) -> T:
        def inside() -> T:
            if self._live is not None:
                network = replace(self.readout.network, decoder=self._live())
                self.readout = replace(self.readout, network=network)
            return run()

        found: T = self._root(inside)
        return found

    def weights(self) -> Mapping[str, Tensor]:
        """The parts, as `DTensor`s."""
        return self._weights or super().weights()

    def release(self) -> None:
        """Gives up the whole tensors that the last passes have brought together."""
        self._root.reshard()


class ShardedScorer(Sharded):
    """A `TorchScorer` in parts."""


class ShardedLearner(Sharded, TorchLearner):
    """A `TorchLearner` in parts; `AdamW` moves each rank's parts."""

    def anywhere(self, here: bool) -> bool:
        return self.sharding.group.anywhere(here)

    def total_norm(self, grads: list[Tensor]) -> Tensor:
        return whole(get_total_norm(grads))

    def put(self, weight: Tensor, given: Tensor) -> None:
        put(weight, given)

    def like(self, weight: Tensor, given: Tensor) -> Tensor:
        made = torch.zeros_like(weight, requires_grad=False)
        put(made, given)
        return made


def cut_into_parts(root: nn.Module, layers: list[nn.Module], sharding: Sharding) -> None:
    """Each rank keeps its part of each weight. The root's own weights (embedding, last norm, heads) stay
    together from a pass to `release`, because rows of logits are read after it."""
    policy = CPUOffloadPolicy() if sharding.offload else OffloadPolicy()
    how: dict[str, Any] = {"mesh": sharding.group.mesh, "offload_policy": policy}
    for layer in layers:
        fully_shard(layer, **how)
    fully_shard(root, reshard_after_forward=False, **how)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def live_decoder(shape: Decoder, model: Any, layers: list[nn.Module]) -> Decoder:
    """The decoder over the tensors that are together now; a layer's are read when it is called."""
    trunk = model.trunk if hasattr(model, "trunk") else model.base_model
    head = None if shape.head is None else model.get_output_embeddings()

    def through(index: int, run: Callable[[Layer, Tensor], Tensor], x: Tensor) -> Tensor:
        layer = layers[index]
        states: Tensor = layer(x, run=lambda inner: run(layer_of(layer), inner))
        return states

    return replace(
        shape,
        embedding=trunk.embed_tokens.weight,
        norm=trunk.norm.weight,
        head=None if head is None else Affine(head.weight, head.bias),
        through=through,
    )


# Parts and wholes


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor in parts, on every rank; all ranks must ask. Others as they are."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """This rank's part."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def put(tensor: Tensor, given: Tensor) -> None:
    """Writes a whole tensor, or one in the same parts, into the parts; no rank waits for another."""
    if not isinstance(tensor, DTensor) or isinstance(given, DTensor):
        own_part(tensor).copy_(own_part(given))
        return
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    place = tuple(slice(first, first + size) for first, size in zip(offset, shape, strict=True))
    tensor.to_local().copy_(given[place])
