"""Squared scores 1 - 2p + sum p^2 by hand: 1 and 1 of the first answer; .5, .125 and 0 (a sure token) of the
second."""

import math

import pytest

from menon.advantage import OptimalToken
from menon.errors import UserError
from rows import batch_of, rows_of

MASK = [[1, 1, 0], [1, 1, 1]]
P = [[0.25, 0.25, 1], [0.5, 0.75, 1]]
LOGP = [[math.log(p) for p in row] for row in P]
COLLISION = [[0.5, 0.5, 1], [0.5, 0.625, 1]]


def credit(part, mask=MASK, **given):
    batch = batch_of(mask, **({"old_logp": LOGP, "collision": COLLISION} | given))
    return rows_of(batch, part(batch).advantage).tolist()


def close(found, expected):
    return all(row == pytest.approx(want, abs=1e-6) for row, want in zip(found, expected, strict=True))


def test_two_answers():
    """W = 1, 2 and .5, .625, .625: B = 1 / 1.5, 2 / 2.625, and 0 where only the wrong answer goes on."""
    assert close(credit(OptimalToken(), outcome=[1, 0]), [[1 / 3, 0.238095, 0], [-2 / 3, -0.761905, 0]])


def test_the_answer_that_goes_on_alone():
    """B = .5 / 1.5, .625 / 2.625, then its own reward or none."""
    expected = [[-1 / 3, -0.238095, 0], [2 / 3, 0.761905, 0]]
    assert close(credit(OptimalToken(), outcome=[0, 1]), expected)
    expected[1][2] = 1
    assert close(credit(OptimalToken("none"), outcome=[0, 1]), expected)


@pytest.mark.parametrize(("bound", "first"), [(4.0, 4 / 4.5), (1.5, 2.25 / 2.75)])
def test_importance_weights_count_squared_and_are_bounded(bound, first):
    """w = 2 on the first answer's tokens and 1 on the other's."""
    behaviour = [[x - math.log(2) for x in LOGP[0]], LOGP[1]]
    found = credit(OptimalToken(importance=bound), outcome=[1, 0], behaviour_logp=behaviour)
    assert found[1][0] == pytest.approx(-first, abs=1e-6)


def test_rewards_of_turns_tell_answers_of_equal_sums_apart():
    """Rewards to come 1, 0 and 1, 1 with W = 1, 2 and .5, .625."""
    found = credit(OptimalToken(), [[1, 1, 0], [1, 1, 0]], reward=[[1, 0, 0], [0, 1, 0]])
    assert close(found, [[0, -0.238095], [0, 0.761905]])


def test_tokens_of_an_environment_are_no_steps():
    """The second token of the first answer is met with the second one that the other wrote."""
    seen = [[1, 0, 1], [1, 1, 0]]
    assert close(
        credit(OptimalToken(), seen, outcome=[1, 0], collision=[[0.5, 9, 1], [0.5, 0.625, 9]]),
        [[1 / 3, 0, 1 - 1 / 1.625], [-2 / 3, -1 / 1.625, 0]],
    )


@pytest.mark.parametrize("lone", ["own", "none"])
@pytest.mark.parametrize(
    "given",
    [{"outcome": [1, 1]}, {"outcome": [1, 0], "group": [0, 1]}, {"outcome": [1, 0], "valid": [True, False]}],
)
def test_nothing_to_compare_with_is_exactly_0(lone, given):
    assert credit(OptimalToken(lone), **given) == [[0, 0, 0], [0, 0, 0]]


def test_empty_answers_have_no_place():
    assert credit(OptimalToken("none"), [[0, 0, 0], [1, 1, 1]], outcome=[0, 1]) == [[0, 0, 0], [0, 0, 0]]


def test_rounding_never_makes_a_negative_weight():
    found = credit(OptimalToken(), outcome=[1, 0], collision=[[0.5 - 1.1, 0.5, 1], COLLISION[1]])
    assert found[0][0] == pytest.approx(1)
    assert found[1][0] == pytest.approx(0)


def test_what_it_reads():
    assert OptimalToken().reads == ("reward", "old_logp", "collision")
    assert OptimalToken(importance=2).reads == ("reward", "old_logp", "collision", "behaviour_logp")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eps": 0}, "it must be positive"),
        ({"importance": 0.5}, "at least 1, or null"),
        ({"importance": math.nan}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense(given, message):
    with pytest.raises(UserError, match=message):
        OptimalToken(**given)
