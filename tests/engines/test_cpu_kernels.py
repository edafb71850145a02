"""Kernels against PyTorch, and a whole step of them against the one of PyTorch's operations."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from helpers import tiny_model
from menon.engines import cpu_kernels, decode_weights
from menon.engines.block_cache import BlockCache
from menon.engines.cpu_kernels import array_of, mix, rms_norm, score
from menon.engines.decoder import decoder_of
from menon.engines.decoder_slots import DecoderSlots
from menon.engines.machine import SMALL

V = 40
EPS = np.float32(1e-6)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", [(1, 8), (5, 24), (64, 128)])
def test_rms_norm(shape):
    x, weight = random(*shape) * 3, random(shape[1])
    want = F.rms_norm(x, shape[1:], weight, 1e-6)
    out, half = torch.empty(shape), torch.empty(shape, dtype=torch.bfloat16)
    rms_norm(array_of(x), array_of(weight), EPS, array_of(out))
    rms_norm(array_of(x), array_of(weight), EPS, array_of(half))
    torch.testing.assert_close(out, want, atol=1e-6, rtol=1e-6)
    assert torch.equal(half, out.bfloat16())  # rounded to the nearest, as PyTorch does


def test_numbers_in_bfloat16_are_those_of_pytorch():
    """Both ways, ties and odd numbers included. With eps 0 a row of one number is normed to its sign, so the weight is what is
    written."""
    odd = [0.0, -0.0, 1.0, 1.00390625, 1.01171875, -3.14159, 1e-40, 3.4e38, torch.inf, -torch.inf, torch.nan]
    for number in (*odd, *random(200).tolist()):
        out = torch.empty(1, 1, dtype=torch.bfloat16)
        rms_norm(np.ones((1, 1), np.float32), np.array([number], np.float32), np.float32(0), array_of(out))
        torch.testing.assert_close(out, torch.tensor([[number]]).bfloat16(), rtol=0, atol=0, equal_nan=True)
        assert torch.equal(out.signbit(), torch.tensor([[number]]).signbit()) or number != number


def filled(lengths: list[int], heads: int, size: int, dtype: torch.dtype) -> tuple[BlockCache, Tensor]:
    """A cache of two layers and [layers, 2, rows, heads, longest, size], what it holds."""
    cache = BlockCache(2, len(lengths), heads, size, torch.zeros((), dtype=dtype), few=False)
    cache.reserve(max(lengths))
    held = random(2, 2, len(lengths), heads, max(lengths), size).to(dtype)
    for row, length in enumerate(lengths):
        cache.fill(torch.tensor([row]), held[:, :, row, :, :length])
    return cache, held


def attended(cache: BlockCache, q: Tensor, lengths: list[int], width: int, layer: int = 1) -> tuple[Tensor, Tensor]:
    """q [n, heads, per head, D] -> scores [n, heads, per head, width] and what was mixed."""
    at, out, scores = np.array(lengths) - 1, torch.empty_like(q), q.new_empty(*q.shape[:3], width)
    where = (at, cache.begins[layer], cache.borders, array_of(cache.memory))
    score(array_of(q), *where, array_of(scores))
    mix(array_of(scores.softmax(-1)), *where, array_of(out))
    return scores, out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [[1, 1, 2], [31, 32, 33, 1, 64], [300, 7, 65, 129, 511]])
def test_attention_is_that_of_each_row_alone(lengths, dtype):
    cache, held = filled(lengths, 3, 20, dtype)
    q = random(len(lengths), 3, 2, 20)
    scores, out = attended(cache, q, lengths, cache.width(max(lengths)))
    for row, length in enumerate(lengths):
        keys, values = held[1, :, row, :, :length].float()
        want = F.scaled_dot_product_attention(q[row], keys, values)
        torch.testing.assert_close(out[row], want, atol=2e-6, rtol=0)
        assert (scores[row, ..., length:] == -torch.inf).all()


def test_a_rows_bits_depend_on_no_other_row():
    lengths = [300, 7, 65, 129, 511]
    cache, _ = filled(lengths, 3, 20, torch.float32)
    q = random(5, 3, 2, 20)
    whole = attended(cache, q, lengths, 512)[1]
    fewer = attended(cache, q[:3], [300, 7, 64], cache.width(300))[1]
    assert torch.equal(whole[:2], fewer[:2])
    cache.fill(torch.tensor([4]), torch.full((2, 2, 3, 511, 20), torch.nan))
    assert torch.equal(attended(cache, q, lengths, 512)[1][:4], whole[:4])


def steps(model: PreTrainedModel, kernels: bool, monkeypatch: Any, fixed: bool = False) -> list[Tensor]:
    """Logits of rows that begin after 0 to 60 tokens and leave from the last on, at three caches' sizes."""
    monkeypatch.setattr(decode_weights, "SMALL", SMALL if kernels else 0)
    decoder = decoder_of(model)
    assert decoder is not None
    slots, found, rng = DecoderSlots(decoder, 6, fixed), [], np.random.default_rng(0)
    position = np.array([0, 60, 29, 31, 5, 17])
    for row, length in enumerate(position):
        if length:
            ids = torch.from_numpy(rng.integers(0, V, (1, length)))
            slots.fill(torch.tensor([row]), slots.prefill(ids, [int(length)])[0])
    assert (slots.cpu_step is not None) == kernels
    for step in range(80):
        n = 6 - step // 16
        found.append(slots.decode(rng.integers(0, V, n), position[:n] + step)[:n].clone())
    return found


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_a_step_is_that_of_pytorchs_operations(kind, fixed, monkeypatch):
    model = tiny_model(kind, vocab=V, hidden=40)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                weight.add_(random(*weight.shape) * 0.2)
    for got, want in zip(steps(model, True, monkeypatch, fixed), steps(model, False, monkeypatch, fixed), strict=True):
        assert (got - want).norm() < 1e-5 * want.norm()


def test_a_step_in_bfloat16(monkeypatch):
    """Its distance from fp32 is that of PyTorch's operations, and keys and values are of that dtype."""
    model = tiny_model(vocab=V, hidden=64)
    exact = torch.cat(steps(model, True, monkeypatch))
    half = model.to(torch.bfloat16)
    ours, plain = (torch.cat(steps(half, kernels, monkeypatch)) for kernels in (True, False))
    assert (ours - exact).norm() < 1.2 * (plain - exact).norm() < 0.05 * exact.norm()


def test_which_models_have_kernels(monkeypatch):
    def asked(dtype: torch.dtype) -> tuple[bool, torch.dtype]:
        decoder = decoder_of(tiny_model(vocab=V).to(dtype))
        assert decoder is not None
        return decode_weights.has_kernels(decoder), decode_weights.cache_dtype(decoder)

    assert asked(torch.float32) == (True, torch.float32)
    assert asked(torch.bfloat16) == (True, torch.bfloat16)
    assert asked(torch.float64) == (False, torch.float64)
    monkeypatch.setattr(decode_weights, "SMALL", 0)
    assert asked(torch.bfloat16) == (False, torch.float32)


def test_kernels_work_where_nothing_can_be_kept_on_disk(monkeypatch):
    real: Callable[..., Any] = numba.njit

    def refuse(function: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(function, **options)

    monkeypatch.setattr(numba, "njit", refuse)
    out = np.zeros((1, 2), np.float32)
    cpu_kernels.compiled(rms_norm.py_func)(np.array([[3, 4]], np.float32), np.ones(2, np.float32), np.float32(0), out)
    np.testing.assert_allclose(out, np.array([[3, 4]]) / 12.5**0.5, rtol=1e-6)
