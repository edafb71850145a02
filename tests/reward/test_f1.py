import doctest
import math

import pytest

from menon.reward import f1
from menon.reward.f1 import WordF1
from menon.reward.rules import Mix, RulePart
from menon.settings import reader


@pytest.mark.parametrize(
    ("gold", "said", "expected", "acc"),
    [
        ("Paris", "\\boxed{paris.}", 1, 1),
        ("the United States", "Answer: United States", 1, 1),
        ("red old house", "<answer>The red house</answer>", 2 * 1 * (2 / 3) / (1 + 2 / 3), 0),
        ("New York", "\\boxed{New New York}", 2 * (2 / 3) * 1 / (2 / 3 + 1), 0),  # New counts once
        ("York New", "\\boxed{New York}", 1, 0),  # the same words in another order are not the same answer
        ("red", "\\boxed{blue}", 0, 0),
        ("red", "red", 0, 0),  # not stated
        ("red", "\\boxed{}", 0, 0),
        ("the", "\\boxed{the}", 0, 0),  # a gold answer without a word
        ("3.5 m", "\\boxed{35 m}", 0.5, 0),  # a number keeps its signs
        ("-5", "\\boxed{5}", 0, 0),
        ("1/2", "\\boxed{12}", 0, 0),
        ("1,000", "\\boxed{1000.}", 1, 1),
        ("well-known", "\\boxed{wellknown}", 1, 1),
        ("Åse's house", "\\boxed{åses house}", 1, 1),
    ],
)
def test_by_hand(gold, said, expected, acc):
    verdict = WordF1()("Q", said, gold)
    assert verdict.score == pytest.approx(expected)
    assert verdict.acc == acc


def test_it_has_a_name_and_a_place_in_mixtures():
    assert reader(RulePart)("f1") == WordF1()
    verdict = Mix({"f1": 2.0, "format": 1.0})("", "\\boxed{red house}", "red barn")
    assert verdict.score == pytest.approx(2 * 0.5)
    assert (verdict.parts["f1"], verdict.acc) == (0.5, 0)
    assert not math.isnan(verdict.acc)


def test_the_example():
    assert doctest.testmod(f1).failed == 0
