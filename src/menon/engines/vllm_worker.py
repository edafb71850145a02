"""What we add to each worker process of vLLM: its weights are changed in place, and shown under the names of
the policy's own model.

vLLM mixes `WorkerWeights` into its worker class (`worker_extension_cls`), wherever its workers live. This
module runs in vLLM's environment only.
"""

import base64
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from menon.sync.fingerprint import content


class WorkerWeights:
    """Functions that an engine calls in all its workers (`collective_rpc`). Their names begin with ours, so
    that they hide none of vLLM's."""

    model_runner: Any

    @torch.no_grad()
    def menon_load(self, file: str) -> int:
        """Copies the tensors of a file into the live weights; returns how many there were. A weight that the
        file lacks stays as it is, also where it is a part of a fused matrix."""
        tensors = load_file(file)
        self.model_runner.model.load_weights(iter(tensors.items()))
        return len(tensors)

    @torch.no_grad()
    def menon_map(self, handles: str) -> int:
        """The same with tensors of another process, in the memory of this worker's GPU."""
        found = pickle.loads(base64.b64decode(handles))
        tensors = ((name, opened(*arguments)) for name, (opened, arguments) in found.items())
        self.model_runner.model.load_weights(tensors)
        torch.accelerator.synchronize()
        return len(found)

    @torch.no_grad()
    def menon_contents(self) -> dict[str, Any]:
        """What `sync.fingerprint.content` says of each weight that this worker computes with."""
        return {name: content(weight) for name, weight in parts_of(self.model_runner.model)}

    @torch.no_grad()
    def menon_adapter(self, rank: int) -> dict[str, Any]:
        """The same of the matrices of the only adapter, without the padding of their rank."""
        return {name: content(matrix) for name, matrix in adapter_of(self.model_runner.model, rank)}


def parts_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights of a model of vLLM by the names of the policy's own model: the parts of fused matrices
    apart, embeddings without padding, tied ones once."""
    fused = getattr(model, "packed_modules_mapping", {})
    seen: set[int] = set()
    for path, module in model.named_modules():
        before, _, last = path.removesuffix(".base_layer").rpartition(".")
        for leaf, weight in module.named_parameters(recurse=False):
            if id(weight) in seen:
                continue
            seen.add(id(weight))
            if last in fused:
                for name, part in zip(fused[last], weight.split(sizes_of(module)), strict=True):
                    yield f"{before}.{name}.{leaf}", part
            else:
                rows = getattr(module, "org_vocab_size", None)
                whole = f"{before}.{last}.{leaf}" if before else f"{last}.{leaf}"
                yield whole, weight if rows is None else weight[:rows]


def sizes_of(module: Any) -> list[int]:
    """Rows of each part of a fused matrix."""
    if hasattr(module, "num_kv_heads"):
        heads, kept, size = module.num_heads, module.num_kv_heads, module.head_size
        return [heads * size, kept * size, kept * getattr(module, "v_head_size", size)]
    return list(module.output_partition_sizes)


def adapter_of(model: nn.Module, rank: int) -> Iterator[tuple[str, Tensor]]:
    """The matrices that the first slot for adapters computes with, as `LAYER.lora_A` and `LAYER.lora_B` of
    the policy's own layers. vLLM multiplies B by the adapter's scale when it reads it. Embedding and output
    over the vocabulary have room for matrices too, not in tuples, which should be 0."""
    fused = getattr(model, "packed_modules_mapping", {})
    for path, module in model.named_modules():
        if not hasattr(module, "lora_a_stacked"):
            continue
        if isinstance(module.lora_a_stacked, Tensor):
            yield f"{path}.lora_A", module.lora_a_stacked
            yield f"{path}.lora_B", module.lora_b_stacked
            continue
        before, _, last = path.rpartition(".")
        names = fused.get(last, [last])
        for name, down, up in zip(names, module.lora_a_stacked, module.lora_b_stacked, strict=True):
            yield f"{before}.{name}.lora_A", down[0, 0, :rank]
            yield f"{before}.{name}.lora_B", up[0, 0, :, :rank]
