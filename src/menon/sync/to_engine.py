"""The sampler's weights are in another process, under whatever form its engine gives them; the policy's are
carried there, and proved by what the engine says of the weights that it computes with."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from menon.sync.fingerprint import content, fingerprint_of
from menon.sync.pairs import check_alike
from menon.sync.protocols import Gives, Published

Content = tuple[str, tuple[int, ...], int]
"""Dtype, shape and bit sum of a tensor (`sync.fingerprint.content`)."""


class Carries(Protocol):
    """A way to an engine's weights."""

    def carry(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        """Brings tensors into the engine's weights. It writes nothing from the first of them until
        `loaded`."""
        ...


class RemoteWeights(Protocol):
    """A sampler with an engine whose weights can be changed and read."""

    version: int
    dtype: torch.dtype

    def loaded(self, version: int) -> Mapping[str, Content]:
        """The weights are complete: from now on they write, under this version, and nothing that was computed
        with others is used. Returns the contents of the weights that the engine computes with, by the
        policy's own names. RuntimeError if the engine keeps something that was computed with others."""
        ...


class ToEngine:
    """RuntimeError if, after a publication, the engine does not hold the policy's weights bit for bit (in its
    own dtype). With `only_changed` a tensor is carried only if it differs from what the engine held after the
    last publication."""

    def __init__(
        self, policy: Gives, sampler: RemoteWeights, carrier: Carries, only_changed: bool = True
    ) -> None:
        self.policy, self.sampler, self.carrier, self.only_changed = policy, sampler, carrier, only_changed
        self.held: Mapping[str, Content] = {}
        self.carried = 0
        """Bytes of the last publication."""

    @torch.no_grad()
    def publish(self, version: int) -> Published:
        wanted: dict[str, Content] = {}
        held, self.held, self.carried = self.held, {}, 0

        def given() -> Iterator[tuple[str, Tensor]]:
            for name, weight in self.policy.tensors():
                weight = weight.to(self.sampler.dtype)
                wanted[name] = content(weight)
                if not self.only_changed or held.get(name) != wanted[name]:
                    self.carried += weight.nbytes
                    yield name, weight

        self.carrier.carry(given())
        found = self.sampler.loaded(version)
        check_same(wanted, found, version)
        self.held, self.sampler.version = found, version
        return Published(version, fingerprint_of(found))


def check_same(wanted: Mapping[str, Content], found: Mapping[str, Content], version: int) -> None:
    """RuntimeError unless all contents are equal; UserError where the two models are not the same."""
    check_alike(wanted.keys(), found.keys())
    odd = [name for name in wanted if wanted[name] != found[name]]
    if not odd:
        return
    (dtype, shape, _), (other, other_shape, _) = wanted[odd[0]], found[odd[0]]
    what = "other numbers"
    if dtype != other:
        what = f"{other} instead of {dtype}"
    elif shape != other_shape:
        what = f"the shape {list(other_shape)} instead of {list(shape)}"
    raise RuntimeError(
        f"after publication {version} the sampler holds other weights than the learner: {len(odd)} of "
        f"{len(wanted)} tensors differ; the first, '{odd[0]}', has {what}"
    )
