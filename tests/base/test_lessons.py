"""The rows of the small R1: what is worked is right and readable, replies are what the pairs say, and no
question is on both sides."""

import random
import re

from menon.base import lessons
from menon.reward.exact import ExactMatch
from menon.reward.format import Format
from menon.reward.words import Language, Overlap

SUMS, REMARKS = lessons.sums("train", 200, 0), lessons.remarks("train", 300, 0)


def test_worked_sums_are_right_in_every_line_and_in_the_format():
    for row in SUMS:
        made = lessons.worked(row, 0.0, random.Random(0))
        answer = made["completion"]
        assert made["question"] == row["question"]
        assert ExactMatch()("", answer, row["answer"]).score == 1
        assert Format()("", answer).score == 1
        terms = row["question"].removesuffix("=?").split("+")
        lines = re.findall(r"^(\d+)\+(\d+)=(\d+) (?:ok|wait, (\d+))$", answer, re.MULTILINE)
        assert [line[1] for line in lines] == terms[1:]
        for first, term, written, corrected in lines:
            total = int(first) + int(term)
            assert int(corrected or written) == total
            assert bool(corrected) == (int(written) != total)


def test_a_share_of_the_worked_sums_is_in_the_other_language():
    rng = random.Random(0)
    shares = [Language()("", lessons.worked(row, 0.3, rng)["completion"]).score for row in SUMS]
    assert 0.2 < sum(share < 1 for share in shares) / len(shares) < 0.4
    slips = sum(text.count("wait") for row in SUMS if (text := lessons.worked(row, 0.0, rng)["completion"]))
    assert 0.1 < slips / sum(row["question"].count("+") for row in SUMS) < 0.2


def test_a_good_reply_has_the_mood_and_goes_on_and_a_worse_one_lacks_one():
    rng = random.Random(0)
    for row in REMARKS:
        pair = lessons.compared(row, rng)
        assert Overlap()("", pair["chosen"], row["answer"]).score == 1
        assert Overlap()("", pair["rejected"], row["answer"]).score == 0
    good = [Overlap()("", lessons.replied(row, rng)["completion"], row["answer"]).score for row in REMARKS]
    assert 0.3 < sum(good) / len(good) < 0.5


def test_no_question_is_on_both_sides():
    held = lessons.sums("heldout", 200, 0) + lessons.remarks("heldout", 100, 0)
    asked = lessons.sums("train", 5000, 3) + lessons.remarks("train", 5000, 3)
    assert not {row["question"] for row in held} & {row["question"] for row in asked}
    assert len({row["question"] for row in held}) == len(held) == 300
    assert {row["kind"] for row in held} == {lessons.REASONING, lessons.GENERAL}
    assert lessons.remarks("train", 20, 1) != REMARKS[:20]
    assert lessons.turns("ab", "cde") == ["a", "c", "b", "d"]
