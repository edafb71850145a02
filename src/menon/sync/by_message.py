"""The sampler lives in processes of its own; the policy's weights are sent to them one tensor at a time."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from menon.rollout.protocols import Sampler
from menon.sync.fingerprint import content, fingerprint_of
from menon.sync.pairs import check_alike
from menon.sync.protocols import Gives, Published


class Takes(Sampler, Protocol):
    """A sampler whose weights are in other processes."""

    @property
    def dtypes(self) -> Mapping[str, torch.dtype]:
        """The names of its weights, each with the dtype in which it holds them."""
        ...

    def take(self, weights: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
        """Gives its processes these weights; returns the fingerprint of what each then holds, by the name of
        the process."""
        ...

    def adopt(self, version: int) -> None:
        """Its processes go on with the weights that they took last, under this version."""
        ...


class ByMessage:
    """The version counts once every process holds the policy's weights bit for bit, in its own dtype;
    RuntimeError if one does not."""

    def __init__(self, policy: Gives, sampler: Takes) -> None:
        self.policy, self.sampler = policy, sampler

    def publish(self, version: int) -> Published:
        dtypes = self.sampler.dtypes
        given = {}

        def sent() -> Iterator[tuple[str, Tensor]]:
            for name, weight in self.policy.tensors():
                check_alike({name}, dtypes.keys() & {name})
                weight = weight.to(dtypes[name])
                given[name] = content(weight)
                yield name, weight
            check_alike(given.keys(), dtypes.keys())

        found = self.sampler.take(sent())
        wanted = fingerprint_of(given)
        for process, held in found.items():
            if held != wanted:
                raise RuntimeError(
                    f"after a publication {process} holds other weights ({held}) than the learner ({wanted})"
                )
        self.sampler.adopt(version)
        return Published(version, wanted)
