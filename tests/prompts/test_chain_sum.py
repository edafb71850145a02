import pytest

from menon.errors import UserError
from menon.prompts.tasks import TASKS, ChainSum
from menon.prompts.tasks.chain_sum import ask, extract
from menon.prompts.tasks.split import HELD_OUT_PERCENT, split_of


def test_rows_are_the_same_for_the_same_seed_and_others_for_another():
    task = ChainSum()
    assert task.rows("train", 50, seed=3) == task.rows("train", 50, seed=3)
    assert task.rows("train", 50, seed=3) != task.rows("train", 50, seed=4)
    # More rows of one seed only add to the end.
    assert task.rows("train", 80, seed=3)[:50] == task.rows("train", 50, seed=3)


def test_the_text_of_a_question_is_pinned():
    assert ask([3, 8, 15]) == "3+8+15=?"
    row = ChainSum(min_terms=3, max_terms=3).rows("train", 1, seed=0)[0]
    terms = [int(term) for term in row["question"].removesuffix("=?").split("+")]
    assert len(terms) == 3
    assert row["answer"] == str(sum(terms))


def test_no_question_is_in_two_splits_and_each_is_in_one():
    task = ChainSum(min_terms=2, max_terms=3)
    train = {row["question"] for row in task.rows("train", task.room("train"), seed=1)}
    heldout = {row["question"] for row in task.rows("heldout", task.room("heldout"), seed=2)}
    assert not train & heldout
    assert len(train) + len(heldout) == 9**2 + 9**3


def test_about_a_tenth_is_held_out_whatever_the_difficulty():
    for task in (ChainSum(4, 4), ChainSum(2, 2, digits=2)):
        share = task.room("heldout") / (task.room("heldout") + task.room("train"))
        assert share == pytest.approx(HELD_OUT_PERCENT / 100, abs=0.02)
    # The split is a fact of the text: neither task nor seed moves it.
    assert {split_of(row["question"]) for row in ChainSum().rows("heldout", 200, seed=5)} == {"heldout"}


def test_every_count_of_terms_is_drawn_equally_often():
    rows = ChainSum(4, 6).rows("train", 3000, seed=0)
    counts = [sum(row["question"].count("+") == plus for row in rows) for plus in (3, 4, 5)]
    # Three standard deviations of a third of 3000 draws are 77.
    assert all(abs(count - 1000) < 80 for count in counts)


def test_every_gold_answer_passes_with_and_without_working():
    for task in (ChainSum(), ChainSum(2, 8, digits=2)):
        for split in ("train", "heldout"):
            for row in task.rows(split, 200, seed=9):
                question, answer = row["question"], row["answer"]
                assert task.grade(question, f"#{answer}", answer) == 1.0
                assert task.grade(question, f"\n1+2=3 wait, 4\n#{answer}\n", answer, source="x") == 1.0
                assert task.grade(question, f"#{int(answer) + 1}", answer) == 0.0


@pytest.mark.parametrize(
    "text",
    ["", " ", "#", "27", "# 27", "#27.", "#027", "#+27", "#-27", "#2 7", "#27 or 28", "#27\n3+4=7",
     "#26\n#", "#27#", "##", "#２７", "#٢٧", "\x00", "#27\x00", "\udc80", "#" + "9" * 10_000],
)  # fmt: skip
def test_malformed_answers_earn_nothing_and_raise_nothing(text):
    assert ChainSum().grade("3+24=?", text, "27") == 0.0


def test_only_the_last_answer_counts():
    assert ChainSum().grade("", "#26\n#27", "27") == 1.0
    assert ChainSum().grade("", "#27\n#26", "27") == 0.0
    assert extract("\n3+8=11\n#11 \n") == "11"
    assert extract("no answer") is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ChainSum(min_terms=1), "2 <= min_terms"),
        (lambda: ChainSum(min_terms=5, max_terms=4), "min_terms=5 and max_terms=4"),
        (lambda: ChainSum(digits=0), "1 or 2 digits, not 0"),
        (lambda: ChainSum(digits=3), "1 or 2 digits, not 3"),
        (lambda: ChainSum(2, 2).rows("train", 82, seed=0), "not 82"),
        (lambda: ChainSum().rows("train", -1, seed=0), "not -1"),
        (lambda: ChainSum().rows("test", 1, seed=0), "train, heldout"),
    ],
)
def test_the_impossible_is_refused_in_one_sentence(make, words):
    with pytest.raises(UserError, match=r"^[^\n]+\.$") as failure:
        make()
    assert words in str(failure.value)


def test_a_split_can_be_emptied_to_its_last_question():
    task = ChainSum(2, 2)
    assert len(task.rows("heldout", task.room("heldout"), seed=0)) == task.room("heldout") > 0
    assert task.rows("train", 0, seed=0) == []


def test_the_tasks_are_listed():
    assert TASKS["chain_sum"] is ChainSum


def test_working_and_looking_back_are_seen_in_the_text():
    task = ChainSum()
    texts = [
        "#11",
        "\n3+8=11\n#11",
        "\n3+8=11 ok\n#11",
        "\n3+8=12 wait, 11\n#11",
        "",
        "1 ok wait, 2 #3",
        "3+8=11",
    ]
    assert [task.works(text) for text in texts] == [False, True, True, True, False, False, True]
    assert [task.reflects(text) for text in texts] == [False, False, True, True, False, False, False]
