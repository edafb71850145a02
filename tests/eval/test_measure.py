"""Quantities within a tolerance."""

import pytest

from menon.eval.measure import WithinTolerance, power, value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("67", 67.0),
        ("$-1{,}234.5\\,\\mathrm{J}$", -1234.5),
        ("6.6 \\times 10^{-23} kg", 6.6e-23),
        ("$2.5\\times10^{3}$", 2500.0),
        ("2 × 10^-3", 0.002),
        ("10^{7} km", 1e7),
        ("1e-5", 1e-5),
        ("x = .5 m", 0.5),
        ("89,034.79", 89034.79),
        ("−2", -2.0),
        ("3.14.", 3.14),
        ("1e400", float("inf")),
        ("about x", None),
        ("-", None),
        ("", None),
    ],
)
def test_the_first_number(text, number):
    assert value(text) == number


def test_powers_of_units():
    assert power("$\\mathrm{10^{-4}} \\mathrm{~cm}^3$") == 1e-4
    assert power("$10^{14} \\mathrm{~Hz}$") == 1e14
    assert power("$\\mathrm{kJ} \\mathrm{mol}^{-1}$") == power("") == 1.0


def test_near_enough_is_right():
    def score(said: str, gold: str, unit: str | None = None) -> float:
        return WithinTolerance()("", f"so \\boxed{{{said}}}", gold, unit=unit).score

    assert [score(said, "100") for said in ("100", "95", "105 J", "94.9", "105.1", "-100", "none")] == [
        1,
        1,
        1,
        0,
        0,
        0,
        0,
    ]
    assert [score(said, "-2") for said in ("-2.05", "2")] == [1, 0]
    assert [score(said, "0") for said in ("0", "0.01")] == [1, 0]
    unit = "$10^{-19} \\mathrm{~J}$"
    assert [score(said, "3.52", unit) for said in ("3.5", "3.52 \\times 10^{-19}", "3.52e-18")] == [1, 1, 0]
    assert score("3.52 \\times 10^{-19}", "3.52") == 0
    assert score("1e400", "3") == 0
    assert WithinTolerance()("", "no box 100", "100").acc == 0
    assert WithinTolerance(relative=0.0)("", "\\boxed{3.1}", "3.10").acc == 1


def test_votes_go_to_alike_numbers():
    alike = WithinTolerance().alike
    assert [alike("100", other) for other in ("104 J", "106", "none")] == [True, False, False]
    assert alike("none", "nothing")
