"""Which result a text states: for training only what is marked, for an evaluation what a person would read.

The verdict of the mathematics verifier is the test, because what counts is that no part of a result is lost.
"""

import pytest

from menon.reward.extract import LENIENT, WAYS, stated
from menon.reward.math.answer import core, decide
from menon.reward.math.compare import compare_answers
from menon.thought import after_thinking
from stated_pairs import FOR_A_READER, NOT_STATED, STATED


def accepts(gold, response, ways):
    result = stated("", response, ways) or ""
    whole = result if ways is WAYS else after_thinking("", response) or ""
    return decide(core(gold), result, whole, compare_answers) == "right"


@pytest.mark.parametrize(("gold", "response"), STATED)
def test_a_marked_result_counts_everywhere(gold, response):
    assert accepts(gold, response, WAYS)
    assert accepts(gold, response, LENIENT)


@pytest.mark.parametrize(("gold", "response"), FOR_A_READER)
def test_what_a_person_reads_counts_in_an_evaluation_only(gold, response):
    assert not accepts(gold, response, WAYS)
    assert accepts(gold, response, LENIENT)


@pytest.mark.parametrize(("gold", "response"), NOT_STATED)
def test_what_is_cut_denied_asked_or_left_open_never_counts(gold, response):
    assert not accepts(gold, response, WAYS)
    assert not accepts(gold, response, LENIENT)


@pytest.mark.parametrize(
    ("response", "result"),
    [
        ("The answer is 5 million dollars in total for them", "5 million"),
        ("there are 5 million people", "5 million"),
        ("It grew by 5 万", "5 万"),
        ("it rose by 50 percent in all", "50 percent"),
        ("\\boxed 5 million", "5 million"),
        ("<answer>72 dozen are left</answer>", "72 dozen are left"),
        ("The answer is at least 5 apples in the basket", "at least 5 apples in the basket"),
    ],
)
def test_words_that_change_a_number_stay_with_it(response, result):
    assert stated("", response, LENIENT) == result


def test_a_denied_answer_line_gives_way_to_the_one_before():
    assert stated("", "Answer: 6\nWrong answer: 5", WAYS) == "6"
    assert stated("", "Wrong answer: 5", WAYS) is None
