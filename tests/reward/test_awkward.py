"""What a policy may write: no answer makes a rule NaN, and none takes more than linear time."""

import math
import random
import time

import pytest

from menon.parts import Around, built, close
from menon.reward.code.extract import last_block
from menon.reward.code.signatures import Asked, judge
from menon.reward.judge_text import decision_of, final_step, is_no_answer
from menon.reward.rules import (
    ExactMatch,
    Format,
    JsonAnswer,
    Language,
    MathAnswer,
    MultipleChoice,
    Numeric,
    Overlap,
    Pattern,
    Repetition,
    TagCount,
    WordF1,
)
from menon.rollout.environments.calculator import Calculator
from menon.rollout.environments.python_tool import PythonTool

GOLDS = {
    ExactMatch: ("18", "Paris"),
    Numeric: ("9.5", "1e300", "1/3"),
    MultipleChoice: ("B",),
    Pattern: ("[0-9]+",),
    JsonAnswer: ('{"a": [1, 2.5], "b": null}', "1e5", "[]"),
    Overlap: ("red house",),
    WordF1: ("red house",),
    MathAnswer: ("\\frac{1}{2}", "18", "x^2-1", "[0,1)", "(1,2)", "5\\text{ kg}", "\\emptyset", "B"),
    Format: ("",),
    TagCount: ("",),
    Language: ("",),
    Repetition: ("",),
}
LENGTH = 40_000
UNITS = (
    *(" ", "\n", "\t", "\r\n", " \n", "\u200b", "`", "```", "```\n", "```python\n", "``` ```", "~~~\n"),
    *("` ", "{", "}", "(", "[", "[[", '{"a":', '{"a":1}', "\\(", "\\[", "\\", "\\boxed{", "\\boxed{}"),
    *("\\frac{", "\\left(", "\\text{", "\\sqrt", "^{", "$", "$$", "*", "**", "_", "#### ", "Answer: "),
    *("The answer is 4. ", "answer is ", "<think>", "</think>", "<answer>", "</answer>"),
    *("<answer></answer>", "<|channel|>", "<", "|", "| a ", "~~a", "1", "1,", "1 ", "1/2 ", "1e9", "-"),
    *("5=", "x=1, ", "5 kg ", "12:30 ", "one ", "½", "٣", "A) ", "A, ", '"', "'a", "a ", "A.", "and "),
    *("not ", "wait, ", "中文 ", "# ", "'''", "def f():\n", "class A:\n", "if x:\n ", "(\n", "\x00"),
)
NUMBERS = (
    "1e400",
    "-1e400",
    "1e" + "9" * 30,
    "9" * 5000,
    "0." + "0" * 500 + "1",
    "1/0",
    "0/0",
    "1e-" + "9" * 30,
)
WORDS = (
    *NUMBERS,
    *("NaN", "nan", "Infinity", "-inf", "∞", "\\infty", "null", "true", "{}", "[]", "[" * 2000),
    *("{" * 2000, "(" * 500, '{"a": 1e999999999999999999999}', "[1e99999999999999999999, 2]"),
    *('{"a": 1, "a": 2}', '"\\ud800"', "\ud800", "\x00", "10^{10^{10}}", "9!!!!", "99999999!"),
    *("2^{2^{2^{2^{2^{2}}}}}", "\\frac{1}{0}", "\\frac{}{}", "\\sqrt{}", "0^0", "\\sum_{k=1}^{10^9} k"),
    *("\\binom{10^9}{5}", "x^{x^{x}}", "\\log 0", "\\int", "\\left(", "1,2,3,4", "{1,2", "1:2:3"),
    *("January 32, 2020", "25:61", "5 kg kg^-1", "\\text{", "ＡＢ", "١٢٣", "½½", "⅓^⅓", "twelve hundred"),
    *("-", "--5", "\\begin{pmatrix}1&2\\\\3\\end{pmatrix}", "(?P<a>", "[a", "\\d+(", "A or B", "AB"),
    *("*", "``", "$", "$$$"),
)
FRAMES = (
    "{}",
    "\\boxed{{{}}}",
    "<answer>{}</answer>",
    "Answer: {}",
    "#### {}",
    "```json\n{}\n```",
    "<think>{}</think> 4",
)


@pytest.fixture(scope="module")
def rules():
    made = [built(kind(), Around()) for kind in GOLDS]
    yield made
    for rule in made:
        close(rule)


def verdict_of(rule, text: str, gold: str):
    return judge(rule, "menon", Asked("How many?", text, gold, {}, "stop", list(range(min(len(text), 50)))))


def test_no_answer_makes_a_rule_nan(rules):
    draw = random.Random(5)
    texts = [frame.format(word) for word in WORDS for frame in draw.sample(FRAMES, 2)]
    texts += ["".join(draw.choices(WORDS + UNITS, k=draw.randint(2, 6))) for _ in range(120)]
    for rule in rules:
        for text in texts:
            gold = draw.choice(GOLDS[type(rule)])
            verdict = verdict_of(rule, text, gold)
            assert not verdict.error, (rule.kind, gold, text[:200])
            assert math.isfinite(verdict.score), (rule.kind, gold, text[:200])


def test_a_number_that_json_cannot_hold_is_wrong(rules):
    rule = JsonAnswer()
    for text in ("1e99999999999999999999", "[1e999999999999999999999]", '{"a": -1E+99999999999999999999}'):
        verdict = rule("", text, '{"a": 1}')
        assert (verdict.score, verdict.acc, verdict.parts["unparsable"]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_awkward_texts_take_linear_time(rules, unit):
    """A quadratic pattern took 6 s at this length, and held the interpreter for as long."""
    body = (unit * (LENGTH // len(unit) + 1))[:LENGTH]
    for text in (body, f"\\boxed{{{body}}}"):
        for rule in rules:
            assert not clocked(verdict_of, rule, text, GOLDS[type(rule)][0]).error, rule.kind
        clocked(last_block, text, lambda: ("f",))
        clocked(final_step, "", text)
        clocked(decision_of, text)
        clocked(is_no_answer, text)


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_awkward_turns_take_linear_time(unit):
    body = (unit * (LENGTH // len(unit) + 1))[:LENGTH]
    for environment, call in ((Calculator(), "<calc>{}</calc>"), (PythonTool(), "<python>{}")):
        for text in (body, call.format(body)):
            clocked(environment.step, text)


def clocked(work, *arguments):
    """The result; fails where it takes more than a second and a half of this process's CPU time, twice."""
    for _ in range(2):
        start = time.process_time()
        result = work(*arguments)
        took = time.process_time() - start
        if took < 1.5:
            return result
    raise AssertionError(f"{work} took {took:.1f} s")
