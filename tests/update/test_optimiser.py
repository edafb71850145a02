import math

import pytest

from menon.errors import UserError
from menon.update.optimiser import Optimiser, rate


def rates(optimiser: Optimiser, count: int) -> list[float]:
    return [rate(optimiser, updates) for updates in range(count)]


def test_constant_after_a_linear_rise():
    assert rates(Optimiser(0.4), 3) == [0.4, 0.4, 0.4]
    assert rates(Optimiser(0.4, warmup_updates=4), 6) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_linear_fall_to_a_fraction():
    optimiser = Optimiser(1.0, warmup_updates=1, schedule="linear", total_updates=5, final_fraction=0.2)
    assert rates(optimiser, 8) == pytest.approx([1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])


def test_cosine_fall():
    optimiser = Optimiser(2.0, schedule="cosine", total_updates=4)
    half = 1 / math.sqrt(2)
    assert rates(optimiser, 6) == pytest.approx([2.0, 1 + half, 1.0, 1 - half, 0.0, 0.0])


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"betas": (0.9, 1.0)}, "each must be at least 0 and below 1"),
        ({"final_fraction": 2.0}, "between 0 and 1"),
        ({"schedule": "linear"}, "needs total_updates above warmup_updates"),
        ({"schedule": "cosine", "warmup_updates": 5, "total_updates": 5}, r"\(5 against 5\)"),
    ],
)
def test_mistakes(setting, sentence):
    with pytest.raises(UserError, match=sentence):
        Optimiser(**setting)
