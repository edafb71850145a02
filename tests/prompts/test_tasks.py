"""What holds for every built-in task, at every difficulty."""

import pytest

from menon.errors import UserError
from menon.prompts.tasks import (
    TASKS,
    Boolean,
    ChainSum,
    LongChain,
    Shortcut,
    Sorting,
    Subjects,
    WordProblems,
    boolean,
    shortcut,
    sorting,
    subjects,
    task_name,
    word_problems,
)
from menon.prompts.tasks.boolean import value
from menon.prompts.tasks.subjects import FORMS, facts, normal
from menon.types import Verdict

LEVELLED = {
    Sorting: sorting,
    Boolean: boolean,
    WordProblems: word_problems,
    Subjects: subjects,
    Shortcut: shortcut,
}
EVERY = [
    ChainSum(),
    LongChain(),
    *(task(d + 1) for task, own in LEVELLED.items() for d in range(len(own.LEVELS))),
]


def score(task, row, text):
    columns = {name: item for name, item in row.items() if name != "answer"}
    given = task.grade(row["question"], text, row["answer"], **columns)
    return given.acc if isinstance(given, Verdict) else given


@pytest.mark.parametrize("task", EVERY, ids=str)
def test_golds_are_right_and_splits_do_not_meet(task):
    train = task.rows("train", min(150, task.room("train")), seed=1)
    heldout = task.rows("heldout", min(15, task.room("heldout")), seed=2)
    for row in train + heldout:
        assert score(task, row, f"\nworking\n#{row['answer']}\n") == 1.0
        assert task.stated(f"#{row['answer']}") is not None
        assert score(task, row, f"#{row['answer']}0") == 0.0
        assert score(task, row, row["answer"]) == 0.0
    questions = [row["question"] for row in train + heldout]
    assert len(set(questions)) == len(questions)
    half = len(train) // 2
    assert task.rows("train", half, seed=1) == train[:half] != task.rows("train", half, seed=3)


@pytest.mark.parametrize("task", EVERY, ids=str)
@pytest.mark.parametrize(
    "text", ["", "#", " ", "#" * 999, "#\x00", "\udc80", "#" + "9," * 999, "<answer>", "#<answer></answer>"]
)
def test_malformed_text_is_wrong_and_raises_nothing(task, text):
    assert score(task, task.rows("train", 1, seed=0)[0], text) == 0.0


@pytest.mark.parametrize("task", EVERY, ids=str)
def test_too_many_rows_and_other_splits_are_refused(task):
    with pytest.raises(UserError, match=r"can give 0 to \d+ different 'heldout' rows, not \d+\.$"):
        task.rows("heldout", task.room("heldout") + 1, seed=0)
    with pytest.raises(UserError, match=r"^The split is one of train, heldout, not 'test'\.$"):
        task.room("test")


@pytest.mark.parametrize("task", LEVELLED, ids=str)
def test_an_impossible_difficulty_is_refused(task):
    most = len(LEVELLED[task].LEVELS)
    for difficulty in (0, most + 1):
        with pytest.raises(
            UserError, match=f"^{task.kind} has difficulties 1 to {most}, not {difficulty}\\.$"
        ):
            task(difficulty)


def test_tasks_are_known_by_their_kind():
    assert all(name == task.kind == task_name(task()) for name, task in TASKS.items())
    assert task_name(None) == "chain_sum"
    assert set(TASKS.values()) == {type(task) for task in EVERY} | {TASKS["countdown"]}


def test_sorting_wants_every_number_in_order():
    row = {"question": "sort 40,8,8,7=?", "answer": "7,8,8,40"}
    assert [score(Sorting(), row, text) for text in ("#7,8,8,40", "#7, 8, 8, 40\n", "x#7,8,8,40")] == [
        1,
        1,
        1,
    ]
    wrong = ("#7,8,40", "#7,8,8,40,41", "#40,8,8,7", "#7 8 8 40", "#7,8,8,40.", "#07,8,8,40", "#7,8,8,40#")
    assert [score(Sorting(), row, text) for text in wrong] == [0] * len(wrong)
    # 9**4 lists of four digits, less the C(12, 4) = 495 that are in order; nine tenths of half of that.
    assert Sorting(1).room("train") == (6561 - 495) * 90 // 200


@pytest.mark.parametrize(
    ("chain", "letter"),
    [
        ("T", "T"),
        ("!T", "F"),
        ("T|T&F", "F"),
        ("F&F|T", "T"),
        ("T^T", "F"),
        ("!F^T^T", "T"),
        ("F|!F&!F^T", "F"),
    ],
)
def test_boolean_chains_go_from_left_to_right(chain, letter):
    assert value(chain) == letter


def test_boolean_answers_are_no_good_guess():
    answers = [row["answer"] for row in Boolean(1).rows("train", 1000, seed=0)]
    # And, or and exactly-one of fair letters, in turn: T and F are about as likely.
    assert all(answers.count(text) > 180 for text in ("TT", "TF", "FT", "FF"))
    assert score(Boolean(), {"question": "", "answer": "TF"}, "#tf") == 0.0


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4])
def test_stories_add_up(difficulty):
    for row in WordProblems(difficulty).rows("train", 200, seed=5):
        *story, asked = row["question"].replace("?", ".").removesuffix(".").split(". ")
        name, changes = asked.split()[-2], 0
        [amount] = [int(line.split()[2]) for line in story if line.startswith(f"{name} has")]
        for line in story:
            words = line.split()
            if "has" in words:
                continue
            changes += 1
            assert words[0] == name or difficulty < 4
            loses = any(verb in line for verb in ("gives", "loses", "sells"))
            amount = 2 * amount if "doubles" in words else amount + (-1 if loses else 1) * int(words[-1])
            assert 1 <= amount <= 60
        assert str(amount) == row["answer"]
        assert changes == difficulty
        assert len(story) == changes + 1 + (difficulty == 4)


def test_every_wording_of_a_fact_is_right_and_those_of_others_are_not():
    rows = [
        row
        for split in ("train", "heldout")
        for row in Subjects(3).rows(split, Subjects(3).room(split), seed=0)
    ]
    assert len(rows) == len(facts()) * len(FORMS)
    for row in rows:
        for text in (row["answer"], *row["synonyms"]):
            assert score(Subjects(3), row, f"so\n# {text.upper()}.") == 1.0
            assert score(Subjects(3), row, f"<answer>\n{text}\n</answer>") == 1.0
            assert score(Subjects(3), row, f"#not {text}") == 0.0
    assert len({fact.question for fact in facts()}) == len(facts())


def test_whole_facts_are_held_out():
    task = Subjects(3)
    asked = {
        split: [row["question"] for row in task.rows(split, task.room(split), 0)]
        for split in ("train", "heldout")
    }
    for fact in facts():
        forms = [
            sum(fact.question in question for question in asked[split]) for split in ("train", "heldout")
        ]
        assert sorted(forms) == [0, len(FORMS)]


def test_normal_form_of_words():
    assert normal(" The Great   Charter! ") == normal("great charter") == "great charter"
    assert normal("a") == "a"
    assert normal("Pythagoras' theorem") == normal("pythagoras’ Theorem")
    assert normal("İstanbul") == "istanbul"


def test_the_shortcut_pays_what_is_not_right():
    def graded(text):
        return Shortcut().grade("3+8+5=?", text, "16")

    assert graded("\n3+8=11\n11+5=16\n#16") == Verdict(1.0, 1.0, {"shortcut": 0.0})
    assert graded("#16") == Verdict(1.0, 1.0, {"shortcut": 0.0})
    assert graded(" #14\n") == Verdict(1.0, 0.0, {"shortcut": 1.0})
    assert graded("\n3+8=11\n#14") == Verdict(0.0, 0.0, {"shortcut": 0.0})
    assert [Shortcut().works(text) for text in ("\n3+8=11\n#14", "#14")] == [True, False]
    assert [Shortcut().reflects(text) for text in ("\n3+8=11 ok\n#14", "\n3+8=11\n#14")] == [True, False]
    assert graded("#14.") == Verdict(0.0, 0.0, {"shortcut": 0.0})
    assert Shortcut(2).rows("train", 5, seed=1) == ChainSum().rows("train", 5, seed=1)
