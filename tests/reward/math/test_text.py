import pytest

from menon.reward.math.text import decimal, squeeze, tidy, words


@pytest.mark.parametrize(
    ("written", "one"),
    [
        ("\\dfrac{1}{2}", "\\frac{1}{2}"),
        ("\\left( 1, \\, 2 \\right]", "( 1,   2 ]"),
        ("x² + y₁ − ½", "x^{2} + y_{1} - \\frac{1}{2}"),
        ("√12", "\\sqrt{12}"),
        ("４２٣", "423"),
        ("1,234,567.89", "1234567.89"),
        ("1{,}234", "1234"),
        ("1,\\! 234", "1234"),
        ("1\u202f234", "1234"),
        ("12, 345", "12, 345"),
        ("(1,234)", "(1,234)"),
        ("7,1,234", "7,1,234"),
        ("\\{1,234\\}", "\\{1,234\\}"),
        ("1,2345", "1,2345"),
        ("\\$5", "\\text{$}5"),
        ("$5$", "5"),
        ("$5", "\\text{$}5"),
        ("5€", "5\\text{€}"),
        ("90^{\\circ}", "90°"),
        ("\\mathrm{e}", "e"),
        ("5\\text{ m}", "5\\text{ m}"),
        ("\\mbox{ inches}", "\\text{ inches}"),
        ("50 \\text{percent}", "50 %"),
        ("\\\\frac{1}{2}", "\\frac{1}{2}"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        ("sqrt(2) + pi", "\\sqrt (2) + \\pi"),
        ("x <= 3 != 4", "x \\le  3 \\ne  4"),
        ("7<|im_end|>", "7"),
        ("\u200b7\ufeff", "7"),
    ],
)
def test_one_spelling(written, one):
    assert tidy(written) == one


def test_a_group_of_digits_can_be_read_apart():
    assert tidy("81,256", grouped=False) == "81,256"


def test_the_key_drops_what_does_not_count_and_keeps_digits_apart():
    assert squeeze(tidy("\\text{No solution}.")) == "nosolution"
    assert squeeze(tidy("\\frac{1}{x} + 2 x")) == "\\frac1x+2x"
    assert squeeze("4 2") == "4 2"
    assert squeeze("7!") == "7!"
    assert squeeze("x") == "x"
    assert squeeze("X") == "X"


def test_decimals_have_one_form():
    """Negative, digits without zeros at the ends, power of ten of the last digit."""
    assert decimal("007.50") == decimal("7.5") == decimal("75e-1") == (False, "75", -1)
    assert decimal("-1200") == (True, "12", 2)
    assert decimal("0") == decimal("-0.00") == decimal(".0") == (False, "", 0)
    assert decimal("1e400") == (False, "1", 400)
    assert decimal("9" * 100_000 + "8") == (False, "9" * 100_000 + "8", 0)
    for text in ("", ".", "-", "1.2.3", "1e", "x", "1 2", "٣"):
        assert decimal(text) is None


def test_prose_is_compared_by_its_words():
    assert (
        words("The capital of  France, is \\text{Paris}!")
        == words("capital of france is paris")
        == "capital of france is paris"
    )
    assert words("3.5 m") == "3.5 m"
    assert words("...") == ""
