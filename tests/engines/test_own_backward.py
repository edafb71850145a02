"""Operations with a backward pass of their own against PyTorch's, and gradients added where they are."""

import pytest
import torch
import torch.nn.functional as F

from menon.engines.own_backward import adding_gradients, embedded, gated_linear, linear, rms_norm


def drawn(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=draw).requires_grad_()


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7)])
def test_the_norm_and_its_derivatives(shape):
    x, weight = drawn(*shape), drawn(7, seed=1)
    torch.testing.assert_close(rms_norm(x, weight, 1e-5), F.rms_norm(x, (7,), weight, 1e-5))
    assert torch.autograd.gradcheck(lambda *given: rms_norm(*given, 1e-5), (x, weight))
    assert torch.autograd.gradgradcheck(lambda *given: rms_norm(*given, 1e-5), (x, weight))


def test_the_norm_by_hand():
    # The mean of 3^2 and 4^2 is 12.5; with eps = 12.5 the root is 5.
    x = torch.tensor([[3.0, 4.0]])
    assert rms_norm(x, torch.tensor([1.0, 10.0]), 12.5)[0].tolist() == pytest.approx([0.6, 8.0])


@pytest.mark.parametrize("frozen", ["x", "weight"])
def test_what_is_frozen_gets_no_gradient(frozen):
    given = {"x": drawn(5, 7), "weight": drawn(7, seed=1)}
    want = torch.autograd.grad(rms_norm(*given.values(), 1e-5).sum(), list(given.values()))
    given[frozen].requires_grad_(False)
    rms_norm(*given.values(), 1e-5).sum().backward()
    for each, gradient in zip(given.values(), want, strict=True):
        assert each.grad is None if not each.requires_grad else torch.allclose(each.grad, gradient)


def test_gradients_are_added_where_they_are():
    """Two passes over an embedding that is also a product's matrix."""
    weight, inner, ids = drawn(6, 4), drawn(4, 4, seed=1), torch.tensor([[1, 5], [1, 2]])

    def one(look, multiply, gated):
        x = look(ids, weight)
        return multiply(gated(x, x.sin(), inner, None), weight, None).cos().sum()

    def plain(gate, up, matrix, bias):
        return F.linear(F.silu(gate) * up, matrix, bias)

    for _ in range(2):
        one(F.embedding, F.linear, plain).backward()
    want, weight.grad, inner.grad = (weight.grad, inner.grad), None, None
    with adding_gradients():
        one(embedded, linear, gated_linear).backward()
        places = weight.grad.data_ptr(), inner.grad.data_ptr()
        one(embedded, linear, gated_linear).backward()
    assert (weight.grad.data_ptr(), inner.grad.data_ptr()) == places
    for got, expected in zip((weight.grad, inner.grad), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(
        lambda *given: gated_linear(*given, None), (drawn(3, 4), drawn(3, 4), inner)
    )
