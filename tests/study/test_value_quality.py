import numpy as np
import pytest

from menon.streams import stream
from menon.study.value_quality import (
    END,
    GROUP,
    answer,
    coarse,
    critic,
    group_mean,
    measured,
    monte_carlo,
    states_alone,
    tree,
    world,
)

W = world(0)


def test_exact_values_are_what_answers_earn():
    """Of 4000 answers, and from a state half way."""
    draw = stream(1, "test")
    for start in ((), (1, 0)):
        got = [answer(W, draw, start) for _ in range(4000)]
        value = W.value[W.row[start]]
        assert np.mean([reward for _, reward in got]) == pytest.approx(
            value, abs=4 * (value * (1 - value) / 4000) ** 0.5
        )
        assert np.mean([len(rows) for rows, _ in got]) == pytest.approx(W.left[W.row[start]], rel=0.05)


def test_a_state_by_hand():
    """Behind five letters with two b: only the end is right, whatever else is the last token is cut."""
    assert W.value[W.row[(1, 1, 0, 0, 0)]] == W.policy[W.row[(1, 1, 0, 0, 0)], END]
    assert W.value[W.row[(0, 0, 0, 0, 0)]] == 0
    assert W.visits.sum() == pytest.approx(1)


def test_monte_carlo_has_no_bias_and_the_variance_of_a_coin():
    row = measured(W, "mc", monte_carlo(9), 0, 2000)
    assert row.bias < 0.01
    assert row.deviation == pytest.approx(((W.visits * W.value * (1 - W.value)).sum() / 9) ** 0.5, rel=0.03)


def test_the_groups_mean_knows_the_question_alone():
    row = measured(W, "group", group_mean, 0, 600)
    assert row.bias == pytest.approx((W.visits * (W.value - W.value[0]) ** 2).sum() ** 0.5, abs=0.01)
    assert row.deviation == pytest.approx((W.value[0] * (1 - W.value[0]) / GROUP) ** 0.5, rel=0.1)


def test_a_critic_is_as_good_as_what_it_sees():
    weak, table = (
        measured(W, name, critic(64, see), 0, 60) for name, see in (("weak", coarse), ("table", states_alone))
    )
    assert table.bias < weak.bias < measured(W, "group", group_mean, 0, 100).bias


def test_a_tree_has_no_bias_at_its_root():
    values = np.array([tree((4, 4), 2)(W, stream(0, "tree", i))[0] for i in range(400)])
    assert values.mean() == pytest.approx(W.value[0], abs=4 * values.std() / 20)
