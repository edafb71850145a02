import math

import pytest
import torch

from menon.engines.log_probs import log_probs, wide


def drawn(*shape, seed=0):
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).requires_grad_()


def test_by_hand():
    # z = (log 1, log 3) at temperature 1: p = (1/4, 3/4). At temperature 1/2, z = (log 1, log 9): p = (1/10,
    # 9/10).
    logits = torch.tensor([[0.0, math.log(3)]] * 2, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1])
    logp, entropy = log_probs(logits, target, entropy=True)
    h = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert logp.tolist() == pytest.approx([math.log(0.25), math.log(0.75)], rel=1e-15)
    assert entropy.tolist() == pytest.approx([h, h], rel=1e-15)
    (logp[0] + 2 * entropy[1]).backward()
    # d log p[0] = (1 - 1/4, -3/4); 2 dH = -2 p (log p + H)
    second = [-2 * p * (math.log(p) + h) for p in (0.25, 0.75)]
    torch.testing.assert_close(
        logits.grad, torch.tensor([[0.75, -0.75], second], dtype=torch.float64), rtol=1e-14, atol=1e-15
    )
    cold, _ = log_probs(logits, target, temperature=0.5)
    assert cold.tolist() == pytest.approx([math.log(0.1), math.log(0.9)], rel=1e-14)


@pytest.mark.parametrize("chunk", [1, 30, 10**9])
@pytest.mark.parametrize("entropy", [False, True])
def test_numbers_and_gradients_are_those_of_the_whole_table(chunk, entropy):
    rows, weight, bias = drawn(7, 5), drawn(11, 5, seed=1), drawn(11, seed=2)
    target = torch.arange(7) * 3 % 11
    to_logp, to_entropy = drawn(7, seed=3).detach(), drawn(7, seed=4).detach()

    def gradients(logp, entropies):
        total = (logp * to_logp).sum() + ((entropies * to_entropy).sum() if entropy else 0)
        return torch.autograd.grad(total, (rows, weight, bias))

    table = ((rows @ weight.T + bias) / 0.7).log_softmax(-1)
    want = table.gather(-1, target[:, None])[:, 0], -(table.exp() * table).sum(-1)
    got = log_probs(rows, target, weight=weight, bias=bias, temperature=0.7, chunk=chunk, entropy=entropy)
    torch.testing.assert_close(got[0], want[0], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(
        got[1], want[1] if entropy else torch.zeros_like(want[1]), rtol=1e-13, atol=1e-13
    )
    for mine, truth in zip(gradients(*got), gradients(*want), strict=True):
        torch.testing.assert_close(mine, truth, rtol=1e-12, atol=1e-13)


def test_no_more_than_a_chunk_of_the_table_exists():
    rows, weight = drawn(64, 4), drawn(1000, 4)
    largest = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, given=(), named=None):
            made = function(*given, **(named or {}))
            largest.append(made.numel() if isinstance(made, torch.Tensor) else 0)
            return made

    with Sizes():
        logp, entropy = log_probs(
            rows, torch.zeros(64, dtype=torch.int64), weight=weight, chunk=8000, entropy=True
        )
        (logp + entropy).sum().backward()
    assert max(largest) == 8000
    assert rows.grad.norm() > 0


def test_large_logits_lose_nothing():
    # However high all logits stand; z - logsumexp(z) in fp32 would be off by the rounding of 100, some 1e-5.
    logits = torch.tensor([[100.0, 80.0]])
    logp, _ = log_probs(logits, torch.tensor([0]))
    assert float(logp[0]) == pytest.approx(-math.log1p(math.exp(-20)), abs=1e-8)
    shifted, _ = log_probs(torch.tensor([[100.0, 98.0]]), torch.tensor([0]))
    assert float(shifted[0]) == pytest.approx(-math.log1p(math.exp(-2)), rel=1e-6)


@pytest.mark.parametrize("chunk", [3, 100])
def test_a_token_that_cannot_come_takes_nothing_from_the_others(chunk):
    """Logits 0, 0 and -infinity: one bit of entropy, at its maximum."""
    logits = torch.tensor([[0.0, 0.0, -math.inf]] * 2, requires_grad=True)
    logp, entropy = log_probs(logits, torch.tensor([0, 2]), chunk=chunk, entropy=True)
    assert logp.tolist() == pytest.approx([-math.log(2), -math.inf])
    assert entropy.tolist() == pytest.approx([math.log(2)] * 2)
    (logp[0] + entropy.sum()).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[0.5, -0.5, 0.0], [0.0, 0.0, 0.0]]))


def test_what_is_not_trained_gets_no_gradient_and_no_rows_are_no_error():
    rows, weight = drawn(3, 4).detach(), drawn(5, 4)
    logp, _ = log_probs(rows, torch.tensor([0, 1, 2]), weight=weight)
    logp.sum().backward()
    table = (rows @ weight.detach().T).softmax(-1)
    table = torch.nn.functional.one_hot(torch.tensor([0, 1, 2]), 5) - table
    torch.testing.assert_close(weight.grad, table.T @ rows)
    empty, _ = log_probs(rows[:0], torch.zeros(0, dtype=torch.int64), weight=weight)
    assert empty.shape == (0,)


def test_half_precision_is_worked_out_in_full():
    assert [wide(d) for d in (torch.bfloat16, torch.float16, torch.float32, torch.float64)] == [
        torch.float32
    ] * 3 + [torch.float64]
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    logp, _ = log_probs(logits, torch.tensor([2]))
    assert logp.dtype == torch.float32
    assert float(logp[0]) == pytest.approx(-math.log(1 + math.exp(-1) + math.exp(-2)), rel=1e-6)
