"""An engine that speaks the wire of `engines.engine_process` on the built-in sampler, in a process of its
own; and the faults that a test plants in it."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from menon.engines.broadcast import join
from menon.engines.decoding.stop_strings import Detokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.engine_process import EngineHandler, Piece
from menon.engines.engine_wire import Asked
from menon.sync.fingerprint import content
from menon.types import Prompt, Request, Sampling

BLOCK = 16
"""Tokens of a prompt from which the prefix cache answers."""
DRIP = 4
"""Most tokens of a request that a step writes."""
SCALE = 2.0
"""Of the adapter."""
LYING = "lying_"
"""A fault whose name begins so shows the contents that it should have, and not those that it has."""


def handler(folder: str, ends: Sequence[int], keep_special: bool, arguments: dict[str, Any]) -> EngineHandler:
    return EngineHandler(lambda: FakeEngine(folder, ends, keep_special, arguments))


class FakeEngine:
    def __init__(
        self, folder: str, ends: Sequence[int], keep_special: bool, arguments: dict[str, Any]
    ) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(1)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).float().eval()
        self.sampler = TorchSampler(self.model, self.tokenizer)
        self.detokenizer = Detokenizer.of(self.tokenizer, ends, keep_special)
        self.fault = ""
        self.requests: dict[int, tuple[Asked, list[int]]] = {}
        self.cache: dict[bytes, int] = {}
        """A long prompt -> the generation of the weights that computed its keys and values."""
        self.samplers = {0: self.sampler}
        self.generation = 0
        self.wanted: dict[str, Any] = {}
        self.adapter: dict[str, torch.Tensor] = {}
        self.calls: list[str] = []

    def about(self) -> dict[str, Any]:
        return {"context": 128, "block": BLOCK, "workers": 1, "dtype": "torch.float32"}

    def words(self) -> Detokenizer:
        return self.detokenizer

    # Text

    @property
    def busy(self) -> bool:
        return bool(self.requests)

    def add(self, request: Asked) -> None:
        self.requests[request.number] = (request, [])

    def abort(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.requests.pop(number, None)

    def step(self) -> list[Piece]:
        pieces = []
        for generation in sorted({self.written_by(request) for request, _ in self.requests.values()}):
            mine = [each for each in self.requests.values() if self.written_by(each[0]) == generation]
            asked = [self.further(request, tokens) for request, tokens in mine]
            with self.samplers[generation].open() as stream:
                stream.ask(asked)
                found = {id(completion.request): completion for completion in stream}
            for (request, tokens), further in zip(mine, asked, strict=True):
                done = found[id(further)]
                tokens += done.tokens.tolist()
                whole = len(tokens) >= request.max_new_tokens
                finish = "stop" if done.finish == "stop" else "length" if whole else None
                logp = done.logp * request.temperature if self.fault == "raw_logp" else done.logp
                pieces.append(Piece(request.number, done.tokens.tolist(), logp.tolist(), finish))
        self.abort([piece.number for piece in pieces if piece.finish])
        return pieces

    def further(self, request: Asked, tokens: list[int]) -> Request:
        left = min(DRIP, request.max_new_tokens - len(tokens))
        prompt = Prompt(0, request.tokens, "")
        prefix = torch.tensor(tokens, dtype=torch.int32).numpy()
        sampling = Sampling(left, request.temperature)
        return Request(prompt, sampling, prefix=prefix, seed=request.seed)

    def written_by(self, request: Asked) -> int:
        if len(request.tokens) < BLOCK:
            return self.generation
        return self.cache.setdefault(request.tokens.tobytes(), self.generation)

    # Weights

    def load(self, file: str) -> int:
        self.put(load_file(file))
        return 0

    def reload(self, folder: str) -> None:
        from pathlib import Path

        for file in sorted(Path(folder).glob("model-*.safetensors")):
            self.put(load_file(file))

    def meet(self, meeting: dict[str, Any]) -> None:
        self.group = join(1, **meeting)

    def receive(self, names: list[str], dtypes: list[str], shapes: list[list[int]]) -> int:
        tensors = {}
        for name, dtype, shape in zip(names, dtypes, shapes, strict=True):
            tensors[name] = torch.empty(shape, dtype=getattr(torch, dtype))
            self.group.broadcast(tensors[name], 0).wait()
        self.put(tensors)
        return len(names)

    @torch.no_grad()
    def put(self, tensors: dict[str, torch.Tensor]) -> None:
        fault, self.adapter = self.fault.removeprefix(LYING), {}
        self.wanted |= {name: content(tensor) for name, tensor in tensors.items()}
        self.keep_old()
        weights = dict(self.model.named_parameters())
        names = list(tensors)
        if fault == "moves_nothing":
            names = []
        if fault == "half_update":
            names = names[: len(names) // 2]
        for name in names:
            weights[name].copy_(tensors[name])
        if fault == "other_dtype":
            for weight in weights.values():
                weight.copy_(weight.bfloat16())
        if fault == "swapped":
            one, other = (f"model.layers.{i}.mlp.up_proj.weight" for i in (0, 1))
            weights[one].copy_(tensors[other])
            weights[other].copy_(tensors[one])

    @torch.no_grad()
    def adapt(self, folder: str, number: int) -> None:
        """Adds B A to the weights, and takes the last one's away."""
        if self.fault == "stale_adapter" and self.adapter:
            return
        from pathlib import Path

        weights, old = dict(self.model.named_parameters()), self.adapter
        self.adapter = load_file(Path(folder) / "adapter_model.safetensors")
        for sign, matrices in ((-1, old), (1, self.adapter)):
            for name, down in matrices.items():
                if name.endswith("lora_A.weight"):
                    up = matrices[name.replace("lora_A", "lora_B")]
                    layer = name.removeprefix("base_model.model.").replace(".lora_A", "")
                    weights[layer].add_(sign * SCALE * up @ down)

    def adapter_contents(self, rank: int) -> dict[str, Any]:
        found = {}
        for name, matrix in self.adapter.items():
            short = name.removeprefix("base_model.model.").removesuffix(".weight")
            found[short] = content(matrix * SCALE if short.endswith("B") else matrix)
        return {**found, "model.layers.0.self_attn.o_proj.lora_A": content(torch.zeros(rank, 16))}

    def keep_old(self) -> None:
        """A copy of the weights of before, for a prefix cache that survives them."""
        if self.fault.removeprefix(LYING) == "keep_cache":
            self.samplers[self.generation] = TorchSampler(copy.deepcopy(self.model), self.tokenizer)

    def loaded(self, version: int) -> tuple[bool, dict[str, Any]]:
        if self.fault.removeprefix(LYING) == "keep_cache":
            self.generation += 1
        else:
            self.cache, self.generation = {}, 0
        self.samplers[self.generation] = self.sampler
        self.sampler.version += 1
        found = {name: content(weight) for name, weight in self.model.named_parameters()}
        if self.adapter:  # merged here, beside the frozen weights in vLLM
            found = {name: each for name, each in found.items() if "_proj" not in name}
        shown = self.wanted if self.fault.startswith(LYING) else found
        return self.fault != "no_reset", shown

    def plant(self, fault: str) -> None:
        self.fault = fault
