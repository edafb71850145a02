import random
from itertools import permutations, product

import pytest

from menon.errors import UserError
from menon.prompts.tasks import TASKS, Countdown
from menon.prompts.tasks.countdown import LEVELS, ask, every_sum, extract
from menon.prompts.tasks.split import split_of

ASKED = "3,8,14,17>6=?"


@pytest.mark.parametrize("difficulty", range(1, len(LEVELS) + 1))
def test_golds_are_right_and_follow_the_level(difficulty):
    task, level = Countdown(difficulty), LEVELS[difficulty - 1]
    for row in task.rows("heldout", 100, seed=4):
        assert row["question"] == ask(row["nums"], row["target"])
        assert len(row["nums"]) == len(set(row["nums"])) == level.numbers
        assert row["nums"] == sorted(row["nums"])
        assert 1 <= row["nums"][0] <= row["nums"][-1] <= level.largest
        assert 1 <= row["target"] <= 2 * level.largest
        assert task.grade(row["question"], f"\n1+1=2\n#{row['answer']}", row["answer"]) == 1.0
        assert task.grade(row["question"], f"#{row['answer']}-1", row["answer"]) == 0.0


def test_the_count_of_questions_is_that_of_a_search_over_all_programs():
    # Every ordered pair with + or -, whatever is positive: the questions of difficulty 1 counted another way.
    questions = set()
    for numbers in product(range(1, 20), repeat=3):
        if numbers[0] < numbers[1] < numbers[2]:
            for a, b in permutations(numbers, 2):
                questions |= {ask(list(numbers), target) for target in (a + b, a - b) if 0 < target <= 38}
    assert questions == set(every_sum(LEVELS[0]))
    assert Countdown(1).room("train") + Countdown(1).room("heldout") == len(questions) == 5658
    assert Countdown(1).room("heldout") == sum(split_of(question) == "heldout" for question in questions)


def test_three_numbers_in_sums_and_differences_are_counted_whole():
    rng = random.Random(0)
    every = set(every_sum(LEVELS[2]))
    for _ in range(500):
        numbers, _, target = Countdown(3).draw(rng)
        assert ask(numbers, target) in every


@pytest.mark.parametrize(
    "text",
    ["#14-8", "\n17-14=3\n14-8=6\n#14-8\n", "#(14) - 8 ",
     "<answer>14-8</answer>", "<think>x</think> <answer> 14 - 8 </answer>\n"],
)  # fmt: skip
def test_any_right_expression_is_right(text):
    assert Countdown().grade(ASKED, text, "") == 1.0
    assert Countdown().grade(f"Q: {ASKED}\nA:", text, "") == 1.0
    assert Countdown().grade("Do it", text, "", question=ASKED) == 1.0


def test_another_solution_than_the_gold_is_right():
    assert Countdown().grade("3,5,8,14>11=?", "#8+3", "14-3") == 1.0
    assert Countdown().grade("3,5,8,14>11=?", "#3+8", "14-3") == 1.0
    assert Countdown(5).grade("1,3,4,6>24=?", "#6/(1-3/4)", "") == 1.0  # through a fraction


@pytest.mark.parametrize(
    "text",
    ["", "#", "14-8", "#6", "#8-14", "#14-8=6", "#17-14", "#7-1", "#3+3", "#14-8-0", "#17-8-3",
     "#8+14-8-8", "#2*3", "#18/3", "#+14-8", "#-8+14", "#14--8", "#14-08", "#14-8 or 3", "#14**8",
     "#14//8", "#14-(8", "#14(8)", "#1" * 500, "#" + "(" * 90 + "6" + ")" * 9, "#" + "9" * 5000,
     "#14/(8-8)", "#1٤-8", "#14-8\x00", "<answer>14-8", "#14-8#", "\udc80", "#14\n-8",
     "#__import__('os')"],
)  # fmt: skip
def test_everything_else_is_wrong_and_raises_nothing(text):
    assert Countdown().grade(ASKED, text, "14-8") == 0.0


def test_a_prompt_without_the_question_is_wrong_not_a_crash():
    assert Countdown().grade("what?", "#14-8", "14-8") == 0.0


def test_each_number_once_and_as_many_as_the_level_says():
    assert Countdown(4).grade("2,3,5>25=?", "#5*5", "") == 0.0
    assert Countdown(4).grade("2,3,5>25=?", "#(2+3)*5", "") == 1.0
    assert Countdown(4).grade("2,3,5>15=?", "#3*5", "") == 0.0  # 2 is left over
    assert Countdown(3).grade("2,3,5,9>10=?", "#2*5", "") == 0.0
    assert Countdown(3).grade("2,3,5,9>10=?", "#2+3+5", "") == 1.0
    assert Countdown(4).grade("2,3,5>0=?", "#5/(2+3-5)", "") == 0.0


def test_splits_do_not_meet_and_seeds_repeat():
    task = Countdown(1)
    train = {row["question"] for row in task.rows("train", 2000, seed=1)}
    assert not train & {row["question"] for row in task.rows("heldout", 400, seed=2)}
    assert (
        task.rows("train", 30, seed=3)
        == task.rows("train", 60, seed=3)[:30]
        != task.rows("train", 30, seed=4)
    )


@pytest.mark.parametrize("difficulty", [0, 6, -1])
def test_an_impossible_difficulty_is_refused(difficulty):
    with pytest.raises(UserError, match=f"^countdown has difficulties 1 to 5, not {difficulty}\\.$"):
        Countdown(difficulty)


def test_votes_are_for_expressions_without_their_spaces():
    assert Countdown().stated("\n1+1=2\n# 14 - 8 ") == "14-8"
    assert Countdown().stated("none") is None
    assert extract("#1+2\nthen") is None
    assert TASKS["countdown"] is Countdown


def test_trials_and_retries_are_seen_in_the_text():
    texts = [
        "#14-8",
        "\n14-8=6\n#14-8",
        "\n8-3=5 6 no\n#14-8",
        "\n8-3=5\n14-8=6\n#14-8",
        "\n8-3=5 6 no\n14-8=",
        "#1\n2=2\n#3",
    ]
    assert [Countdown().works(text) for text in texts] == [False, True, True, True, True, True]
    assert [Countdown().reflects(text) for text in texts] == [False, False, False, True, True, False]
