"""Quantities within a tolerance."""

import math
import time

import pytest

from menon.eval.measure import WithinTolerance
from menon.eval.quantity import power, value

NUMBERS = [
    ("67", 67.0),
    ("$-1{,}234.5\\,\\mathrm{J}$", -1234.5),
    ("6.6 \\times 10^{-23} kg", 6.6e-23),
    ("$2.5\\times10^{3}$", 2500.0),
    ("2 × 10^-3", 0.002),
    ("10^{7} km", 10000000.0),
    ("1e-5", 1e-05),
    ("x = .5 m", 0.5),
    ("89,034.79", 89034.79),
    ("−2", -2.0),
    ("3.14.", 3.14),
    ("1e400", math.inf),
    ("about x", None),
    ("-", None),
    ("", None),
    ("12 J", 12),
    ("5x", None),
    ("2x", None),
    ("42 K", 42),
    ("10 m/s", 10),
    ("10 m s^{-1}", 10),
    ("10\\,\\mathrm{m\\,s^{-1}}", 10),
    ("9.8\\,\\frac{\\text{m}}{\\text{s}^2}", 9.8),
    ("5.2 \\pm 0.1", 5.2),
    ("(5.2\\pm0.1)\\times10^3", 5200),
    ("54.7^\\circ", 54.7),
    ("54.7°", 54.7),
    ("20^{\\circ}\\mathrm{C}", 20),
    ("20 °C", 20),
    ("5.0 x 10^3", 5000),
    ("2400\\cos(40^\\circ)", 1838.5),
    ("\\sin 30^\\circ", 0.5),
    ("\\ln 2", 0.693147),
    ("e^{3}", 20.0855),
    ("e^3", 20.0855),
    ("\\sqrt{2}", 1.41421),
    ("\\sqrt[3]{8}", 2),
    ("\\frac{2\\pi}{3}", 2.0944),
    ("3\\text{ to }7", None),
    ("3-7", -4),
    ("3 to 7", None),
    ("3--7", None),
    ("5\\text{ million}", None),
    ("5 million", None),
    ("2 dozen", None),
    ("\\text{negative }5", None),
    ("negative 5", None),
    ("minus 5", None),
    ("at least 5", None),
    (">5", None),
    ("x > 5", None),
    ("x \\geq 5", None),
    ("\\approx 5.1", 5.1),
    ("\\text{approximately } 5.1", 5.1),
    ("about 5.1", 5.1),
    ("approximately 5.1 m", 5.1),
    ("The pressure is 5.1 atm", 5.1),
    ("not 5", None),
    ("5, 7", None),
    ("5 and 7", None),
    ("x = 5 or x = 7", None),
    ("5\\%", 0.05),
    ("5 %", 0.05),
    ("5 percent", 0.05),
    ("\\text{5 percent}", 0.05),
    ("\\text{about 412 K}", 412),
    ("5.2 = v_0", 5.2),
    ("3\\times10^{8}\\,\\frac{m}{s}", 3e8),
    ("5.2 × 10⁻³ M", 0.0052),
    ("T_1=300, T_2=412", None),
    ("12 cm by 5 cm", None),
    ("2 ft 3 in", None),
    ("1" * 2000, None),
    ("1.5e-3", 0.0015),
    ("1.5E5", 150000),
    ("2^{10}", 1024),
    ("10!", 3628800),
    ("F = ma = 5.0\\,\\text{N}", 5),
    ("412 = T", 412),
    ("T=412 K = 139 °C", 139),
    ("-\\frac{1}{2}", -0.5),
    ("3 1/2", 3.5),
    ("3\\frac12", 3.5),
    ("1/2", 0.5),
    ("\\log_{10} 100", 2),
    ("\\log 100", 2),
    ("6.02\\times10^{23}\\text{ mol}^{-1}", 6.02e23),
    ("0.5\\text{ (dimensionless)}", 0.5),
    ("5.2 m/s (downward)", 5.2),
    ("5\\text{/6}", None),
    ("5/\\text{6}", None),
    ("5\\text{ squared}", None),
    ("half of 5", None),
    ("5 hundredths", None),
    ("1.2 kJ/mol", 1.2),
    ("1.2 kJ mol^{-1}", 1.2),
    ("1.2 kJ·mol⁻¹", 1.2),
    ("8.314 J/(mol·K)", 8.314),
    ("8.314 J/(mol K)", 8.314),
    ("8.314\\;\\mathrm{J\\,mol^{-1}\\,K^{-1}}", 8.314),
    ("550\\text{ nm}", 550),
    ("550nm", 550),
    ("3.0\\times 10^8 \\text{m/s}", 300000000.0),
    ("5.67\\times10^{-8}", 5.67e-08),
    ("\\$5", 5),
    ("\\$1,234", 1234),
    ("\\boxed{5}", 5),
    ("2\\pi\\text{ rad}", 6.28318),
    ("2\\pi r", None),
    ("\\pi", 3.14159),
    ("e", 2.71828),
    ("4\\pi\\epsilon_0", None),
    ("5 apples", 5),
    ("5 x", None),
    ("5n", None),
    ("5 y", None),
    ("5^2 m", 25),
    ("5 m^2", 5),
    ("5\\,m^2", 5),
    ("5\\ \\mathrm{cm}^{3}", 5),
    ("10^7", 10000000.0),
    ("3.5 h", 3.5),
    ("2 hours 30 minutes", None),
    ("2 h 30 min", None),
    ("12:30", None),
    ("5'", None),
    ("{5}", 5),
    ("5.", 5),
    ("+5", 5),
    ("−5", -5),
    ("1.5 \\cdot 10^3", 1500),
    ("5 \\text{ or } 7", None),
    ("5; 7", None),
    ("(5, 7)", None),
    ("[5, 7]", None),
    ("5\\ldots", None),
    ("5 times 3", None),
    ("5·3", 15),
    ("\\text{two}", None),
    ("two", None),
    ("5i", None),
    ("0x1F", None),
    ("5 or so", None),
    ("1 in 5", None),
    ("1 out of 5", None),
    ("5 per 100", None),
    ("5:2", None),
    ("T = 300 K at P = 1 atm", None),
    ("5 (T = 3)", None),
    ("v(2) = 5", 5),
    ("x_1 = 2.5", 2.5),
    ("-1.3 V", -1.3),
    ("0 J", 0),
    ("5 Ω", 5),
    ("5 \\Omega", 5),
    ("5\\,\\mu\\text{m}", 5),
    ("5 μm", 5),
    ("5 \\mathrm{~cm}", 5),
    ("5 \\unit{cm}", None),
    ("1,000", 1000),
    ("1{,}000", 1000),
    ("10 \\mathrm{ V}/\\mathrm{m}", 10),
    ("5 mod 3", None),
    ("5\\text{ times }10^3", None),
    ("\\text{between }3\\text{ and }7", None),
    ("3\\sim7", 7),
    ("3 \\sim 7", 7),
    ("3~7", None),
    ("3 – 7", -4),
    ("5 \\text{ below zero}", None),
    ("5 below zero", None),
    ("5 less than 7", None),
    ("5\\text{ six}", None),
    ("5\\text{ tenths}", None),
    ("5\\text{ halves}", None),
    ("5\\text{ milliards}", None),
    ("5 \\; \\mathrm{kg\\cdot m^2/s}", 5),
    ("5 \\mathrm{m^{2} / s}", 5),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_the_number_is_what_follows_the_last_equals_sign(text, number):
    assert value(text) == (None if number is None else pytest.approx(number, rel=1e-4))


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
    assert [score(said, "2.3", "$\\%$") for said in ("2.3", "2.3\\%", "0.023", "23\\%")] == [1, 1, 1, 0]
    assert [score(said, "412") for said in ("T_{300} = 412", "412 or 300")] == [1, 0]
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


@pytest.mark.parametrize(
    "unit",
    [
        "1, ",
        "1",
        "\\text{",
        "\\frac{m}{",
        "^2 ",
        "{ }",
        "= ",
        "1 = x ",
        "m ",
        "(",
        "1 at ",
        "\\pm 1",
        "10^",
        "$",
        "x_{",
    ],
)
def test_hostile_text_is_cheap(unit):
    began = time.perf_counter()
    for size in (900, 20_000):
        value("5 " + unit * (size // len(unit)))
    assert time.perf_counter() - began < 1
