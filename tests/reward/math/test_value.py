from fractions import Fraction

import pytest

from menon.reward.math.text import tidy
from menon.reward.math.tokens import TooLarge, Unreadable
from menon.reward.math.tree import read
from menon.reward.math.value import Undefined, Unknown, ctx, equal, names, same_values, worth


def value(text):
    return worth(read(tidy(text)), 0)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("2+3\\cdot4^2", 50),
        ("-2^2", -4),
        ("2^{-3}", Fraction(1, 8)),
        ("1/2/4", Fraction(1, 8)),
        ("3\\frac{1}{4}", Fraction(13, 4)),
        ("-3\\frac14", Fraction(-13, 4)),
        ("1 1/2", Fraction(3, 2)),
        ("0.1\\overline{6}", Fraction(1, 6)),
        ("\\sqrt{\\frac{9}{4}}", Fraction(3, 2)),
        ("\\sqrt[3]{-8}", -2),
        ("8^{2/3}", 4),
        ("5!/3!", 20),
        ("\\binom{5}{2}", 10),
        ("|-3|+\\lfloor -2.5 \\rfloor+\\lceil 2.1 \\rceil", 3),
        ("\\log_2 8 + \\log 1000", 6),
        ("\\sum_{k=1}^{4} k^2", 30),
        ("\\prod_{k=1}^{4} k", 24),
        ("\\gcd(12, 18)", 6),
        ("-7 \\bmod 5", 3),
        ("\\max(1, 5, 3)", 5),
        ("1.5e3", 1500),
        ("50\\%", Fraction(1, 2)),
        ("(n-2)(n+2) - n^2 + 4", 0),
    ],
)
def test_fractions_stay_exact(text, exact):
    found = value(text)
    assert isinstance(found, Fraction)
    assert found == exact


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("\\sqrt{2}\\sqrt{3}", "\\sqrt{6}"),
        ("\\sin 30^\\circ", "1/2"),
        ("e^{i\\pi}+1", "0"),
        ("\\sin^{-1} 1", "\\frac{\\pi}{2}"),
        ("\\sin x\\cos x", "\\frac{1}{2}\\sin 2x"),
        ("\\ln(ab^2)", "\\ln(ab^2)"),
        ("f(1+1)", "f(2)"),
        ("n!", "n(n-1)!"),
        ("\\sum_{k=0}^{n} a_k b_k", "\\sum_{j=0}^{n} b_k a_k"),
    ],
)
def test_equal_at_every_point(text, same):
    assert same_values(read(tidy(text)), read(tidy(same)))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("\\sqrt{x^2}", "x"),
        ("\\sqrt[3]{x}", "x"),
        ("f(2)", "f(3)"),
        ("f(2)", "g(2)"),
        ("x_1", "x_2"),
        ("(x+y+z+w)^{120}", "(x+y+z+w)^{120}+1"),
        ("e^{\\pi\\sqrt{163}}", "262537412640768744"),
        ("10^{60}\\pi", "10^{60}\\pi+1"),
        ("\\sum_{k=0}^{n} k", "\\sum_{k=1}^{n+1} k^2"),
    ],
)
def test_different_somewhere(text, other):
    assert not same_values(read(tidy(text)), read(tidy(other)))


@pytest.mark.parametrize("text", ["1/0", "0/0", "0^{-1}", "0^0", "\\log 0", "\\tan\\frac{\\pi}{2}", "(-1)!"])
def test_what_is_no_number_is_undefined(text):
    with pytest.raises(Undefined):
        value(text)


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9^9}}",
        "2^{10^8}",
        "10^{10^5}!",
        "3001!",
        "\\sin(10^{100})",
        "e^{e^{e^{e}}}",
        "\\sum_{k=1}^{1000} k",
        "(" * 41 + "1" + ")" * 41,
    ],
)
def test_what_is_too_large_is_not_tried(text):
    with pytest.raises(TooLarge):
        value(text)


def test_what_has_no_value_here_is_unknown():
    for text in ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\text{cat}", "(1, 2)", "x < 3"):
        with pytest.raises(Unknown):
            value(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2 5",
        "4 2",
        "x2",
        "(1",
        "1)",
        "\\frac{1}",
        "[1, 2",
        "+",
        "1 = ",
        "42?",
        "\\qqq",
        "print(42)",
        "\\text{not } 3",
    ],
)
def test_what_is_no_mathematics_is_refused(text):
    with pytest.raises(Unreadable):
        read(tidy(text))


def test_variables_are_told_apart_and_bound_ones_are_none():
    assert names(read("x_1 + \\pi e i + f(y)")) == {"x_1", "y", "f()"}
    assert names(read("\\sum_{k=1}^{n} k x")) == {"n", "x"}


def test_closeness_is_no_equality():
    assert equal(ctx.sqrt(2) ** 2, Fraction(2))
    assert not equal(ctx.pi, Fraction(314159265358979323846264338327950288, 10**35))
