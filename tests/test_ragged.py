"""Numbers worked by hand on three sequences of 3, 0 and 2 tokens."""

import torch

from menon import ragged

OFFSET = torch.tensor([0, 3, 3, 5])
X = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])


def test_owner_and_spread():
    assert ragged.owner(OFFSET).tolist() == [0, 0, 0, 2, 2]
    assert ragged.spread(torch.tensor([5.0, 6.0, 7.0]), OFFSET).tolist() == [5, 5, 5, 7, 7]


def test_sequence_sum_keeps_empty_sequences():
    assert ragged.sequence_sum(X, OFFSET).tolist() == [7, 0, 24]


def test_sequence_sum_is_the_same_alone_and_among_neighbours():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    offset = torch.tensor([0, 137, 600, 1000])
    together = ragged.sequence_sum(values, offset)
    for s in range(3):
        piece = values[offset[s] : offset[s + 1]]
        assert torch.equal(ragged.sequence_sum(piece, torch.tensor([0, len(piece)]))[0], together[s])


def test_last():
    mask = torch.tensor([True, True, False, False, False])
    assert ragged.last(mask, OFFSET).tolist() == [1, -1, -1]


def test_first():
    mask = torch.tensor([False, True, True, False, False])
    assert ragged.first(mask, OFFSET).tolist() == [1, 5, 5]


def test_pad_and_unpad():
    rows = ragged.pad(X, OFFSET, fill=-1)
    assert rows.tolist() == [[1, 2, 4], [-1, -1, -1], [8, 16, -1]]
    assert torch.equal(ragged.unpad(rows, OFFSET), X)


def test_return_to_go():
    assert ragged.return_to_go(X, OFFSET).tolist() == [7, 6, 4, 24, 16]
    assert ragged.return_to_go(X, OFFSET, gamma=0.5).tolist() == [3, 4, 4, 16, 16]
    mixed = torch.tensor([0.5] + [1.0] * (len(OFFSET) - 2))
    assert ragged.return_to_go(X, OFFSET, gamma=mixed).tolist() == [3, 4, 4, 24, 16]


def test_masked_mean_ignores_what_lies_outside():
    values = torch.tensor([1.0, 3.0, float("nan")])
    assert ragged.masked_mean(values, torch.tensor([True, True, False])) == 2
    assert ragged.masked_mean(values, torch.zeros(3, dtype=torch.bool)) == 0
