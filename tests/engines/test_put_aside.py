"""Tensors that are put aside hold no memory, and come back bit for bit, their views too."""

import numpy as np
import torch

from menon.engines.put_aside import PutAside, tensors_within


def test_they_come_back_bit_for_bit():
    torch.manual_seed(0)
    whole = torch.randn(7, 5)
    view = whole[2:].t()
    other = torch.tensor([1, 2**40, -3])
    half = torch.randn(9, dtype=torch.bfloat16)
    state = {"moments": {"a": {"step": torch.tensor(3.0), "avg": whole}}, "updates": 4, "more": half}
    wanted = [tensor.clone() for tensor in (whole, view, other, half)]
    aside = PutAside([*tensors_within(state), view, other])
    assert aside.nbytes == 7 * 5 * 4 + 3 * 8 + 9 * 2 + 4
    assert [t.untyped_storage().nbytes() for t in (whole, view, other, half)] == [0] * 4
    aside.bring_back()
    for found, want in zip((whole, view, other, half), wanted, strict=True):
        assert torch.equal(found, want)
    assert float(state["moments"]["a"]["step"]) == 3.0
    assert view.data_ptr() == whole[2:].data_ptr()


def test_memory_that_others_hold_stays():
    array = np.arange(4.0)
    mine, shared = torch.ones(3), torch.from_numpy(array)
    aside = PutAside([mine, shared, torch.empty(0)])
    assert (mine.untyped_storage().nbytes(), shared.tolist()) == (0, [0.0, 1.0, 2.0, 3.0])
    aside.bring_back()
    assert mine.tolist() == [1.0] * 3
