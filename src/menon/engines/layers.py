"""The layers of a model of `transformers`: how one is entered, and computed again in the backward pass."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from menon.engines.decoder import Decoder, Layer
from menon.engines.network import Network


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Those that `transformers` does not cut apart, in their order."""
    names = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    return [module for module in model.modules() if type(module).__name__ in names]


def again(compute: Callable[[Tensor], Any], x: Tensor) -> Any:
    """`compute(x)`; for a backward pass only x is kept, and the rest is computed again."""
    if not torch.is_grad_enabled():
        return compute(x)
    return checkpoint(compute, x, use_reentrant=False, preserve_rng_state=False)


def enter_by_call(layer: Any, checkpointing: bool) -> None:
    """Lets the call of a layer run the code that it is given (`run`), in place of its own forward."""
    own = layer.forward

    def forward(x: Tensor, *given: Any, run: Callable[[Tensor], Any] | None = None, **named: Any) -> Any:
        compute = run or (lambda states: own(states, *given, **named))
        return again(compute, x) if checkpointing else compute(x)

    layer.forward = forward


def with_checkpointing(network: Network, model: nn.Module) -> Network:
    """The network, whose layers keep nothing but what goes into them."""
    for layer in layers_of(model):
        enter_by_call(layer, checkpointing=True)
    if network.decoder is None:
        return network
    return replace(network, decoder=replace(network.decoder, through=_through(network.decoder)))


def _through(decoder: Decoder) -> Callable[[int, Callable[[Layer, Tensor], Tensor], Tensor], Tensor]:
    def through(index: int, run: Callable[[Layer, Tensor], Tensor], x: Tensor) -> Tensor:
        states: Tensor = again(partial(run, decoder.layers[index]), x)
        return states

    return through
