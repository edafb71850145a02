r"""Results that are worked out, and calculations that are left to the reader."""

import pytest

from menon.reward.extract import LENIENT, names
from menon.reward.math.answer import MathAnswer
from menon.reward.math.text import tidy
from menon.reward.math.worked import is_number, is_worked

WORKED = (
    *(
        "161",
        "-161",
        "+161",
        "1,610",
        "0.5",
        ".5",
        "-.25",
        "161.",
        "161.0",
        "$161$",
        "\\$161",
        "161\\%",
        "50%",
    ),
    *(
        "\\frac{3}{4}",
        "3/4",
        "-\\frac{3}{4}",
        "\\dfrac34",
        "2\\frac{1}{2}",
        "2 1/2",
        "-3/4",
        "\\frac{161}{2}",
    ),
    *("x=161", "x = 161", "12\\times 13+5=161", "n=-4", "a = \\frac12"),
    *(
        "161 \\text{ cm}",
        "161 cm",
        "161\\,\\mathrm{cm}^2",
        "161 cm^2",
        "161\\text{ m/s}",
        "90^\\circ",
        "161 apples",
    ),
    *("1.61\\times10^{2}", "1.61 \\cdot 10^2", "10^{6}", "3\\times 10^{-4}", "1.61e2", "161\\text{ km/h}"),
    *("\\text{161}", "£161", "€161", "161 m^{-1}", "161 kg/m^3"),
)
UNWORKED = (
    *(
        "12\\times 13+5",
        "12 \\cdot 13 + 5",
        "12*13+5",
        "12×13+5",
        "156+5",
        "166-5",
        "166 - 5",
        "(156)+(5)",
        "100+61",
    ),
    *(
        "322/2",
        "\\frac{322}{2}",
        "\\dfrac{483}{3}",
        "-(-161)",
        "7(23)",
        "(7)(23)",
        "7\\cdot 23",
        "23\\times7",
    ),
    *(
        "2^{7}+33",
        "12^2+17",
        "2^5",
        "5!",
        "\\sqrt{25921}",
        "\\sqrt{4}",
        "\\log_2 8",
        "\\binom{7}{2}",
        "8\\div 2",
    ),
    *("x=12\\cdot 13+5", "12 + 149 \\text{ cm}", "\\frac{12\\cdot 13+5}{1}", "\\sum_{k=1}^{7} 23", "161+0"),
    *("\\frac{10+2}{3}", "3^4", "0.5\\cdot 322", "16.1\\times 10", "161\\times 1", "\\lfloor 161.5\\rfloor"),
)
NUMBERS = (
    "161",
    "-0.5",
    "1,234",
    "\\frac{3}{4}",
    "3/4",
    "5 cm",
    "5\\text{ cm}",
    "50\\%",
    "2\\frac12",
    "\\$5",
    "7 apples",
)
OTHERS = (
    "3x",
    "x^2-1",
    "2^{10}",
    "(1,2)",
    "\\sqrt{2}",
    "\\pi",
    "2\\pi",
    "[0,1)",
    "x=2,3",
    "\\{1,2\\}",
    "1+i",
    "B",
    "yes",
)


@pytest.mark.parametrize("text", WORKED)
def test_worked(text):
    assert is_worked(tidy(text))


@pytest.mark.parametrize("text", UNWORKED)
def test_unworked(text):
    assert not is_worked(tidy(text))


def test_gold_answers_that_are_numbers():
    assert [text for text in NUMBERS if not is_number(tidy(text))] == []
    assert [text for text in OTHERS if is_number(tidy(text))] == []


def test_the_reward():
    reward = MathAnswer(workers=1)
    question = "What is $12 \\times 13 + 5$?"
    try:
        for result, score, unworked, repeated in (
            ("161", 1, 0, 0),
            ("12\\times 13+5", 0, 1, 1),
            ("156+5", 0, 1, 0),
            ("162", 0, 0, 0),
            ("12\\times 13+6", 0, 0, 0),
        ):
            verdict = reward(question, f"\\boxed{{{result}}}", "161")
            assert (verdict.score, verdict.acc) == (score, score), result
            assert (verdict.parts["unworked"], verdict.parts["repeats_question"]) == (unworked, repeated)
        assert reward("", "\\boxed{(x-1)(x+1)}", "x^2-1").score == 1
        assert reward("", "\\boxed{2^{10}}", "2^{10}").score == 1
        lenient = MathAnswer(names(LENIENT), workers=1, worked=False)
        verdict = lenient(question, "\\boxed{12\\times 13+5}", "161")
        assert verdict.score == 1
        assert "unworked" not in verdict.parts
        lenient.close()
    finally:
        reward.close()
