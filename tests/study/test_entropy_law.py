import math

import numpy as np
import pytest

from menon.errors import UserError
from menon.study.entropy_law import early_points, fit, judge, line, spent

H = np.linspace(1.2, 0.1, 40)


def test_golden_11_4():
    h, r = np.array([0, 0.5, 1, 1.5]), np.array([0.5, 0.435128, 0.328172, 0.151831])
    a, b = line(h, r)
    np.testing.assert_allclose([a, b, b - a], [0.1, 0.6, 0.5], atol=1e-6)


def test_a_line_worked_by_hand():
    """u = 1, 2, 4 and R = 5, 4, 0: mean u 7/3, mean R 3; sum (u - 7/3)(R - 3) = -8, sum (u - 7/3)^2 =
    14/3."""
    a, b = line(np.log([1.0, 2.0, 4.0]), np.array([5.0, 4.0, 0.0]))
    assert (a, b) == (pytest.approx(12 / 7), pytest.approx(3 + 12 / 7 * 7 / 3))


def test_an_exact_law_is_found_exactly():
    law = fit(H, 0.9 - 0.2 * np.exp(H))
    np.testing.assert_allclose(
        [law.a, law.b, law.ceiling, law.r2, law.low, law.high], [0.2, 0.9, 0.7, 1, 0.7, 0.7], rtol=1e-9
    )


def test_a_planted_law_is_recovered_from_noise_and_the_interval_holds_its_ceiling():
    held = 0
    for seed in range(100):
        noise = 0.02 * np.random.default_rng(seed).standard_normal(len(H))
        law = fit(H, 0.9 - 0.2 * np.exp(H) + noise)
        assert law.a == pytest.approx(0.2, abs=0.03)
        assert law.r2 > 0.9
        held += law.low < 0.7 < law.high
    assert 85 <= held <= 99  # of 95 expected; blocks of four cost a little


def test_r2_by_hand():
    """Residuals that a line cannot see: 4 points of +e, -e, -e, +e about each of two entropies keep a and
    b."""
    h = np.log(np.repeat([1.0, 2.0], 4))
    r = np.repeat([0.8, 0.6], 4) + 0.1 * np.tile([1, -1, -1, 1], 2)
    law = fit(h, r)
    assert (law.a, law.b) == (pytest.approx(0.2), pytest.approx(1.0))
    assert law.r2 == pytest.approx(1 - 8 * 0.01 / (8 * 0.01 + 8 * 0.01))


def test_a_forecast_is_scored_on_what_comes_later():
    """The law is 1 - exp(H) / 10; later scores lie .03 above it, then .04 below it."""
    law = fit(H[:8], 1 - 0.1 * np.exp(H[:8]))
    later = np.array([0.1, 0.0])
    got = judge(law, later, 1 - 0.1 * np.exp(later) + np.array([0.03, -0.04]))
    assert (got.points, got.rmse, got.final_error) == (
        2,
        pytest.approx(math.sqrt((0.0009 + 0.0016) / 2)),
        pytest.approx(0.04),
    )


def test_how_much_of_a_run_a_forecast_sees():
    assert [early_points(steps) for steps in (10, 53, 54, 240, 241)] == [8, 8, 9, 36, 37]


def test_what_is_spent():
    assert spent([4.0, 2.0, 1.0, 0.0], 1 / 3) == 0.5
    assert spent([1.0, 1.0], 0.5) == 0


@pytest.mark.parametrize(
    ("entropy", "score", "sentence"),
    [
        (H[:7], H[:7], "needs 8 points and there are 7"),
        (np.full(9, 0.5), H[:9], "the same at every step"),
        (H, np.exp(H), r"does not fall as the entropy rises \(a = -1\)"),
        (H, np.full(40, 0.5), "does not fall as the entropy rises"),
    ],
)
def test_what_is_no_law_is_one_sentence(entropy, score, sentence):
    with pytest.raises(UserError, match=sentence):
        fit(entropy, score)
