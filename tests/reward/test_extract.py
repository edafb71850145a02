import time

import pytest

from menon.reward.choice import gold_letter, letter, mentioned
from menon.reward.extract import (
    LENIENT,
    answer_line,
    answer_tag,
    boxed,
    hash_marks,
    last_value,
    phrase,
)
from menon.reward.math.text import decimal, squeeze, tidy, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<answer>7</answer>", "7"),
        ("<answer>7</answer> no: <answer> 8 </answer>", "8"),
        ("<answer>it is \\boxed{8}</answer>", "8"),
        ("<answer>\\boxed{8</answer>", "\\boxed{8"),
        ("<answer></answer>", ""),
        ("<answer>7", None),
        ("7</answer><answer>", None),
    ],
)
def test_answer_tag_is_the_last_and_its_box_counts(text, found):
    assert answer_tag(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\\boxed{7}", "7"),
        ("\\boxed{1} then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\fbox{7}", "7"),
        ("so $\\boxed 7$", "7"),
        ("so $\\boxed\\frac{3}{4}$.", "\\frac{3}{4}"),
        ("$\\boxed7\\pi + 1$", "7\\pi + 1"),
        ("\\(\\boxed 7\\) and more", "7"),
        ("\\boxed{a \\boxed 7}", "a \\boxed 7"),
        ("use \\boxed here", None),
        ("\\boxed.", None),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{1} and \\boxed{2", None),
        ("boxed{7}", None),
        ("\\boxed{\\boxed{7}}", "\\boxed{7}"),
        ("\\boxed{1} so \\boxed{a \\boxed{7} b}", "a \\boxed{7} b"),
        ("\\boxed{open \\boxed{7}", "7"),
        ("a { b \\boxed{7}", "7"),
        ("\\boxed {7}", "7"),
    ],
)
def test_box_is_the_last_and_balanced(text, found):
    assert boxed(text) == found


def test_line_and_hash_marks_are_the_last_near_the_end():
    assert answer_line("Answer: 3\nANSWER : 4 apples\n") == "4 apples"
    assert answer_line("Answer: 3" + " " * 300) is None
    assert answer_line("**Final Answer**: 72") == answer_line("Answer：72") == "72"
    assert answer_line("Answer:\n\\[\n72\n\\]") == "\\[\n72\n\\]"
    assert hash_marks("#### 3\n#### $1,234.5") == "$1,234.5"
    assert hash_marks("#### **−1/2**") == "−1/2"
    assert hash_marks("#### 4 or 5") == "4 or 5"
    assert hash_marks("#### Step 3\nNow") is None
    assert hash_marks("#### 3. Now compute\n7") is None
    assert hash_marks("####-3") == "-3"
    assert hash_marks("### 3") is None
    assert hash_marks("#### 3" + " " * 300) is None


@pytest.mark.parametrize(
    "text", ["<answer>", "</answer>", "\\boxed{", "{", "\\boxed ", "Answer:", "#### ", "<think>"]
)
def test_hostile_text_is_cheap(text):
    start = time.perf_counter()
    for way in (answer_tag, boxed, answer_line, hash_marks):
        way(text * 50_000)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The answer is 7.", "7"),
        ("the answer is 6. No: the final answer is $7$, I hope", "$7$"),
        ("Answer: $50$ %", "$50$ %"),
        ("The answer is \\( 7 \\).", "\\( 7 \\)"),
        ("Answer: Janet will still have 220 $ to pay in 12 months.", "220"),
        ("答案：7", "7"),
        ("Réponse: 7", "7"),
        ("no such thing", None),
        ("the answer is", None),
    ],
)
def test_phrase(text, found):
    assert phrase(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7", "7"),
        ("x = 3+2", "x = 3+2"),
        ("We know $a=5$. So it is $x=7$.", "$x=7$"),
        ("$x=2$ and $x=7$ are all.", "$x=2$ and $x=7$"),
        ("We know $a=5$ and get 12 apples", "12"),
        ("from 1,000 to 1,234.5 m", "1,234.5"),
        ("3 - 7 = -4 degrees", "-4"),
        ("it rose by 50 percent in all", "50 percent"),
        ("about $5 and $7 each", "7"),
        ("ab12cd", None),
        ("see H2O and nothing else here", None),
        ("words alone and many of them", None),
    ],
)
def test_last_value(text, found):
    assert last_value(text) == found


UNITS = [
    *(
        "\\",
        "\\boxed",
        "\\boxed{",
        "{",
        "\\(",
        "\\[",
        "$",
        "$1$ ",
        "answer is ",
        "answer is 1. ",
        "1,000",
        "1 000 ",
        "1,",
        "-1",
    ),
    *(
        "- ",
        "\n",
        " ",
        "\\text{",
        "\\text{a}",
        "\\frac",
        "\\left ",
        "{a\\choose ",
        "√",
        "½",
        "²",
        "中文。",
        "<|a",
        "option ",
        "(A) ",
    ),
    *("|", "=", "1e", "0.\\overline{"),
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("start", ["", "\\boxed{", "The answer is ", "<answer>"])
def test_hostile_text_is_cheap_in_every_way(unit, start):
    text = start + unit * (20_000 // len(unit)) + "</answer>" * (start == "<answer>")
    began = time.perf_counter()
    for way in LENIENT:
        way(text)
    for read in (letter, mentioned, gold_letter, words, decimal):
        read(text)
    squeeze(tidy(text))
    assert time.perf_counter() - began < 3
