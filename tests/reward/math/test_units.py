from fractions import Fraction

import pytest

from menon.reward.math.moments import Date, Time, moment, same_moment
from menon.reward.math.tokens import Token, Unreadable
from menon.reward.math.units import looks_like_unit, measure, same_unit
from menon.reward.math.wording import said


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ("kJ", "J", 1000),
        ("m/s", "km/h", Fraction(18, 5)),
        ("m s^-1", "m/s", 1),
        ("g/cm^3", "kg/m^3", 1000),
        ("N m", "J", 1),
        ("square feet", "ft^2", 1),
        ("cubic cm", "mL", 1),
        ("miles per hour", "mph", 1),
        ("平方米", "m^2", 1),
        ("hours", "小时", 1),
        ("apples", "Apple", 1),
        ("dollars a day", "dollars/day", 1),
        ("m", "s", None),
        ("m/s", "m s", None),
        ("apples", "pears", None),
        ("dollar", "euro", None),
        ("mW", "MW", Fraction(1, 10**9)),
    ],
)
def test_how_many_of_one_unit_another_is(one, other, factor):
    assert same_unit(one, other) == factor


def test_a_unit_has_powers_of_bases():
    assert measure("kg m/s^2").powers == frozenset({("g", 1), ("m", 1), ("s", -2)})
    assert measure("kg m/s^2").factor == 1000
    assert measure("flower pots").known is False


def test_what_may_be_left_out_looks_like_a_unit():
    for text in (
        "cm",
        "red balls",
        "pieces of candy",
        "of the cake",
        "students per class",
        "个 苹果",
        "élèves",
    ):
        assert looks_like_unit(text), text
    for text in (
        "milyon",
        "extraneous",
        "wrong",
        "upwards",
        "juta",
        "以上",
        "неверно",
        "five more of these odd things x",
    ):
        assert not looks_like_unit(text), text


@pytest.mark.parametrize(
    ("text", "left", "right", "tokens"),
    [
        (" million", True, False, ["*", "1000000"]),
        ("negative ", False, True, ["-"]),
        (" or 43", True, False, ["or", "43"]),
        (" and a half hours", True, False, ["1/2", "hours"]),
        ("the answer is ", False, True, []),
        (" apples are left", True, False, ["apples"]),
        ("共", False, True, []),
        ("万元", True, False, ["*", "10000", "元"]),
    ],
)
def test_words_become_tokens(text, left, right, tokens):
    assert [token.text for token in said(text, left, right)] == tokens
    assert all(isinstance(token, Token) for token in said(text, left, right))


@pytest.mark.parametrize(
    "text", [" or more", " is wrong", " factor", " (possibly 43)", " 以上", " of which", "ish"]
)
def test_other_words_are_not_read(text):
    with pytest.raises(Unreadable):
        said(text, True, False)


def test_times_and_dates():
    assert moment("2:30\\text{ p.m.}") == Time(2, 30, 0, "p")
    assert moment("14:05") == Time(14, 5, 0, "")
    assert moment("3/14/2023") == Date(((2023, 3, 14),))
    assert moment("05/06/2024") == Date(((2024, 5, 6), (2024, 6, 5)))
    assert moment("the 4th of July") == Date(((0, 7, 4),))
    assert moment("3:4") is moment("25:00") is moment("13/13/2023") is moment("42") is None
    assert same_moment("2:30 PM", "14:30") is True
    assert same_moment("2:30 PM", "2.5") is same_moment("2020", "2023-01-02") is False
    assert same_moment("3:4", "6:8") is None
