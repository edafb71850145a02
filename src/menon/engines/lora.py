"""Adapters (LoRA) in a model, through the library `peft`: put in, merged, taken out, and named as in its
files.

`peft` puts a layer with A and B around a linear layer of the model, in place; the model keeps its class. Only
A and B learn. Models of one run share the frozen weights: the reference, a critic's trunk and the sampler
cost no second copy of what the adapter leaves as it is.
"""

import copy
import difflib
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from menon.errors import UserError, pip_install
from menon.streams import stream
from menon.update.adapter import Adapter

NAME = "default"
"""The name by which peft knows the adapter in a model."""
PREFIX = "base_model.model."
"""How the names of an adapter's tensors begin in peft's files."""
INNER = ".base_layer."
"""Where peft puts the layer that it wraps."""


def peft_library() -> ModuleType:
    """The library. UserError: it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import peft
    except ImportError as error:
        raise UserError(
            f"an adapter needs the library peft, which is not installed; install it by {pip_install('peft')}"
        ) from error
    return peft


def layers(model: nn.Module) -> dict[str, Any]:
    """The linear layers of a model that have an adapter, by the names that they have without it."""
    return {name: part for name, part in model.named_modules() if is_layer(part)}


def is_layer(part: Any) -> bool:
    return hasattr(part, "lora_A") and hasattr(part, "base_layer")


def has_adapter(model: nn.Module) -> bool:
    return any(map(is_layer, model.modules()))


def num_parameters(model: nn.Module) -> int:
    """The number of a model's weights, without an adapter's."""
    return sum(weight.numel() for name, weight in model.named_parameters() if ".lora_" not in name)


# Putting one in


def attach(model: Any, setting: Adapter, seed: int, name: str) -> None:
    """Puts a new adapter into a model, in place, and freezes everything else. `name` is what the user calls
    the model. UserError: targets that match no linear layer, or a rank that no matrix of the size has."""
    peft = peft_library()
    chosen = linears_named(model, setting.targets, name)
    for each, layer in chosen.items():
        most = min(layer.weight.shape)
        if setting.rank > most:
            smallest = min(min(one.weight.shape) for one in chosen.values())
            shape = " x ".join(map(str, layer.weight.shape))
            raise UserError(
                f"adapter.rank is {setting.rank}, and {each} of {name} has {shape} weights, whose rank is at "
                f"most {most}; set adapter.rank to {smallest} or less, or leave the layer out of "
                "adapter.targets"
            )
    inject(
        model,
        peft.LoraConfig(
            r=setting.rank,
            lora_alpha=setting.alpha,
            target_modules=short_names(model, chosen),
            task_type="CAUSAL_LM",
            # GPT-2 keeps its matrices the other way round.
            fan_in_fan_out=any(type(layer) is not nn.Linear for layer in chosen.values()),
        ),
    )
    with torch.no_grad():
        for each, part in layers(model).items():
            down = part.lora_A[NAME].weight
            bound = down.shape[1] ** -0.5
            drawn = stream(seed, "adapter", each).uniform(-bound, bound, size=tuple(down.shape))
            down.copy_(torch.from_numpy(drawn))
            part.lora_B[NAME].weight.zero_()


def inject(model: Any, config: Any) -> None:
    """Lets peft wrap the layers that a configuration of its own names; the weights are still to be set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft_library().inject_adapter_in_model(config, model, NAME)
    model.eval()


def linears(model: Any) -> dict[str, Any]:
    """The linear layers by name, without the output over the vocabulary."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    kinds = (nn.Linear, Conv1D)
    return {name: part for name, part in model.named_modules() if type(part) in kinds and part is not head}


def linears_named(model: Any, targets: Sequence[str], name: str) -> dict[str, Any]:
    """The linear layers that the targets name. UserError: one of them names none."""
    every = linears(model)
    chosen: dict[str, Any] = {}
    for target in targets:
        found = {each: part for each, part in every.items() if f".{each}".endswith(f".{target}")}
        if not found:
            ends = list(dict.fromkeys(each.rpartition(".")[2] for each in every))
            near = difflib.get_close_matches(target, ends, 1)
            hint = f"did you mean {near[0]}? There" if near else "there"
            raise UserError(
                f"adapter.targets names '{target}', which is no linear layer of {name}; {hint} are "
                f"{', '.join(ends)}"
            )
        chosen |= found
    if not every:
        raise UserError(f"{name} has no linear layers that an adapter could be put around; set adapter=null")
    return {each: part for each, part in every.items() if each in chosen} if targets else every


def short_names(model: nn.Module, chosen: dict[str, Any]) -> list[str]:
    """The last parts of the layers' names, as in most adapters; whole names where such a part would name
    another layer too."""
    ends = {each.rpartition(".")[2] for each in chosen}
    others = {each.rpartition(".")[2] for each, _ in model.named_modules() if each not in chosen}
    return sorted(ends if not ends & others else chosen)


# What learns, and by which names


def own_parameters(model: nn.Module) -> dict[str, Tensor]:
    """The live weights of a model; of one with an adapter only what is not frozen (the adapter, and a head of
    its own), the adapter's by their names in peft's files."""
    named: dict[str, Tensor] = dict(model.named_parameters())
    if not has_adapter(model):
        return named
    found = {name: weight for name, weight in named.items() if weight.requires_grad or ".lora_" in name}
    return {file_name(name) if ".lora_" in name else name: weight for name, weight in found.items()}


def file_name(name: str) -> str:
    """
    >>> file_name("model.layers.0.mlp.up_proj.lora_A.default.weight")
    'base_model.model.model.layers.0.mlp.up_proj.lora_A.weight'
    """
    return PREFIX + name.replace(f".{NAME}.", ".")


def adapter_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name in peft's files, live tensor) of the adapter alone, one at a time: what a sampler needs that has
    the model and takes adapters."""
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            yield file_name(name), weight.detach()


# Merging


def as_it_is(weight: Tensor) -> Tensor:
    return weight


@torch.no_grad()
def merged_weight(layer: Any, whole: Callable[[Tensor], Tensor] = as_it_is) -> Tensor:
    """W + (alpha / rank) B A of a layer, in the dtype of B A. `whole` brings together what is in parts."""
    change = whole(layer.lora_B[NAME].weight) @ whole(layer.lora_A[NAME].weight)
    change = (change.T if layer.fan_in_fan_out else change) * layer.scaling[NAME]
    return whole(layer.base_layer.weight).to(change.dtype) + change


def merged_tensors(
    model: nn.Module, whole: Callable[[Tensor], Tensor] = as_it_is
) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of every weight of the model that the adapter makes, by the names that the model has
    without it, one at a time, `whole` where they are in parts."""
    wrapped = layers(model)
    for name, weight in model.named_parameters():
        layer, inner, part = name.partition(INNER)
        if inner and part == "weight":
            yield f"{layer}.weight", merged_weight(wrapped[layer], whole)
        elif ".lora_" not in name:
            yield name.replace(INNER, "."), whole(weight.detach())


def sharing_copy(model: Any) -> Any:
    """A copy whose frozen weights are those of the model, and whose others are its own."""
    return copy.deepcopy(
        model, {id(weight): weight for weight in model.parameters() if not weight.requires_grad}
    )


def base_of(model: Any) -> Any:
    """The model as it is without its adapter; all its weights are those of the given one."""
    return _taken_out(model, lambda layer: layer.base_layer.weight)


def merged_copy(model: Any, dtype: torch.dtype | None = None) -> Any:
    """The model that the adapter makes, as an ordinary model. Weights that the adapter leaves as they are and
    that have the dtype already are shared with the given one. None: the dtype of each weight now."""

    def merged(layer: Any) -> nn.Parameter:
        whole = merged_weight(layer)
        return nn.Parameter(whole if dtype is None else whole.to(dtype), requires_grad=False)

    found = _taken_out(model, merged)
    if dtype is not None:
        made: dict[int, nn.Parameter] = {}
        for part in found.modules():
            for name, weight in part.named_parameters(recurse=False, remove_duplicate=False):
                if weight.dtype != dtype:
                    made.setdefault(id(weight), nn.Parameter(weight.to(dtype), requires_grad=False))
                    setattr(part, name, made[id(weight)])
    return found.eval()


def _taken_out(model: Any, weight_of: Callable[[Any], nn.Parameter]) -> Any:
    found = sharing_copy(model)
    for name, layer in layers(found).items():
        inside = layer.base_layer
        inside.weight = weight_of(layer)
        above, _, last = name.rpartition(".")
        setattr(found.get_submodule(above), last, inside)
    if hasattr(found, "peft_config"):
        del found.peft_config
    return found


@torch.no_grad()
def hold_in_bfloat16(model: Any) -> None:
    """Halves the memory of frozen float32 matrices whose numbers bfloat16 holds exactly, as it does those of
    most published models, for a run that computes in bfloat16. In place, so that models that share them see
    it. Norms, embeddings and the output over the vocabulary stay: residuals and logits are in float32."""
    for layer in linears(model).values():
        weight = layer.weight
        if weight.requires_grad or weight.dtype != torch.float32:
            continue
        narrow = weight.to(torch.bfloat16)
        if torch.equal(narrow.to(weight.dtype), weight):
            weight.data = narrow
