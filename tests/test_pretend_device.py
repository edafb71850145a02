"""The pretended device is as strict as a real one, and computes the same as the CPU."""

import copy

import numpy as np
import pytest
import torch

from helpers import tiny_model
from pretend_device import Pretended, WrongPlace, pretend_device


@pytest.fixture
def log(monkeypatch):
    with pretend_device(monkeypatch) as found:
        yield found


def test_tensors_say_that_they_are_on_a_gpu_and_hold_numbers(log):
    for made in (
        torch.arange(3, device="cuda"),
        torch.tensor([0, 1, 2], device="cuda:0"),
        torch.arange(3).to("cuda"),
    ):
        assert made.is_cuda
        assert made.device == torch.device("cuda:0")
        assert (made + torch.ones_like(made)).tolist() == [1, 2, 3]
    assert made.to("cuda") is made
    assert type(made.cpu()) is torch.Tensor


@pytest.mark.parametrize(
    "fault",
    [
        lambda x: x + torch.ones(4),
        lambda x: torch.cat([x, torch.ones(2, 4)]),
        lambda x: x[torch.arange(2)],
        lambda x: x.index_add(0, torch.tensor(1), x[:1]),
        lambda x: torch.where(torch.ones(4, 4) > 0, x, 0),
        lambda x: torch.nn.functional.linear(x, torch.ones(4, 4)),
        lambda x: torch.ones(4, 4).mul_(x),
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
    ],
)
def test_what_a_gpu_refuses_is_refused(log, fault):
    with pytest.raises(WrongPlace):
        fault(torch.zeros(4, 4, device="cuda"))


def test_a_number_of_the_host_goes_with_pointwise_operations_alone(log):
    x = torch.zeros(3, device="cuda")
    x[0] = torch.tensor(2.0)
    assert (x * torch.tensor(3.0) + 1).tolist() == [7, 1, 1]
    with pytest.raises(WrongPlace):
        torch.stack([x[0], torch.tensor(3.0)])


def test_waits_are_counted_with_their_place(log):
    x = torch.arange(4.0, device="cuda")
    float(x[1])
    x.tolist()
    x[x > 2]
    x.nonzero()
    x.cpu()
    torch.zeros(4).copy_(x)
    assert [wait.split(" at ")[0].split(".")[1] for wait in log.waits] == [
        *("_local_scalar_dense", "_to_copy", "index", "nonzero", "_to_copy", "copy_")
    ]
    log.clear()
    torch.arange(3).to("cuda")
    assert len(log.uploads) == 1
    torch.arange(3).pin_memory().to("cuda", non_blocking=True)
    torch.repeat_interleave(x, x.long(), output_size=6)
    x[x.long()] = 0.0
    assert (len(log.waits), len(log.uploads)) == (0, 1)


def test_views_and_operations_in_place_share_memory(log):
    x = torch.zeros(3, 4, device="cuda")
    x[1:, 2].add_(5)
    x.view(12)[0] = 1
    x[torch.tensor([0], device="cuda"), 3] = 7
    assert x.tolist() == [[1, 0, 0, 7], [0, 0, 5, 0], [0, 0, 5, 0]]
    with torch.inference_mode():
        x[0].mul_(2)
    assert x[0].tolist() == [2, 0, 0, 14]


def test_modules_keep_their_parameters_and_their_ties(log):
    model = tiny_model(tied=True)
    weight = model.get_input_embeddings().weight
    numbers = weight.detach().clone()
    model.to("cuda")
    assert model.device == torch.device("cuda:0")
    assert model.lm_head.weight is weight is model.get_input_embeddings().weight
    assert isinstance(weight, torch.nn.Parameter)
    assert torch.equal(weight.detach().cpu(), numbers)
    other = copy.deepcopy(model)
    assert other.lm_head.weight is other.get_input_embeddings().weight is not weight
    other.lm_head.weight.data = other.lm_head.weight.data.to(torch.bfloat16)
    assert (other.lm_head.weight * 2).dtype == torch.bfloat16
    assert weight.dtype == torch.float32


def test_gradients_and_the_fused_optimiser(log):
    def moved(device):
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 4).to(device)
        adamw = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
        for _ in range(2):
            layer(torch.ones(3, 4, device=device)).square().sum().backward()
            adamw.step()
            adamw.zero_grad()
        return layer.weight

    assert isinstance(moved("cuda"), Pretended)
    torch.testing.assert_close(moved("cuda").detach().cpu(), moved("cpu").detach())


def test_autocast_multiplies_in_half_precision(log):
    layer, x = torch.nn.Linear(4, 4).to("cuda"), torch.ones(2, 4, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        with torch.autocast("cuda", enabled=False):
            assert layer(x).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.float32


def test_nothing_is_pretended_outside(monkeypatch):
    with pretend_device(monkeypatch):
        left = torch.zeros(2, device="cuda")
    monkeypatch.undo()
    assert not torch.cuda.is_available()
    with pytest.raises(WrongPlace, match="outside"):
        left + 1
