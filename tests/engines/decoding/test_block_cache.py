from itertools import pairwise

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from menon.engines.decoding.block_cache import BlockCache, block_sizes, width_class

LAYERS, ROWS, HEADS, D = 2, 5, 3, 4
GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def filled(lengths: list[int], few: bool = False) -> tuple[BlockCache, list[Tensor]]:
    """Row i holds start i: its first half at once, the rest position by position, so that the cache grows on
    the way."""
    found = BlockCache(LAYERS, ROWS, HEADS, D, torch.zeros((), dtype=torch.float64), few)
    starts = [random(LAYERS, 2, HEADS, length, D) for length in lengths]
    for row, start in enumerate(starts):
        found.fill(torch.tensor([row]), start[..., : -(-start.shape[3] // 2), :])
    for position in range(max(lengths)):
        found.reserve(position + 1)
        at = torch.tensor([min(position, length - 1) for length in lengths])
        places = found.places(at)
        for layer in range(LAYERS):
            new = [
                torch.stack([start[layer, half, :, i] for start, i in zip(starts, at, strict=True)])
                for half in (0, 1)
            ]
            found.write(places[layer], *new)
    return found, starts


def attended(
    found: BlockCache, layer: int, q: Tensor, lengths: list[int], widths: list[int] | None = None
) -> Tensor:
    """q [n, HEADS, per key, D]; with several widths every row has that of its class."""
    several = widths is not None
    at, views = torch.tensor(lengths) - 1, []
    for width in widths or [found.width(max(lengths))]:
        hidden = torch.arange(width) > at[:, None, None]
        mask = torch.zeros(hidden.shape, dtype=q.dtype).masked_fill_(hidden, -torch.inf)
        rows = torch.tensor([width_class(length) == width for length in lengths]) if several else None
        views.append(found.view(mask, rows))
    return found.attend(layer, q.flatten(0, 1), views).view_as(q)


def plain(q: Tensor, start: Tensor) -> Tensor:
    """q [HEADS, per key, D] over the keys and values [2, HEADS, length, D] of one row."""
    return (q @ start[0].transpose(-1, -2) * D**-0.5).softmax(-1) @ start[1]


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("lengths", [[1, 1, 2, 1, 1], [31, 32, 33, 1, 64], [300, 7, 65, 129, 511]])
def test_attention_is_that_of_each_row_alone(lengths, few):
    found, starts = filled(lengths, few)
    assert found.capacity == max(width_class(max(lengths)), 256 if few else 32)
    for layer in range(LAYERS):
        q = random(ROWS, HEADS, 2, D)
        want = torch.stack([plain(q[row], start[layer]) for row, start in enumerate(starts)])
        torch.testing.assert_close(attended(found, layer, q, lengths), want, atol=1e-12, rtol=0)
        by_class = attended(found, layer, q, lengths, sorted({width_class(length) for length in lengths}))
        torch.testing.assert_close(by_class, want, atol=1e-12, rtol=0)


def test_fewer_rows_and_others_in_their_place():
    found, starts = filled(lengths := [40, 3, 70, 33, 90])
    q = random(2, HEADS, 1, D)
    want = torch.stack([plain(q[row], starts[row][1]) for row in (0, 1)])
    torch.testing.assert_close(attended(found, 1, q, lengths[:2]), want, atol=1e-12, rtol=0)
    found.move(torch.tensor([4, 3]), torch.tensor([0, 1]), 90)
    want = torch.stack([plain(q[0], starts[4][1]), plain(q[1], starts[3][1])])
    torch.testing.assert_close(attended(found, 1, q, [90, 33]), want, atol=1e-12, rtol=0)


def test_a_start_is_what_was_written_and_its_own():
    found, starts = filled([40, 3, 70, 33, 90])
    for row, start in enumerate(starts):
        for length in (1, start.shape[3]):
            assert torch.equal(found.start(row, length), start[..., :length, :])
    taken = found.start(2, 70)
    found.memory.zero_()
    assert torch.equal(taken, starts[2])


def test_growth_keeps_what_is_there_and_brings_zeros():
    found, starts = filled([40, 3, 70, 33, 90])
    assert not found.reserve(128)
    assert found.reserve(513)
    assert found.capacity == 1024
    assert found.nbytes == 1024 * LAYERS * 2 * ROWS * HEADS * D * 8
    for row, start in enumerate(starts):
        assert torch.equal(found.start(row, start.shape[3]), start)
    assert not found.start(0, 1024)[..., 128:, :].any()


def test_room_that_nothing_is_written_to_takes_no_memory():
    found = BlockCache(LAYERS, ROWS, HEADS, D, torch.zeros((), dtype=torch.bfloat16), False)
    before = psutil.Process().memory_info().rss
    found.reserve(2**29 // (found.each * D * 2))
    assert found.memory.dtype == torch.bfloat16
    assert found.nbytes >= 2**28
    assert psutil.Process().memory_info().rss - before < 2**26


def test_more_rows_keep_what_is_there_and_copy_no_more():
    """Room for a long answer that ended early must not take memory because rows are added."""
    found, starts = filled([40, 3, 70, 33, 90])
    found.reserve(2**22 // found.each)
    before = psutil.Process().memory_info().rss
    found.grow(4 * ROWS, 90)
    assert psutil.Process().memory_info().rss - before < found.nbytes / 8
    for row, start in enumerate(starts):
        assert torch.equal(found.start(row, start.shape[3]), start)
    assert not found.start(ROWS, 90).any()


def test_what_rows_begin_with_is_held_once_and_goes_with_them():
    """Of eight rows with a long beginning; a short one, and one of a single row, are copied."""
    like = torch.zeros(())
    found = BlockCache(LAYERS, 12, HEADS, D, like, few=False, shares=True)
    long, short, other = (random(LAYERS, 2, HEADS, length, D).float() for length in (400, 20, 300))
    found.reserve(512)
    for rows, start in ((range(8), long), ((8, 9), short), ((10,), other)):
        found.fill(torch.tensor(rows), start)
    assert [start.shape[3] for start in found.starts.values()] == [400]
    assert not found.first_positions(400)[0][:, :, :8].any()  # nothing was copied
    new = random(LAYERS, 2, 12, HEADS, D).float()
    for layer, places in enumerate(found.places(torch.full((12,), 400))):
        found.write(places, *new[layer])
    whole = torch.cat([long, new[:, :, 7, :, None]], 3)
    assert torch.equal(found.start(7, 401), whole)
    assert torch.equal(found.start(7, 100), long[..., :100, :])
    found.move(torch.tensor([7, 8]), torch.tensor([1, 0]), 401)
    assert torch.equal(found.start(1, 401), whole)
    assert torch.equal(found.start(0, 20), short)
    found.grow(20, 401)
    assert torch.equal(found.start(1, 401), whole)
    assert torch.equal(found.start(10, 300), other)
    found.forget(2)
    assert len(found.starts) == 1
    found.begin_anew(np.arange(2))
    found.forget(2)
    assert not found.starts


def test_results_do_not_depend_on_what_was_here_before():
    lengths = [40, 3, 70, 33, 90]
    starts = [random(LAYERS, 2, HEADS, length, D) for length in lengths]
    q = random(ROWS, HEADS, 2, D).float()
    grown, fresh = (BlockCache(LAYERS, ROWS, HEADS, D, torch.zeros(()), False) for _ in range(2))
    grown.reserve(4000)
    for row, start in enumerate(starts):
        grown.fill(torch.tensor([row]), start.float())
        fresh.fill(torch.tensor([row]), start.float())
    assert torch.equal(attended(grown, 1, q, lengths), attended(fresh, 1, q, lengths))


def test_a_block_of_all_rows_is_one_piece_of_memory():
    """What this layout is for; `attend` reads it as it lies."""
    found, _ = filled([40, 3, 70, 33, 90])
    for block, size in zip(found.blocks, found.sizes, strict=True):
        for states in block.flatten(0, 1):
            assert states.shape == (ROWS, HEADS, size, D)
            assert states.is_contiguous()


@pytest.mark.parametrize(("few", "count"), [(False, [1, 4, 8, 12, 24]), (True, [1, 1, 1, 2, 5])])
def test_blocks_end_where_widths_do(few, count):
    capacities = [2**k for k in (5, 7, 8, 9, 12)]
    sizes = [block_sizes(max(capacity, 256) if few else capacity, few) for capacity in capacities]
    assert [len(found) for found in sizes] == count
    assert [sum(found) for found in sizes] == [
        max(capacity, 256) if few else capacity for capacity in capacities
    ]
    assert all(longer[: len(shorter)] == shorter for shorter, longer in pairwise(sizes))


@pytest.mark.parametrize(("length", "width"), [(1, 32), (33, 64), (70, 96), (257, 320), (520, 640)])
def test_widths_are_whole_blocks(length, width):
    found, _ = filled([1] * ROWS)
    found.reserve(length)
    assert found.width(length) == width
    sizes = [block.shape[4] for block in found.first_positions(width)]
    assert sum(sizes) == width
    assert sizes == found.sizes[: len(sizes)]
