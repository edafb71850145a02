"""The settings of where and how a run computes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from menon.errors import UserError, at_least
from menon.settings import FreeSettings, choice


@dataclass(frozen=True)
class ThisMachine:
    """All processes of the run are children of the one that trains."""

    kind: Literal["local"] = "local"


@dataclass(frozen=True)
class OnRay:
    """Ray chooses the hosts of samplers and ranks (docs/cluster.md)."""

    kind: Literal["ray"] = "ray"
    address: str = ""
    """The cluster to join, like 10.0.0.1:6379; empty: that of RAY_ADDRESS, or a new one on this machine."""
    interface: str = ""
    """The address of this machine to which processes on other hosts connect; empty: the one that Ray uses."""


PlacementPart = ThisMachine | OnRay
Placement = Annotated[PlacementPart, choice(PlacementPart)]


@dataclass(frozen=True)
class Builtin:
    """The built-in sampler, on the learner's own weights or on a copy of them in this process."""

    kind: Literal["builtin"] = "builtin"


@dataclass(frozen=True)
class VLLM:
    """vLLM 0.28 or newer, as an engine in an environment and a process of its own, or as a server."""

    kind: Literal["vllm"] = "vllm"
    python: str = ""
    """Path of the interpreter of an environment that has vLLM. It is started there."""
    server: str = ""
    """Address of a vLLM server in place of `python`, like http://127.0.0.1:8000."""
    weights: Literal["changed", "file", "adapter", "broadcast", "nccl", "ipc"] = "changed"
    """How new weights reach it. changed: the tensors that changed, in a file; file: a whole model folder,
    which it loads by its own means; adapter: those of the adapter alone, which it puts in place of the last
    one; broadcast: over gloo between CPUs; nccl: the same between GPUs; ipc: as
    memory of a GPU that both use."""
    cache_gib: float | None = None
    """GiB for its keys and values; null: a quarter of what is free beside its weights, at most
    8."""
    arguments: FreeSettings = field(default_factory=dict)
    """Further arguments of vLLM's engine, by its own names, like enforce_eager."""

    def __post_init__(self) -> None:
        if bool(self.python) == bool(self.server):
            raise UserError(
                "sampler=vllm needs sampler.python=PATH, the interpreter of an environment that has vLLM, or "
                "sampler.server=URL; docs/vllm.md says how to make one"
            )
        if self.cache_gib is not None and not self.cache_gib > 0:
            raise UserError(f"sampler.cache_gib is {self.cache_gib:g}; it must be above 0")


@dataclass(frozen=True)
class OpenAI:
    """Any server with `/v1/completions` that takes and returns token ids, and returns log-probs."""

    kind: Literal["openai"] = "openai"
    server: str = ""
    """Its address, up to where the API begins: http://127.0.0.1:8000/v1."""
    model: str = ""
    """The model's name at the server; "": the only one that it has."""
    reload: str = ""
    """The address that loads a model folder: a POST of {"model_path": FOLDER}, such as
    http://127.0.0.1:8000/update_weights_from_disk. The folder must be seen by the server."""
    key_variable: str = "OPENAI_API_KEY"
    """The environment variable that has the key."""

    def __post_init__(self) -> None:
        if not self.server:
            raise UserError("sampler=openai needs sampler.server=URL, like http://127.0.0.1:8000/v1")


SamplerPart = Builtin | OpenAI | VLLM
"""The samplers that a configuration file can name."""
SamplerSetting = Annotated[SamplerPart, choice(SamplerPart)]


@dataclass(frozen=True)
class Engine:
    """Where and how a run computes. These settings change memory and speed, and numbers only by rounding."""

    tokens_per_forward: int = 8192
    """Padded tokens of the forward passes that run at a time. It affects memory only."""
    sampler: SamplerSetting = field(default_factory=Builtin)
    """Who writes the answers: builtin, vllm or openai. vllm needs sampler.python=PATH, the interpreter of an
    environment that has it; openai is a server."""
    slots: int = 256
    """Answers that are written at the same time. Affects memory and speed only."""
    fixed_slots: bool = False
    """Always compute all slots; slower, and the same bits in any company. The bits of an answer then do not
    depend on the answers written beside it."""
    threads: int | None = None
    """Threads; null: as many as are free."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Dtype of the weights that compute. With bfloat16 the optimiser keeps float32 weights. dtype=auto takes
    bfloat16 where the device multiplies in it, else float32."""
    device: str = "auto"
    """auto (cuda if there is one), cpu, cuda, cuda:1, ..."""
    ranks: int = 1
    """Processes that share each model. Each holds a part of all weights, gradients and moments, and computes
    its part of each update. On GPUs each has its own. 1: the models are in the run's own process."""
    checkpointing: bool = False
    """Compute each layer again in the backward pass, for less memory. It keeps nothing of the inside of a
    layer, and takes about a third more time."""
    offload: bool = False
    """Keep weights, gradients and moments in the memory of the host. For ranks on GPUs."""
    samplers: int | None = None
    """Processes that write text, each with its own copy of the weights. They divide the threads. null: the
    run's own process writes, or one where Ray places them."""
    colocated: bool = False
    """Samplers and learner take turns in the memory of one machine. The learner's weights and moments wait in
    a file while text is written, and the samplers' caches are freed while it learns."""
    placement: Placement = field(default_factory=ThisMachine)
    """Where the processes of the run are: `local` or `ray`."""

    @property
    def num_samplers(self) -> int:
        """How many processes of the built-in sampler write text; 0: the run's own one does, or another
        sampler."""
        if not isinstance(self.sampler, Builtin):
            return 0
        return (1 if isinstance(self.placement, OnRay) else 0) if self.samplers is None else self.samplers

    def __post_init__(self) -> None:
        at_least(1, "ranks", self.ranks)
        if self.offload and self.ranks == 1:
            raise UserError(
                "offload is about models in parts on GPUs; set ranks to at least 2, or leave it out"
            )
        if self.samplers is not None:
            at_least(1, "samplers", self.samplers)
            if not isinstance(self.sampler, Builtin):
                raise UserError(
                    f"samplers={self.samplers} are processes of the built-in sampler; leave it out with "
                    f"sampler={self.sampler.kind}"
                )
        if self.colocated and not self.num_samplers:
            raise UserError("colocated=true is about samplers in processes of their own; set samplers=1")
        if self.colocated and self.ranks > 1:
            raise UserError("colocated=true works with ranks=1; leave one of them out")
        at_least(1, "tokens_per_forward", self.tokens_per_forward)
        at_least(1, "slots", self.slots)
        if self.threads is not None:
            at_least(1, "threads", self.threads)

    def check_whole(self, needs: Mapping[str, bool]) -> None:
        """UserError where models are in parts and one of the `needs`, by name, is a whole model in one
        process."""
        if self.ranks == 1:
            return
        if ":" in self.device:
            raise UserError(
                f"device={self.device} is one GPU, and each of ranks={self.ranks} takes its own; set "
                "device=cuda"
            )
        for name, asked in needs.items():
            if asked:
                raise UserError(
                    f"{name} needs a whole model in one process, and ranks={self.ranks} holds each in parts; "
                    "leave it out, or set ranks=1"
                )
