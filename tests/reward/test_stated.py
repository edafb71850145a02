"""Which result a text states: for training only what is marked, for an evaluation what a person would read.

The verdict of the mathematics verifier is the test, because what counts is that no part of a result is lost.
"""

import pytest

from menon.reward.extract import LENIENT, WAYS, stated
from menon.reward.math.answer import core, decide
from menon.reward.math.compare import compare_answers
from menon.thought import after_thinking


def accepts(gold, response, ways):
    result = stated("", response, ways) or ""
    whole = result if ways is WAYS else after_thinking("", response) or ""
    return decide(core(gold), result, whole, compare_answers) == "right"


STATED = [  # gold, response
    ("72", "Total.\n**Final Answer**: 72"),
    ("72", "**Final Answer:** 72"),
    ("72", "**Answer: 72**"),
    ("72", "Answer：72"),
    ("72", "答案：72"),
    ("72", "**答案**：72"),
    ("72", "Final Answer: **72**"),
    ("72", "### Final Answer\n72"),
    ("72", "**Final Answer**\n\n72"),
    ("72", "**Final Answer**\n\n$72$"),
    ("72", "## Answer: 72"),
    ("72", "*Answer*: 72"),
    ("72", "__Answer__: 72"),
    ("72", "Answer:\n\\[\n72\n\\]"),
    ("72", "Answer:\n$$72$$"),
    ("72", "Answer:\n\n72"),
    ("72", "ANSWER: 72."),
    ("72", "Réponse : 72"),
    ("72", "Respuesta: 72"),
    ("72", "Antwort: 72"),
    ("72", "Ответ: 72"),
    ("72", "答え：72"),
    ("72", "정답: 72"),
    ("72", "Answer: `72`"),
    ("-5", "#### −5"),
    ("42", "#### **42**"),
    ("1/2", "#### \\frac12"),
    ("A", "#### A"),
    ("B", "#### (B)"),
    ("1/2", "#### $\\frac{1}{2}$"),
    ("18", "#### 18."),
    ("1,234", "#### 1,234"),
    ("1234.5", "#### $1,234.50"),
    ("x^2+1", "#### x^2+1"),
    ("\\pi", "#### \\pi"),
    ("50\\%", "#### 50%"),
    ("3:45", "#### 3:45"),
    ("72", "#### 72 apples"),
    ("72", "#### 72\nI hope this helps!"),
    ("72", "####72"),
    ("72", "#### Answer: 72"),
    ("72", "#### The answer is 72"),
    ("72", "#### Final Answer: 72"),
    ("72", "#### 72 ####"),
    ("72", "####\n72"),
    ("Paris", "#### Paris"),
    ("\\sqrt{2}", "#### √2"),
    ("1/2", "#### ½"),
    ("(1,2)", "#### (1,2)"),
    ("x=5", "#### x = 5"),
    ("5", "#### x = 5"),
    ("6", "#### 5\n#### 6"),
    ("3/4", "So \\boxed\\frac34"),
    ("3/4", "$\\boxed \\frac{3}{4}$."),
    ("5", "$\\boxed5$"),
    ("5", "\\(\\boxed 5\\)"),
    ("\\sqrt2", "\\boxed\\sqrt2"),
    ("-5", "$\\boxed-5$"),
    ("2\\pi", "\\boxed 2\\pi"),
    ("42", "write \\boxed answer: \\boxed{42}"),
    ("42", "Use \\boxed. Then \\boxed{42}"),
    ("7", "put it in \\boxed notation.\nAnswer: 7"),
    ("72", "<answer>The final answer is 72</answer>"),
    ("72", "<answer>72 apples are left.</answer>"),
    ("72", "<answer>Answer: 72</answer>"),
    ("72", "<answer>**72**</answer>"),
    ("72", "<answer>$72$</answer>"),
    ("72", "<answer>x = 72</answer>"),
    ("72", "<answer>72 dollars were spent</answer>"),
]
FOR_A_READER = [  # gold, response
    ("72", "Answer - 72"),
    ("72", "#### Step 3\nThe answer is 72."),
    ("72", "#### 3. Conclusion\nThe answer is 72."),
    ("72", "#### Conclusion\nSo there are 72"),
    ("6", "The answer is definitely not 5 but 6"),
    ("6", "The answer is 5? No, it is 6."),
    ("6", "So x = 5. Wrong! It's 6"),
    ("6", "So the answer is 6, not 5."),
    ("6", "The total is 6, not 5."),
    ("6", "It is 6 rather than 5"),
    ("6", "instead of 5 we get 6"),
    ("6", "Die Antwort ist nicht 5, sondern 6"),
    ("6", "答案不是5，而是6"),
    ("12", "Thus 12 students do not play"),
    ("5", "There are 5 apples that are not red."),
    ("5", "It is not hard to see that the answer is 5."),
    ("5", "There is no doubt the answer is 5"),
    ("5", "We cannot have negative lengths, so the answer is 5."),
    ("5", "If we add both, the answer is 5."),
    ("5", "Without loss of generality, we get 5"),
    ("5", "The answer is 5. No other value works."),
    ("5", "The answer is 5. Not bad!"),
    ("4", "Is it 3? No. So it must be 4."),
    ("4", "What is 2+2? 4"),
    ("5", "x is not 4, so it is 5"),
    ("5", "It is neither 3 nor 4; it is 5"),
    ("B", "The answer is B, not A"),
    ("72", "Therefore **72**"),
    ("5", "The answer is $5$, not $6$."),
    ("6", "The answer is not $5$ but $6$."),
]
NOT_STATED = [  # gold, response
    ("3", "#### 3. Conclusion\nThe answer is 72."),
    ("3", "#### Step 3\nThe answer is 72."),
    ("3", "#### 3:45"),
    ("1", "#### 1.5e3"),
    ("4", "#### 4 or 5"),
    ("1", "#### 1 1/2"),
    ("5", "#### 5!"),
    ("5", "#### 5-6"),
    ("5", "#### 5 to 6"),
    ("5", "#### 5 - 6"),
    ("1", "#### 1,5"),
    ("5", "#### −5"),
    ("5", "#### (5, 6)"),
    ("5", "#### 5 + x"),
    ("7", "#### 7 \\cdot 2"),
    ("3", "#### 3√2"),
    ("10", "#### 10**6"),
    ("A", "#### A or B"),
    ("A", "#### A, B"),
    ("5", "#### not 5"),
    ("5", "#### 5? No, 6"),
    ("5", "#### 5 < x"),
    ("5", "#### > 5"),
    ("5", "#### 5 or more"),
    ("5", "#### 5.5.5"),
    ("5", "#### 5 and 6"),
    ("5", "#### 5\n#### 6"),
    ("5", "Wrong answer: 5\nRight: 6"),
    ("5", "Answer: 6\nNot the answer: 5"),
    ("5", "The answer is definitely not 5 but 6"),
    ("5", "It would be wrong to say the answer is 5."),
    ("5", "Is the answer 5? No."),
    ("5", "The answer is not 5."),
    ("5", "The answer isn't 5."),
    ("5", "The answer can't be 5."),
    ("5", "The answer cannot be 5."),
    ("5", "I doubt that the answer is 5."),
    ("5", "The answer is 5? No, it is 6."),
    ("5", "The answer is never 5"),
    ("5", "So x = 5. Wrong! It's 6"),
    ("5", "x = 5 is wrong."),
    ("5", "$x=5$ is not a solution."),
    ("5", "So the answer is 6, not 5."),
    ("5", "The total is 6, not 5."),
    ("5", "It is 6 rather than 5"),
    ("5", "instead of 5 we get 6"),
    ("5", "We might think it is 5, but that is wrong."),
    ("5", "If the answer is 5, then x = 3."),
    ("5", "Suppose the answer is 5."),
    ("5", "La réponse n'est pas 5 mais 6"),
    ("5", "La réponse n'est pas 5."),
    ("5", "Die Antwort ist nicht 5, sondern 6"),
    ("5", "Die Antwort ist nicht 5."),
    ("5", "La respuesta no es 5."),
    ("5", "答案不是5，而是6"),
    ("5", "答案不是5。"),
    ("5", "答案是5吗？不是。"),
    ("5", "答案是5是错的"),
    ("5", "Ответ не 5"),
    ("5", "Ответ: не 5, а 6"),
    ("5", "答えは5ではない"),
    ("5", "La risposta non è 5"),
    ("5", "A resposta não é 5"),
    ("5", "The answer is either 5 or perhaps 6, not sure which"),
    ("5", "The answer is at least 5 apples in the basket"),
    ("1", "The answer equals to the value $\\frac{1}{2}$ of it"),
    ("5", "It is \\boxed{5} or rather \\boxed{"),
    ("6", "\\boxed{5}. Wait, actually it is \\boxed{6"),
    ("5", "\\boxed{5}. Wait, actually it is \\boxed{6"),
    ("5", "Some work.\n<answer>5"),
    ("5", "The answer is \\boxed{5"),
    ("5", "so \\boxed{5 \\text{ apples}"),
    ("6", "<answer>5</answer> no <answer>6"),
    ("5", "\\fbox{5"),
    ("5", "the answer is 5. \\boxed{"),
    ("5", "Answer is <answer>5</answer"),
    ("5", "$\\boxed{\\frac{5}{1}$"),
    ("3", "\\boxed\\frac34"),
    ("5", "$\\boxed 5\\pi$"),
    ("5", "$\\boxed 5 \\pi$"),
    ("5", "\\boxed 5 or 6"),
    ("72", "<answer>72 is wrong</answer>"),
    ("72", "<answer>72 of 80 are left</answer>"),
    ("72", "<answer>not 72</answer>"),
    ("72", "<answer>72 or 73 are left</answer>"),
    ("72", "<answer>at least 72 apples are left</answer>"),
    ("72", "<answer>72 apples are not left</answer>"),
    ("72", "<answer>72</answer><answer>73</answer>"),
    ("A", "The answer is not A but C"),
    ("A", "The answer is A? No, B."),
    ("A", "The answer is B, not A"),
    ("6", "The answer is $5$, not $6$."),
    ("5", "The answer is not $5$ but $6$."),
    ("5", "The answer is $5$. This is wrong."),
    ("5", "I thought the answer is 5."),
    ("5", "My first guess, 5, was incorrect"),
    ("5", "One might answer 5, which is false"),
    ("5", "5 is not right"),
    ("5", "5 isn't right"),
    ("5", "5? No"),
    ("5", "5... no, that's wrong"),
]


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
        ("<answer>72 dozen are left</answer>", "72 dozen"),
        ("The answer is at least 5 apples in the basket", "at least 5 apples in the basket"),
    ],
)
def test_words_that_change_a_number_stay_with_it(response, result):
    assert stated("", response, LENIENT) == result


def test_a_denied_answer_line_gives_way_to_the_one_before():
    assert stated("", "Answer: 6\nWrong answer: 5", WAYS) == "6"
    assert stated("", "Wrong answer: 5", WAYS) is None
