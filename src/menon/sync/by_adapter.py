"""The channel of an adapter alone: the engine has the frozen weights already, takes the last adapter out, and
puts the new one in."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from menon.sync.fingerprint import content, fingerprint_of
from menon.sync.protocols import Published
from menon.sync.to_engine import Content, check_same

PREFIX, SUFFIX = "base_model.model.", ".weight"
"""What the names in peft's files have around the name of the layer and `lora_A` or `lora_B`."""


class GivesAdapter(Protocol):
    """A policy whose adapter can be handed out."""

    rank: int
    scale: float
    """By which B A is multiplied: alpha / rank."""

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name in peft's files, matrix) of the adapter, one at a time."""
        ...

    def write(self, folder: Path) -> None:
        """The adapter in peft's own format."""
        ...


class TakesAdapter(Protocol):
    """A sampler with an engine that can change adapters."""

    version: int
    dtype: torch.dtype

    def adapt(self, folder: Path, number: int) -> None:
        """Takes the last adapter out and puts that of a folder in, under a number that none had before."""
        ...

    def loaded(self, version: int) -> Mapping[str, Content]:
        """See `sync.to_engine.RemoteWeights`; the contents are those of the frozen weights."""
        ...

    def adapter_contents(self, rank: int) -> Mapping[str, Content]:
        """The contents of the matrices that the engine computes with, as `LAYER.lora_A` and `LAYER.lora_B`;
        B as the engine multiplied it by its scale. Layers without an adapter may have matrices of 0."""
        ...


class ByAdapter:
    """RuntimeError if, after a publication, the engine does not compute with the policy's adapter bit for bit
    (in its own dtype), or if its frozen weights have changed."""

    def __init__(
        self, policy: GivesAdapter, sampler: TakesAdapter, folder: Path, base: Mapping[str, Content]
    ) -> None:
        self.policy, self.sampler, self.folder = policy, sampler, folder
        self.base = base
        """The policy's frozen weights, in the engine's dtype."""
        self.number = 0

    @torch.no_grad()
    def publish(self, version: int) -> Published:
        self.number += 1
        folder = self.folder / f"adapter-{self.number}"
        try:
            self.policy.write(folder)
            self.sampler.adapt(folder, self.number)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        base, found = self.sampler.loaded(version), self.sampler.adapter_contents(self.policy.rank)
        wanted = dict(self.wanted())
        used = {name: each for name, each in found.items() if name in wanted or each[2]}
        check_same(wanted, used, version)
        check_same(self.base, base, version)
        self.sampler.version = version
        return Published(version, fingerprint_of(wanted))

    def wanted(self) -> Iterator[tuple[str, Content]]:
        """What the engine should show."""
        for name, matrix in self.policy.tensors():
            short = name.removeprefix(PREFIX).removesuffix(SUFFIX)
            matrix = matrix.to(self.sampler.dtype)
            yield short, content(matrix * self.policy.scale if short.endswith("lora_B") else matrix)
