"""Kernels against PyTorch, and a whole step of them against the one of PyTorch's operations."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from helpers import as_large, network_of, slots_of, tiny_model, without_kernels
from menon.engines.decoder import Affine
from menon.engines.decoding import block_cache, cpu_kernels, decode_weights
from menon.engines.decoding.block_cache import BlockCache
from menon.engines.decoding.cpu_kernels import array_of
from menon.engines.decoding.shared_prefix import SharedPrefixes, by_beginning, taken_together
from menon.engines.machine import can_pack

V = 40
EPS = np.float32(1e-6)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", [(1, 8), (5, 24), (64, 128)])
def test_rms_norm(shape):
    x, weight = random(*shape) * 3, random(shape[1])
    want = F.rms_norm(x, shape[1:], weight, 1e-6)
    out, half = torch.empty(shape), torch.empty(shape, dtype=torch.bfloat16)
    for to in (out, half):
        given = (array_of(x), array_of(to[:0]), array_of(weight))
        cpu_kernels.add_rms_norm[to.dtype](*given, EPS, array_of(to))
    torch.testing.assert_close(out, want, atol=1e-6, rtol=1e-6)
    assert torch.equal(half, out.bfloat16())  # rounded to the nearest, as PyTorch does
    change = random(*shape, 2)[..., 0].bfloat16().contiguous()
    want, summed = F.rms_norm(x + change, shape[1:], weight, 1e-6), x + change
    cpu_kernels.add_rms_norm[torch.bfloat16](array_of(x), array_of(change), given[2], EPS, array_of(half))
    torch.testing.assert_close(half.float(), want, atol=1e-6, rtol=2**-8)
    assert torch.equal(x, summed)


def test_numbers_in_bfloat16_are_those_of_pytorch():
    """Written and read, ties and odd numbers included. With eps 0 a row of one number is normed to its sign,
    so the weight is what is written; a share of 1 reads the number back."""
    odd = [0.0, -0.0, 1.0, 1.00390625, 1.01171875, -3.14159, 1e-40, 3.4e38, torch.inf, -torch.inf, torch.nan]
    for number in (*odd, *random(200).tolist()):
        out = torch.empty(1, 1, dtype=torch.bfloat16)
        one, weight = np.ones((1, 1), np.float32), np.array([number], np.float32)
        given = (one, array_of(out[:0]), weight, np.float32(0))
        cpu_kernels.add_rms_norm[torch.bfloat16](*given, array_of(out))
        torch.testing.assert_close(out, torch.tensor([[number]]).bfloat16(), rtol=0, atol=0, equal_nan=True)
        assert torch.equal(out.signbit(), torch.tensor([[number]]).signbit()) or number != number
        cache, read = BlockCache(1, 1, 1, 1, out, few=False), torch.empty(1, 1, 1, 1)
        cache.fill(torch.tensor([0]), out.view(1, 1, 1, 1, 1).expand(1, 2, 1, 1, 1))
        none = np.zeros(1, np.int64)
        where = (none, none, none, cache.begins[0], cache.borders, array_of(cache.memory))
        cpu_kernels.mix[torch.bfloat16](np.eye(1, 32, dtype=np.float32)[None, None], *where, array_of(read))
        torch.testing.assert_close(read.view(1, 1), out.float(), rtol=0, atol=0, equal_nan=True)


def filled(lengths: list[int], heads: int, size: int, dtype: torch.dtype) -> tuple[BlockCache, Tensor]:
    """A cache of two layers and [layers, 2, rows, heads, longest, size], what it holds."""
    cache = BlockCache(2, len(lengths), heads, size, torch.zeros((), dtype=dtype), few=False)
    cache.reserve(max(lengths))
    held = random(2, 2, len(lengths), heads, max(lengths), size).to(dtype)
    for row, length in enumerate(lengths):
        cache.fill(torch.tensor([row]), held[:, :, row, :, :length])
    return cache, held


def attended(
    cache: BlockCache, q: Tensor, lengths: list[int], width: int, layer: int = 1
) -> tuple[Tensor, Tensor]:
    """q [n, heads, per head, D] -> scores [n, heads, per head, width] and what was mixed."""
    q = q.transpose(0, 1).contiguous()
    out, scores, rows = torch.empty_like(q), q.new_empty(*q.shape[:3], width), np.arange(len(lengths))
    prefixes = SharedPrefixes(taken_together(cache.origin[rows], cache.starts), len(rows))
    begins = cache.begins[layer]
    where = (prefixes.shared, rows, np.array(lengths) - 1, begins, cache.borders, array_of(cache.memory))
    prefixes.score(q, layer, scores)
    cpu_kernels.score[cache.memory.dtype](array_of(q), *where, array_of(scores))
    shares = scores.softmax(-1)
    cpu_kernels.mix[cache.memory.dtype](array_of(shares), *where, array_of(out))
    prefixes.mix(shares, layer, out)
    return scores.transpose(0, 1), out.transpose(0, 1)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_shared_beginning_is_attended_to_for_all_its_rows_at_once(dtype, monkeypatch):
    """Of two prompts of 600 and 70 positions the first is worth it; numbers are those of rows with a copy
    each, also after rows have moved, and for a single row that is left of a group."""
    monkeypatch.setattr(block_cache, "WORTH", 200)
    shared, copied = (
        BlockCache(2, 6, 3, 20, torch.zeros((), dtype=dtype), few=False, shares=shares)
        for shares in (True, False)
    )
    starts = {(0, 2, 4): 600, (1, 3): 70, (5,): 650}
    given = {rows: random(2, 2, 3, length, 20).to(dtype) for rows, length in starts.items()}
    later = random(700, 2, 2, 6, 3, 20).to(dtype)
    for cache in (shared, copied):
        cache.reserve(700)
        for rows, start in given.items():
            cache.fill(torch.tensor(rows), start)
        for at in range(600, 700):
            for layer, places in enumerate(cache.places(torch.full((6,), at))):
                cache.write(places, *later[at, layer])
    rows = by_beginning(shared.origin, shared.starts)
    assert rows.tolist() == [1, 3, 5, 0, 2, 4]
    runs = taken_together(shared.origin[rows], shared.starts)
    assert [(run.begin, run.end, run.start.shape[3]) for run in runs] == [(3, 6, 600)]
    q = random(6, 3, 2, 20)
    for source, target, lengths in (
        ([], [], [601, 71, 640, 80, 605, 651]),
        ([4, 2], [0, 1], [605, 640, 610, 71, 700, 651]),
        ([5, 3, 5], [0, 1, 2], [651, 80, 690, 71, 605, 700]),
    ):
        for cache in (shared, copied):
            cache.move(torch.tensor(source, dtype=torch.int64), torch.tensor(target, dtype=torch.int64), 700)
        found = [attended(cache, q, lengths, cache.width(700)) for cache in (shared, copied)]
        for got, want in zip(*found, strict=True):
            torch.testing.assert_close(got, want, atol=2e-6, rtol=0)
    assert [row for row in range(6) if shared.origin[row] in shared.starts] == [4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_in_two_threads_give_the_same(dtype, monkeypatch):
    """With groups that the threads cut, in another order than that of the rows."""
    model = tiny_model(vocab=V, hidden=32).to(dtype)
    start = slots_of(model).prefill(torch.arange(50)[None] % V, [50])[0]

    def logits() -> Tensor:
        slots = slots_of(model, 6)
        for rows, length in (([0, 2, 4], 50), ([1, 3], 40), ([5], 30)):
            slots.fill(torch.tensor(rows), start[..., :length, :])
        at = np.array([50, 40, 50, 40, 50, 30])
        return torch.cat([slots.decode(np.arange(n), at[:n] + 6 - n).clone() for n in (6, 5, 1)])

    alone = logits()
    monkeypatch.setattr(block_cache, "WORTH", 20)
    together = logits()
    as_large(monkeypatch)
    divided = logits()
    close = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 2e-2}
    torch.testing.assert_close(together, alone, **close)
    torch.testing.assert_close(divided, alone, **close)


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
    with monkeypatch.context() as patched:
        if not kernels:
            without_kernels(patched)
        return computed(model, kernels, fixed)


def computed(model: PreTrainedModel, kernels: bool, fixed: bool) -> list[Tensor]:
    slots, logits, rng = slots_of(model, 6, fixed), [], np.random.default_rng(0)
    position = np.array([0, 60, 29, 31, 5, 17])
    for row, length in enumerate(position):
        if length:
            ids = torch.from_numpy(rng.integers(0, V, (1, length)))
            slots.fill(torch.tensor([row]), slots.prefill(ids, [int(length)])[0])
    assert (slots.cpu_step is not None) == kernels
    for step in range(80):
        n = 6 - step // 16
        logits.append(slots.decode(rng.integers(0, V, n), position[:n] + step)[:n].clone())
    return logits


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_a_step_is_that_of_pytorchs_operations(kind, fixed, monkeypatch):
    model = tiny_model(kind, vocab=V, hidden=40)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                weight.add_(random(*weight.shape) * 0.2)
    for got, want in zip(
        steps(model, True, monkeypatch, fixed), steps(model, False, monkeypatch, fixed), strict=True
    ):
        assert (got - want).norm() < 1e-5 * want.norm()


def test_a_step_in_bfloat16(monkeypatch):
    """Its distance from the same weights in fp32 is that of PyTorch's operations."""
    half = tiny_model(vocab=V, hidden=64).to(torch.bfloat16)
    ours, plain = (torch.cat(steps(half, kernels, monkeypatch)) for kernels in (True, False))
    exact = torch.cat(steps(half.float(), True, monkeypatch))
    assert 0 < (ours - exact).norm() < 1.2 * (plain - exact).norm() < 0.05 * exact.norm()


def test_keys_and_values_in_bfloat16_are_rounded_once():
    """Those of the first layer come from a token's embedding alone, with nothing that was rounded before them
    but h and qkv."""
    model = tiny_model("qwen3", vocab=V).to(torch.bfloat16)
    slots = slots_of(model)
    slots.decode(np.array([7]), np.array([3]))
    kept = slots.start(0, 4)[0, :, :, 3]
    (whole,) = slots.prefill(torch.tensor([[1, 2, 3, 7]]), [4])
    assert kept.dtype == whole.dtype == torch.bfloat16
    assert torch.equal(kept, whole[0, :, :, 3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_new_weights_are_seen_wherever_they_lie(dtype, elsewhere):
    """Norms too, which are read where they lie in fp32 and are copies in bfloat16."""
    model = tiny_model("qwen3", vocab=V).to(dtype)
    slots = slots_of(model)
    slots.decode(np.array([7]), np.array([0]))
    with torch.no_grad():
        for weight in model.parameters():
            new = weight * 0.5 + 0.25
            if elsewhere:
                weight.data = new
            else:
                weight.copy_(new)
    slots.refresh()
    assert torch.equal(
        slots.decode(np.array([7]), np.array([0])), slots_of(model).decode(np.array([7]), np.array([0]))
    )


def test_a_kernel_has_one_signature():
    """Two, compiled by two processes at a time, can spoil what numba keeps on disk."""
    for dtype in (torch.float32, torch.bfloat16):
        for kind in ("llama", "qwen3"):
            slots_of(tiny_model(kind, vocab=V).to(dtype)).decode(np.array([7, 8]), np.array([0, 40]))
        for kernel in (cpu_kernels.add_rms_norm, cpu_kernels.place, cpu_kernels.score, cpu_kernels.mix):
            assert len(kernel[dtype].signatures) == 1


def test_which_models_have_kernels():
    def asked(dtype: torch.dtype, head: torch.dtype | None = None) -> tuple[bool, torch.dtype]:
        model: Any = tiny_model(vocab=V, tied=False).to(dtype)
        decoder = network_of(model)
        if head is not None:
            decoder = replace(decoder, head=Affine(model.lm_head.weight.to(head)))
        return decode_weights.has_kernels(decoder), decode_weights.cache_dtype(decoder)

    assert asked(torch.float32) == (True, torch.float32)
    assert asked(torch.bfloat16) == (True, torch.bfloat16)
    assert asked(torch.float64) == (False, torch.float64)
    assert asked(torch.float32, head=torch.bfloat16) == (False, torch.float32)


def test_matrices_are_packed_while_the_copies_are_small_enough(monkeypatch):
    """With the numbers of plain ones, whose layout is oneDNN's work in each call."""
    if not can_pack(torch.bfloat16):
        pytest.skip("oneDNN packs no matrices of bfloat16 on this CPU")
    model: Any = tiny_model("qwen2", vocab=V, tied=False).to(torch.bfloat16)
    size = sum(weight.nbytes for weight in decode_weights.matrices(network_of(model)))
    size += model.lm_head.weight.nbytes
    monkeypatch.setattr(decode_weights, "PACKED", size)
    packed = slots_of(model)
    monkeypatch.setattr(decode_weights, "PACKED", size - 1)
    plain = slots_of(model)
    assert type(packed.ready.head) is decode_weights.Packed
    assert type(plain.ready.head) is decode_weights.Product
    asked = (np.array([7, 3, 9]), np.array([0, 0, 0]))
    got, want = packed.decode(*asked).float(), plain.decode(*asked).float()
    assert (got - want).norm() < 0.01 * want.norm()
    assert type(slots_of(model.float()).ready.head) is decode_weights.Product  # a small one in fp32


def test_kernels_work_where_nothing_can_be_kept_on_disk(monkeypatch):
    real: Callable[..., Any] = numba.njit

    def refuse(function: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(function, **options)

    monkeypatch.setattr(numba, "njit", refuse)
    out = np.zeros((1, 2), np.float32)
    fresh = cpu_kernels.compiled(cpu_kernels.add_rms_norm[torch.float32].py_func)
    x = np.array([[3, 4]], np.float32)
    fresh[torch.float32](x, x[:0], np.ones(2, np.float32), np.float32(0), out)
    np.testing.assert_allclose(out, np.array([[3, 4]]) / 12.5**0.5, rtol=1e-6)
