import pytest
import torch

from menon.moments import mean_and_deviation, nothing_seen, remembered


def test_two_memories_by_hand():
    """1, 3, then 5 with decay 1/2: mean (2/4 + 5/2) / (3/4) = 4, square (5/4 + 25/2) / (3/4) = 55/3, variance
    7/3."""
    moments = remembered(nothing_seen(), torch.tensor([1.0, 3.0]), decay=0.5)
    assert mean_and_deviation(moments, eps=0.0) == (2, 1)
    moments = remembered(moments, torch.tensor([5.0]), decay=0.5)
    assert mean_and_deviation(moments, eps=2 / 3) == pytest.approx((4, 3**0.5))


def test_before_anything_was_seen():
    assert mean_and_deviation(nothing_seen(), eps=1e-5) == (0, 1)
