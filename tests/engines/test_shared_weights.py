import os

import torch
from torch import nn

from menon.engines.shared_weights import SharedWeights, nameless


def test_parameters_move_and_stay_what_they_were():
    torch.manual_seed(0)
    odd, half = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(7).bfloat16())
    before = [odd.detach().clone(), half.detach().clone()]
    shared = SharedWeights.of([odd, half])
    assert torch.equal(odd, before[0])
    assert torch.equal(half, before[1])
    assert [shared.place(odd), shared.place(half), shared.place(before[0])] == [0, 64, None]
    assert odd.untyped_storage().data_ptr() != half.untyped_storage().data_ptr()


def test_who_maps_it_sees_every_change():
    weight = nn.Parameter(torch.zeros(4))
    shared = SharedWeights.of([weight])
    # A second mapping, as another process has it; a tensor that is not shared travels by value.
    other = SharedWeights(os.dup(shared.descriptor))
    seen, alone = other.loads(shared.dumps((weight, torch.arange(3))))
    with torch.no_grad():
        weight.add_(2)
    assert seen.tolist() == [2, 2, 2, 2]
    assert alone.tolist() == [0, 1, 2]
    assert other.place(seen) == 0


def test_memory_without_a_name_where_the_system_has_none(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    descriptor = nameless(4096)
    assert os.fstat(descriptor).st_size == 4096
    assert os.fstat(descriptor).st_nlink == 0
