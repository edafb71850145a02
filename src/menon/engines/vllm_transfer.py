"""Our backend of vLLM's weight transfer: the trainer broadcasts each tensor to all workers, over gloo between
CPUs or NCCL between GPUs.

vLLM's own backends need a GPU and vLLM on the trainer's side too. This one needs torch at both ends. It runs
in vLLM's environment; `engines.broadcast` is the trainer's side.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)

from menon.engines.broadcast import join

NAME = "menon"
"""The backend's name in vLLM."""


@dataclass
class Meeting(WeightTransferInitInfo):
    """Where trainer and workers meet."""

    port: int
    token: str
    size: int
    backend: str
    seconds: float


@dataclass
class Coming(WeightTransferUpdateInfo):
    """The tensors that are broadcast, in their order."""

    names: list[str] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    shapes: list[list[int]] = field(default_factory=list)


class BroadcastEngine(WeightTransferEngine[Meeting, Coming]):
    """Receives tensors one at a time and copies each into the live weights."""

    init_info_cls = Meeting
    update_info_cls = Coming

    def init_transfer_engine(self, init_info: Meeting) -> None:
        self.group = join(1 + self.parallel_config.rank, **asdict(init_info))

    def start_weight_update(self) -> None: ...

    def finish_weight_update(self) -> None: ...

    @torch.no_grad()
    def receive_weights(self, update_info: Coming) -> None:
        self.model.load_weights(self._received(update_info))

    def update_weights(self, update_info: dict[str, Any]) -> None:
        # vLLM's own then waits for an accelerator, which a CPU lacks.
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def _received(self, coming: Coming) -> Any:
        for name, dtype, shape in zip(coming.names, coming.dtypes, coming.shapes, strict=True):
            tensor = torch.empty(shape, dtype=getattr(torch, dtype), device=self.device)
            self.group.broadcast(tensor, 0).wait()
            yield name, tensor

    def shutdown(self) -> None: ...


def register() -> None:
    """The entry point of `vllm.general_plugins`: vLLM calls it in each of its processes."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
    from vllm.platforms import current_platform

    if NAME not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(NAME, BroadcastEngine)
    if current_platform.is_cpu():
        import vllm._custom_ops as operations

        # oneDNN would pack each matrix into memory of its own and drop the weight: then nothing could be
        # changed in place, and no fingerprint would be that of the weights that answer.
        operations._supports_onednn = False
