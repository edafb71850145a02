import re
from itertools import pairwise

import pytest

from menon.errors import UserError
from menon.prompts.tasks import TASKS, LongChain
from menon.prompts.tasks.long_chain import ask


def walk(question):
    """The running totals of a question, by its text alone."""
    totals = [0]
    for term in re.findall(r"[+-]?[0-9]+", question.removesuffix("=?")):
        totals.append(totals[-1] + int(term))
    return totals[1:]


def test_the_text_of_a_question_is_pinned():
    assert ask([3, 8, 2, 6]) == "3+5-6+4=?"


@pytest.mark.parametrize(
    "task", [LongChain(), LongChain(steps=20, largest=19), LongChain(steps=2, largest=2)]
)
def test_answers_are_the_sums_and_totals_stay_small(task):
    for row in task.rows("train", min(300, task.room("train")), seed=0):
        totals = walk(row["question"])
        assert len(totals) == task.steps + 1
        assert 1 <= min(totals) <= max(totals) <= task.largest
        assert row["answer"] == str(totals[-1])
        assert all(1 <= abs(b - a) <= 9 for a, b in pairwise(totals))
        assert task.grade(row["question"], f"\n1+1=2\n#{row['answer']}", row["answer"]) == 1.0
        assert task.grade(row["question"], f"#{int(row['answer']) + 1}", row["answer"]) == 0.0


def test_no_answer_is_a_good_guess():
    answers = [row["answer"] for row in LongChain().rows("train", 3000, seed=0)]
    # Nine totals, each the next of eight others: evenly often at every step. Five standard deviations are 86.
    assert all(abs(answers.count(str(total)) - 3000 / 9) < 86 for total in range(1, 10))


def test_room_counts_the_chains():
    # From each of 9 totals to each of 8 others, three times: 9 * 8**3 = 4608 chains; half of 90 % and of 10
    # %.
    task = LongChain(steps=3)
    assert (task.room("train"), task.room("heldout")) == (2073, 230)
    # Totals 1 to 11 and terms up to 9: 1 and 11 cannot reach each other, so 11 * 10 - 2 = 108 pairs for one
    # step; for two steps 9 middles with 10 ways on, and 1 and 11 with 9: 9 * 10 * 10 + 2 * 9 * 9 = 1062
    # chains.
    assert LongChain(steps=2, largest=11).room("train") == 1062 * 90 // 200


def test_splits_do_not_meet_and_seeds_repeat():
    task = LongChain(steps=3)
    train = {row["question"] for row in task.rows("train", task.room("train"), seed=1)}
    assert not train & {row["question"] for row in task.rows("heldout", task.room("heldout"), seed=2)}
    assert (
        task.rows("train", 30, seed=3)
        == task.rows("train", 60, seed=3)[:30]
        != task.rows("train", 30, seed=4)
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 1}, "2 to 64 steps, not 1"),
        ({"steps": 65}, "not 65"),
        ({"largest": 1}, "2 to 99, not 1"),
        ({"largest": 100}, "not 100"),
    ],
)
def test_an_impossible_difficulty_is_refused(settings, words):
    with pytest.raises(UserError, match=r"^[^\n]+\.$") as failure:
        LongChain(**settings)
    assert words in str(failure.value)


def test_votes_are_for_the_stated_digits():
    assert LongChain().stated("\n#7\n") == "7"
    assert LongChain().stated("7") is None
    assert TASKS["long_chain"] is LongChain


def test_working_and_second_thoughts_are_seen_in_the_text():
    texts = ["#2", "\n3+5=8\n8-6=2\n#2", "\n3+5=9 wait, 8\n#8", "wait, #3"]
    assert [LongChain().works(text) for text in texts] == [False, True, True, False]
    assert [LongChain().reflects(text) for text in texts] == [False, False, True, False]
