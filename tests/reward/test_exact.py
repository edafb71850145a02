import pytest

from menon.prompts.reader import read_rows
from menon.reward.exact import ExactMatch
from menon.types import Verdict

RIGHT = [
    ("18", "so <answer>18</answer>"),
    ("18", "so \\boxed{18.00}"),
    ("18", "so\n#### 18"),
    ("18", "Answer: $18$."),
    ("18", "Answer: **18**"),
    ("1000", "#### 1,000"),
    ("1,000", "\\boxed{1000}"),
    ("18", "#### $18"),
    ("-3", "**Final Answer**：−3"),
    ("1/2", "#### 1/2"),
    ("-3", "\\boxed{-3.0}"),
    (".5", "\\boxed{0.50}"),
    ("\\frac{1}{2}", "\\boxed{ \\frac{1}{2} }"),
    ("Paris", "<answer>Paris</answer>"),
    ("__init__", "<answer>__init__</answer>"),
    ("Paris", "<answer>**Paris**</answer>"),
    ("3", "<answer>the last line wins: \\boxed{3}</answer> #### 4"),
    ("18", "<think>\\boxed{7}</think> #### 18"),
]
WRONG = [
    ("18", ""),
    ("18", "18"),
    ("18", "it is 18"),
    ("18", "<answer></answer> #### 18"),
    ("18", "\\boxed{}"),
    ("18", "#### 19"),
    ("18", "#### 18 or 19"),
    ("1", "#### 1/2"),
    ("18", "\\boxed{18} no, \\boxed{19}"),
    ("18", "<think> \\boxed{18}"),
    ("18", "\\boxed{180}"),
    ("18", "\\boxed{1,8}"),
    ("12", "\\boxed{1,2}"),
    ("10000000", "\\boxed{10000001}"),
    ("1", "\\boxed{.99999999999999999999999}"),
    ("5", "\\boxed{٥}"),  # an Arabic five
    ("18", "\\boxed{18"),
    ("18", "\\boxed{nan}"),
    ("1", "\\boxed{1e0}"),
    (".", "\\boxed{-}"),
]


@pytest.mark.parametrize(("gold", "completion"), RIGHT)
def test_right(gold, completion):
    assert ExactMatch()("Q:", completion, gold, finish="stop", level=3) == Verdict(1.0, 1.0)


@pytest.mark.parametrize(("gold", "completion"), WRONG)
def test_wrong(gold, completion):
    assert ExactMatch()("Q:", completion, gold) == Verdict(0.0, 0.0)


def test_hostile_results_are_wrong_and_never_raise():
    for stated in ("9" * 1_000_000, "," * 10_000, "\x00", "\ud800", "$" * 1000, "-" * 1000 + "1"):
        assert ExactMatch()("Q:", f"\\boxed{{{stated}}}", "18").score == 0


def test_every_gold_of_gsm8k_is_right_however_it_is_stated_and_no_other_is(shared):
    rows, _ = read_rows(shared / "data" / "gsm8k_test.jsonl")
    match = ExactMatch()
    golds = [row["answer"] for row in rows]
    for write in ("#### {}".format, "\\boxed{{{}}}".format, "<answer>{}</answer>".format):
        assert sum(match("", f"working 1 + 1 = 2\n{write(gold)}", gold).score for gold in golds) == 1319
        assert all(match("", write(gold), f"{gold}1").score == 0 for gold in golds)
    assert sum(match("", row["solution"], row["answer"]).score for row in rows) == 1319
