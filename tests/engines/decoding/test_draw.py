import math

import numba
import numpy as np
import pytest
import torch

from menon.engines.decoding import draw_kernel
from menon.engines.decoding.draw import (
    Drawn,
    draw,
    kept_by,
    kept_tokens,
    most_probable,
    temperature_by_entropy,
)

P = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15], dtype=torch.float64)


def drawn(
    p: torch.Tensor, uniform: torch.Tensor, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0
) -> Drawn:
    n = len(uniform)
    logits = p.log().float().expand(n, -1) + 3.0  # a constant shift of logits changes nothing
    return draw(
        logits,
        uniform.double(),
        torch.full((n,), temperature),
        torch.full((n,), top_p).double(),
        torch.full((n,), top_k),
    )


def grid(n: int) -> torch.Tensor:
    """Evenly spread numbers: the share of each token then equals its probability to within 1/n."""
    return (torch.arange(n) + 0.5) / n


def shares(tokens: torch.Tensor) -> np.ndarray:
    return np.bincount(tokens.numpy(), minlength=len(P)) / len(tokens)


def test_what_could_be_drawn():
    """The tokens of a row in any order, then -1; nothing where all could be drawn."""
    mask = torch.tensor([[True, False, True, False], [True] * 4, [False, False, False, True]])
    found = kept_tokens(mask, 3).tolist()
    assert [sorted(found[0][:2]), found[0][2:]] == [[0, 2], [-1]]
    assert found[1] == [-1, -1, -1]
    assert found[2] == [3, -1, -1]
    assert kept_tokens(mask, 6).shape == (3, 6)


def test_tokens_are_spread_as_their_probabilities():
    out = drawn(P, grid(10_000))
    np.testing.assert_allclose(shares(out.token), P, atol=2e-4)
    np.testing.assert_allclose(out.logp, P.log()[out.token], atol=1e-6)
    np.testing.assert_allclose(out.entropy, -(P * P.log()).sum().expand(10_000), atol=1e-6)
    assert (out.log_kept == 0).all()


def test_temperature_bends_the_distribution_and_its_log_probs():
    bent = P**2 / (P**2).sum()  # temperature 1/2
    out = drawn(P, grid(10_000), temperature=0.5)
    np.testing.assert_allclose(shares(out.token), bent, atol=2e-4)
    np.testing.assert_allclose(out.logp, bent.log()[out.token], atol=1e-6)
    np.testing.assert_allclose(out.entropy, -(bent * bent.log()).sum().expand(10_000), atol=1e-6)


def test_temperature_0_takes_the_most_probable_and_tells_log_probs_at_1():
    out = drawn(P, grid(7), temperature=0.0, top_p=0.2, top_k=1)
    assert out.token.tolist() == [1] * 7
    np.testing.assert_allclose(out.logp, math.log(0.4), atol=1e-6)
    np.testing.assert_allclose(out.entropy, -(P * P.log()).sum(), atol=1e-6)
    assert (out.log_kept == 0).all()
    tied = torch.tensor([0.2, 0.4, 0.4])
    assert drawn(tied, grid(3), temperature=0.0).token.tolist() == [1, 1, 1]


def test_top_k_keeps_exactly_k_and_says_how_much_mass():
    out = drawn(P, grid(10_000), top_k=2)
    np.testing.assert_allclose(shares(out.token), [0, 0.4 / 0.7, 0, 0.3 / 0.7, 0], atol=2e-4)
    np.testing.assert_allclose(out.logp, P.log()[out.token], atol=1e-6)  # raw
    np.testing.assert_allclose(out.log_kept, math.log(0.7), atol=1e-6)
    even = torch.full((1, 4), 0.25)
    assert kept_by(even, torch.ones(1), torch.tensor([3])).tolist() == [[True, True, True, False]]


def test_top_p_keeps_the_fewest_tokens_that_reach_it():
    for top_p, kept in (
        (0.05, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.69, [1, 3]),
        (0.71, [1, 3, 4]),
        (0.96, [0, 1, 2, 3, 4]),
    ):
        out = drawn(P, grid(10_000), top_p=top_p)
        nucleus = torch.zeros_like(P)
        nucleus[kept] = P[kept]
        np.testing.assert_allclose(shares(out.token), nucleus / nucleus.sum(), atol=2e-4)
        np.testing.assert_allclose(out.log_kept, nucleus.sum().log().expand(10_000), atol=1e-6)
        assert len(kept) < 5 or (out.log_kept == 0).all()


def test_top_p_counts_what_top_k_left_as_the_whole():
    # Of the 2 best (0.4, 0.3) the first alone is 4/7 = 0.571 of the mass.
    assert set(drawn(P, grid(1000), top_p=0.56, top_k=2).token.tolist()) == {1}
    assert set(drawn(P, grid(1000), top_p=0.58, top_k=2).token.tolist()) == {1, 3}


def test_every_row_has_its_own_settings():
    logits = P.log().float().expand(4, -1)
    uniform = torch.full((4,), 0.99, dtype=torch.float64)
    out = draw(
        logits,
        uniform,
        torch.tensor([1.0, 0.0, 1.0, 1.0]),
        torch.tensor([1, 1, 1, 0.5]).double(),
        torch.tensor([0, 0, 2, 0]),
    )
    assert out.token.tolist() == [4, 1, 3, 3]
    np.testing.assert_allclose(out.log_kept, [0, 0, math.log(0.7), math.log(0.7)], atol=1e-6)


def test_the_ends_of_the_unit_interval_hit_tokens_that_can_be_drawn():
    p = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0], dtype=torch.float64)
    out = drawn(p, torch.tensor([0.0, 0.5 - 1e-12, 0.5 + 1e-12, 1 - 2**-53], dtype=torch.float64))
    assert out.token.tolist() == [1, 1, 3, 3]
    np.testing.assert_allclose(out.entropy, math.log(2), atol=1e-6)  # and 0 * -inf did not become NaN
    rng = np.random.default_rng(0)
    for _ in range(200):  # masses that are not quite 1, after fp32 softmax
        p = torch.from_numpy(rng.dirichlet(np.ones(7)))
        p[-1] = 0
        assert drawn(p, torch.tensor([1 - 2**-53], dtype=torch.float64)).token.item() == 5


def test_the_temperature_of_uncertain_tokens():
    """Entropies ln 2 = .693, .325 (.9 and .1) and ln 2 again; the threshold .672 lies between; the last row
    asks for nothing."""
    logits = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.5, 0.5]]).log() + 7.0
    low, high = torch.tensor([1.0, 0.5, 0.25]), torch.tensor([2.0, 2.0, torch.nan])
    got = temperature_by_entropy(logits, low, high, torch.full((3,), 0.672))
    assert got.tolist() == [2.0, 0.5, 0.25]
    assert temperature_by_entropy(logits, low, torch.full((3,), torch.nan), torch.zeros(3)) is low
    at = temperature_by_entropy(logits[:1], low[:1], high[:1], torch.tensor([math.log(2) + 1e-4]))
    assert at.tolist() == [1.0]  # at or below the threshold is certain


def test_the_most_probable_tokens_with_their_log_probs_at_the_rows_temperature():
    """At temperature 1/2 the probabilities .1 .4 .05 .3 .15 become their squares over .285."""
    logits = P.log().float().expand(3, -1)
    tokens, logp = most_probable(logits, torch.tensor([1.0, 0.5, 0.0]), 3)
    assert tokens.tolist() == [[1, 3, 4]] * 3
    squares = [0.16 / 0.285, 0.09 / 0.285, 0.0225 / 0.285]
    expected = torch.tensor([[0.4, 0.3, 0.15], squares, [0.4, 0.3, 0.15]])
    torch.testing.assert_close(logp.exp(), expected, atol=1e-6, rtol=0)
    assert most_probable(logits, torch.ones(3), 9)[0].shape == (3, 5)


@numba.njit
def exponentials(x, out):
    for place in range(len(x)):
        out[place] = draw_kernel.exp(x[place])


def test_the_kernels_exponential():
    x = np.concatenate([-np.logspace(-8, np.log10(87), 20_000), [0, -87]]).astype(np.float32)
    out = np.empty_like(x)
    exponentials(x, out)
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=2e-7)
    assert out[-2] == 1


def exact(logits: torch.Tensor, uniform: torch.Tensor, temperature: torch.Tensor) -> Drawn:
    """Softmax, its entropy, and the inverse of its distribution function in fp64, row by row."""
    tokens, numbers = [], []
    for row, u, t in zip(logits.double(), uniform.tolist(), temperature.tolist(), strict=True):
        logp = (row / (t or 1)).log_softmax(-1)
        p = logp.exp()
        cumulative = p.cumsum(-1)
        token = int(row.argmax()) if t == 0 else int((cumulative > u * cumulative[-1]).nonzero()[0])
        tokens.append(token)
        numbers.append([float(logp[token]), 0.0, float(torch.special.entr(p).sum())])
    token, drawn = torch.tensor(tokens), torch.tensor(numbers)
    return Drawn(token, *drawn.unbind(-1), None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocabulary", [1, 255, 257, 5000])
def test_the_kernels_tokens_and_numbers(vocabulary, dtype):
    """Flat and steep rows, greedy ones among them, with numbers at both ends; a token that cannot be drawn
    is none."""
    g = torch.Generator().manual_seed(vocabulary)
    logits = (torch.randn(12, vocabulary, generator=g) * torch.tensor([0.1, 3, 30]).repeat(4)[:, None]).to(
        dtype
    )
    logits[4, 1:] = -torch.inf
    uniform = torch.rand(12, generator=g, dtype=torch.float64)
    uniform[0], uniform[1], uniform[4] = 0.0, 1 - 1e-9, 1 - 2**-53
    temperature = torch.tensor([1.0, 0.7, 1.3, 0.0]).repeat(3)
    token, numbers = draw_kernel.drawn_by_kernel(logits, uniform, temperature)
    want = exact(logits, uniform, temperature)
    assert token.tolist() == want.token.tolist()
    torch.testing.assert_close(numbers[:, 0], want.logp, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(numbers[:, 2], want.entropy, rtol=2e-6, atol=2e-6)
    assert (numbers[:, 1] == 0).all()


def test_a_row_takes_the_same_way_in_any_company():
    """Beside a row with top-k it is drawn by the kernel, as alone."""
    logits = torch.randn(2, 300, generator=torch.Generator().manual_seed(0))
    uniform, ones = torch.tensor([0.3, 0.6], dtype=torch.float64), torch.ones(2)
    alone = draw(logits[:1], uniform[:1], ones[:1], ones[:1].double(), torch.zeros(1, dtype=torch.int64))
    both = draw(logits, uniform, ones, ones.double(), torch.tensor([0, 5]))
    assert [float(x[0]) for x in both[:4]] == [float(x[0]) for x in alone[:4]]
    assert both.log_kept[1] < 0
    assert both.mask is not None
    assert both.mask.sum(-1).tolist() == [300, 5]


def test_numbers_that_are_none_are_seen_in_the_log_prob():
    logits = torch.zeros(3, 300)
    logits[0, 7], logits[1], logits[2, 0] = torch.nan, torch.nan, torch.inf
    _, numbers = draw_kernel.drawn_by_kernel(
        logits, torch.full((3,), 0.5, dtype=torch.float64), torch.ones(3)
    )
    assert not numbers[:, 0].isfinite().any()
