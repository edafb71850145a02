import time

import pytest

from menon.reward.extract import after_thinking, answer_line, answer_tag, boxed, hash_marks


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<answer>7</answer>", "7"),
        ("<answer>7</answer> no: <answer> 8 </answer>", " 8 "),
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
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{1} and \\boxed{2", None),
        ("boxed{7}", None),
    ],
)
def test_box_is_the_last_and_balanced(text, found):
    assert boxed(text) == found


def test_line_and_hash_marks_are_the_last_near_the_end():
    assert answer_line("Answer: 3\nANSWER : 4 apples\n") == "4 apples"
    assert answer_line("Answer: 3" + " " * 300) is None
    assert hash_marks("#### 3\n#### $1,234.5") == "$1,234.5"
    assert hash_marks("####-3") == "-3"
    assert hash_marks("### 3") is None
    assert hash_marks("#### 3" + " " * 300) is None


def test_only_what_follows_the_thinking_counts():
    assert after_thinking("Q:", "7") == "7"
    assert after_thinking("Q:", "<think>8</think>7</think>6") == "6"
    assert after_thinking("Q:", "<think>7") is None
    assert after_thinking("Q: <think>\n", "7") is None
    assert after_thinking("Q: <think>", "8</think>7") == "7"
    assert after_thinking("Write <think> </think>. Q:", "7") == "7"


@pytest.mark.parametrize("text", ["<answer>", "</answer>", "\\boxed{", "{", "\\boxed ", "Answer:", "#### ", "<think>"])
def test_hostile_text_is_cheap(text):
    start = time.perf_counter()
    for way in (answer_tag, boxed, answer_line, hash_marks):
        way(text * 50_000)
    assert time.perf_counter() - start < 1
