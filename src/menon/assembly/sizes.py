"""Memory and time of a run on GPUs, by formula: nothing is built and nothing runs (docs/sizes.md).

A learner whose weights, gradients and moments are cut over all GPUs (FSDP2) and a sampler that has its own
weights in bfloat16 are on the same GPUs. Every assumption is a field of `Assumed`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from menon.engines.log_probs import CHUNK

GIB = 2**30
FULL, HALF, MOMENTS = 4, 2, 8
"""Bytes of a number in float32, in bfloat16, and of AdamW's two moments of a weight."""
HOST_MEMORY = 40e9
"""Bytes a second of the host's memory for each of its GPUs."""


@dataclass(frozen=True)
class Shape:
    """What the formulas read of a model of the Llama family, dense or a mixture of experts."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    """Numbers between the matrices of an MLP; of one expert in a mixture."""
    heads: int
    key_heads: int
    head_dim: int
    vocabulary: int
    tied: bool = False
    experts: int = 1
    chosen: int = 1
    """Experts that a token goes through."""

    @property
    def attention(self) -> int:
        """Weights of a layer's attention."""
        return 2 * self.hidden * self.head_dim * (self.heads + self.key_heads)

    @property
    def expert(self) -> int:
        """Weights of an MLP, or of one expert."""
        return 3 * self.hidden * self.intermediate

    @property
    def layer(self) -> int:
        router = self.hidden * self.experts if self.experts > 1 else 0
        return self.attention + self.experts * self.expert + router

    @property
    def parameters(self) -> int:
        """All weights but norms and biases, which are below .1 % of a model of half a billion."""
        return self.layers * self.layer + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def active(self) -> int:
        """The weights that multiply a token: without the embedding, and with the chosen experts alone."""
        unused = (self.experts - self.chosen) * self.expert
        return self.layers * (self.layer - unused) + self.vocabulary * self.hidden

    @property
    def kv(self) -> int:
        """Numbers of one token's keys and values."""
        return self.layers * 2 * self.key_heads * self.head_dim

    def adapter(self, rank: int) -> int:
        """Weights of an adapter of all linear layers. The experts of a mixture are no linear layers."""
        wide, narrow = self.head_dim * self.heads, self.head_dim * self.key_heads
        inner = 3 * (self.hidden + self.intermediate) if self.experts == 1 else 0
        return self.layers * rank * (2 * (self.hidden + wide) + 2 * (self.hidden + narrow) + inner)


SHAPES = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Shape("135M", 30, 576, 1536, 9, 3, 64, 49_152, tied=True),
    "Qwen/Qwen2.5-0.5B": Shape("0.5B", 24, 896, 4864, 14, 2, 64, 151_936, tied=True),
    "Qwen/Qwen2.5-1.5B": Shape("1.5B", 28, 1536, 8960, 12, 2, 128, 151_936, tied=True),
    "Qwen/Qwen2.5-7B": Shape("7B", 28, 3584, 18_944, 28, 4, 128, 152_064),
    "Qwen/Qwen2.5-32B": Shape("32B", 64, 5120, 27_648, 40, 8, 128, 152_064),
    "Qwen/Qwen3-235B-A22B": Shape("235B-A22B", 94, 4096, 1536, 64, 4, 128, 151_936, experts=128, chosen=8),
}
"""The sizes in their published config.json, by name on the hub."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as its maker describes it."""

    name: str
    memory: float
    """Bytes."""
    flops: float
    """Of dense bfloat16 products, a second."""
    bandwidth: float
    """Bytes of its memory a second."""
    near: float
    """Bytes a second to another GPU of the same host, one way."""
    far: float = 50e9
    """The same to another host: 400 Gbit/s for each GPU."""
    in_host: int = 8
    host: float = 50e9
    """Bytes a second from its host's memory: of the 64 GB/s of PCIe 5."""


GPUS = {
    "rtx4090": Gpu("GeForce RTX 4090", 24e9, 165e12, 1.008e12, 25e9, host=25e9),
    "a100": Gpu("A100 SXM", 80e9, 312e12, 2.039e12, 300e9),
    "h100": Gpu("H100 SXM", 80e9, 989e12, 3.35e12, 450e9),
    "h200": Gpu("H200 SXM", 141e9, 989e12, 4.8e12, 450e9),
}
"""NVIDIA's data sheets of the A100 80GB, the H100 and the H200 (SXM), and its paper on the Ada architecture,
with products summed in float32; NVLink's figures are for both ways, half of which is taken. A GPU without
NVLink moves what a PCIe 4.0 slot does."""


@dataclass(frozen=True)
class Assumed:
    """What the formulas take for granted."""

    mfu: float = 0.4
    """Share of the GPU's FLOP/s that a training pass reaches."""
    decode_bandwidth: float = 0.6
    """Share of the memory's bandwidth that decoding reaches."""
    decode_flops: float = 0.3
    """Share of the FLOP/s that decoding reaches where they are the limit."""
    link: float = 0.7
    """Share of the links' bandwidth."""
    usable: float = 0.9
    """Share of the GPU's memory that tensors may take; the rest is CUDA's and lost between them."""


@dataclass(frozen=True)
class Work:
    """One step."""

    answers: int = 1024
    prompt: int = 256
    """Tokens of a prompt."""
    length: int = 2048
    """Mean tokens of an answer."""
    longest: int = 4096
    scored: int = 1
    """Passes without gradient over the step: log-probs of the trainer before it, of the reference."""
    samples: int = 8
    """Answers to a prompt, which is computed once."""

    @property
    def tokens(self) -> int:
        return self.answers * (self.prompt + self.length)


@dataclass(frozen=True)
class Layout:
    """How a run is laid out on GPUs."""

    gpus: int = 1
    rank: int = 0
    """Of an adapter; 0: all weights learn."""
    reference: bool = False
    offload: bool = False
    """The parts of weights, gradients and moments are in the host's memory, where AdamW moves them."""
    tokens_per_forward: int = 8192
    """On each GPU."""
    recompute: bool = True
    """Of a layer only its input is kept for the backward pass (activation checkpointing)."""
    slots: int = 256
    """Answers that are written at a time on each GPU."""

    def words(self) -> str:
        """The settings of a run that is laid out so."""
        found = [f"ranks={self.gpus}"] if self.gpus > 1 else []
        found += [f"adapter.rank={self.rank}"] if self.rank else []
        found += ["offload=true"] if self.offload else []
        found += [f"slots={self.slots}"] if self.slots < Layout.slots else []
        found += [f"tokens_per_forward={self.tokens_per_forward}"] if self.tokens_per_forward < 8192 else []
        return " ".join(found) or "as it is"


def learner_bytes(shape: Shape, layout: Layout) -> dict[str, float]:
    """Bytes on each GPU while the policy learns, by what holds them."""
    count, learned = layout.gpus, shape.adapter(layout.rank) if layout.rank else shape.parameters
    embeddings = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    frozen = 0
    if layout.rank:  # on one GPU in bfloat16, in parts in float32
        frozen = FULL * shape.parameters - (HALF * (shape.parameters - embeddings) if count == 1 else 0)
    inside = 8 * shape.hidden + 4 * shape.intermediate * shape.chosen
    token = HALF * (shape.layers * shape.hidden + inside if layout.recompute else shape.layers * inside)
    if count > 1:  # embeddings, the layer that computes and the next one, and autocast's copy of a layer
        whole = FULL * (embeddings + 2 * shape.layer) + HALF * shape.layer
    else:  # autocast's copies of what is in float32
        whole = 0 if layout.rank else HALF * shape.parameters
    tokens, here = layout.tokens_per_forward, 0 if layout.offload else 1 / count
    reference = layout.reference and not (layout.rank and count == 1)
    return {
        "weights": (frozen + FULL * learned) * here,
        "gradients": FULL * learned * here,
        "moments": MOMENTS * learned * here,
        "reference": FULL * shape.parameters * here if reference else 0,
        "whole layers": whole,
        "activations": token * tokens,
        "logits": 3 * FULL * min(CHUNK, tokens * shape.vocabulary),
    }


def ways(shape: Shape, gpu: Gpu, count: int, assumed: Assumed = Assumed()) -> int:
    """Over how many GPUs a sampler's weights are cut: the fewest on which they take at most half."""
    cut = 1
    while cut < count and HALF * shape.parameters / cut > gpu.memory * assumed.usable / 2:
        cut *= 2
    return cut


def sampler_bytes(shape: Shape, layout: Layout, work: Work, cut: int) -> dict[str, float]:
    """Bytes on each GPU while answers are written. A slot is counted with the mean of what it holds: half of
    a mean answer, after its prompt."""
    each = shape.kv * HALF * (work.prompt + work.length / 2)
    return {
        "sampler's weights": HALF * shape.parameters / cut,
        "keys and values": slots_of(layout, work) * each * cut / min(cut, shape.key_heads),
    }


def slots_of(layout: Layout, work: Work) -> float:
    """Answers that are written at a time, for each GPU."""
    return min(layout.slots, work.answers / layout.gpus)


def peak(shape: Shape, layout: Layout, work: Work, gpu: Gpu, assumed: Assumed = Assumed()) -> float:
    """The most bytes on a GPU."""
    learner = sum(learner_bytes(shape, layout).values())
    return learner + sum(sampler_bytes(shape, layout, work, ways(shape, gpu, layout.gpus, assumed)).values())


def fits(shape: Shape, layout: Layout, work: Work, gpu: Gpu, assumed: Assumed = Assumed()) -> bool:
    return peak(shape, layout, work, gpu, assumed) <= gpu.memory * assumed.usable


def layouts(simplest: Layout) -> Iterator[Layout]:
    """From the simplest on; what each saves costs time, or trains less than all weights. Where all weights
    were to learn, adapters come last."""
    for kind in (simplest,) if simplest.rank else (simplest, replace(simplest, rank=32)):
        yield kind
        few = replace(kind, slots=min(kind.slots, 64), tokens_per_forward=min(kind.tokens_per_forward, 4096))
        yield few
        if kind.gpus > 1:
            yield replace(kind, offload=True)
            yield replace(few, offload=True)


def first_that_fits(shape: Shape, simplest: Layout, work: Work, gpu: Gpu) -> Layout | None:
    """The simplest layout that fits; None: none does."""
    return next((layout for layout in layouts(simplest) if fits(shape, layout, work, gpu)), None)


def shape_of(config: Any, name: str) -> Shape | None:
    """Of a model's configuration; None where it is not one that the formulas are about."""
    text = config.get_text_config()
    experts = getattr(text, "num_experts", 0) or getattr(text, "num_local_experts", 0) or 1
    chosen = getattr(text, "num_experts_per_tok", 0) if experts > 1 else 1
    wide: Any = getattr(text, "moe_intermediate_size", None) if experts > 1 else None
    heads = getattr(text, "num_attention_heads", 0)
    found = [getattr(text, key, 0) for key in ("num_hidden_layers", "hidden_size", "vocab_size")]
    wide = wide or getattr(text, "intermediate_size", 0)
    if not all(isinstance(number, int) and number for number in (*found, heads, wide, chosen)):
        return None
    return Shape(
        name,
        layers=found[0],
        hidden=found[1],
        intermediate=int(wide or 0),
        heads=heads,
        key_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or found[1] // heads,
        vocabulary=found[2],
        tied=bool(getattr(config, "tie_word_embeddings", False)),
        experts=experts,
        chosen=chosen,
    )


# Time


def attention_flops(shape: Shape, length: float) -> float:
    """FLOPs of a token's scores and mixing, forward: 4 for each number of its queries and each of the length
    / 2 tokens before it."""
    return 4 * shape.layers * shape.heads * shape.head_dim * length / 2


def seconds(
    shape: Shape, layout: Layout, work: Work, gpu: Gpu, assumed: Assumed = Assumed()
) -> dict[str, float]:
    """Seconds of a step by what takes them."""
    forward = 2 * shape.active + attention_flops(shape, work.prompt + work.length)
    # Backward takes twice a forward pass: once for states, once for weights, which frozen ones do without.
    passes = (2 if layout.rank else 3) + layout.recompute
    speed = layout.gpus * gpu.flops * assumed.mfu
    link = (gpu.near if layout.gpus <= gpu.in_host else gpu.far) * assumed.link
    number = math.ceil(work.tokens / (layout.gpus * layout.tokens_per_forward))
    learned = shape.adapter(layout.rank) if layout.rank else shape.parameters
    # Whole layers come for the forward and for the backward pass, and gradients go, all in float32.
    moved = (2 * FULL * shape.parameters + FULL * learned) * number if layout.gpus > 1 else 0
    # What is offloaded comes from the host for each pass; AdamW reads and writes 7 numbers a weight there.
    host = moved / layout.gpus / gpu.host + 7 * FULL * learned / layout.gpus / HOST_MEMORY
    return {
        "write": writing_seconds(shape, layout, work, gpu, assumed),
        "score": work.scored * forward * work.tokens / speed,
        "learn": max(passes * forward * work.tokens / speed, moved / link) + layout.offload * host,
        "publish": HALF * shape.parameters / ways(shape, gpu, layout.gpus, assumed) / link,
    }


def writing_seconds(shape: Shape, layout: Layout, work: Work, gpu: Gpu, assumed: Assumed) -> float:
    """A step of decoding reads the weights once and all keys and values, or computes longer than that; the
    last answers are written by fewer and fewer slots, which is left out but for the longest."""
    cut = ways(shape, gpu, layout.gpus, assumed)
    rows = slots_of(layout, work) * cut
    used = 1 - (1 - shape.chosen / shape.experts) ** rows
    idle = shape.layers * shape.experts * shape.expert * (1 - used) if shape.experts > 1 else 0
    read = HALF * (shape.parameters - idle) + rows * HALF * shape.kv * (work.prompt + work.length / 2)
    computed = rows * (2 * shape.active + attention_flops(shape, work.length))
    step = max(
        read / (cut * gpu.bandwidth * assumed.decode_bandwidth),
        computed / (cut * gpu.flops * assumed.decode_flops),
    )
    engines = layout.gpus / cut
    steps = max(work.answers / engines * work.length / rows, work.longest)
    prompts = 2 * shape.active * work.answers / work.samples * work.prompt
    return steps * step + prompts / (layout.gpus * gpu.flops * assumed.mfu)
