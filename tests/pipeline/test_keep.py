"""Which answers are kept, by hand."""

import pytest

from menon.errors import UserError
from menon.pipeline.keep import Keep, kept


def answer(question: int, text: str, right: bool | None = True, **other) -> dict:
    found = {"question": question, "text": text, "right": right, "reward": float(right is True)}
    return {**found, "tokens": len(text), "finish": "stop", **other}


ANSWERS = [
    answer(0, "long and right"),
    answer(0, "wrong", False),
    answer(0, "short"),
    answer(0, "short"),
    answer(1, "cut off", finish="length"),
    answer(1, ""),
    answer(2, "?", None, reward=None),
    answer(2, "fine"),
]


def texts(answers: list[dict], keep: Keep) -> list[str]:
    return [one["text"] for one in kept(answers, keep)[0]]


def test_every_answer_is_kept_or_counted_once():
    rows, left_out = kept(ANSWERS, Keep(most=1))
    assert [(row["question"], row["text"]) for row in rows] == [(0, "long and right"), (2, "fine")]
    assert left_out == {
        "failed": 1,
        "wrong": 1,
        "unfinished": 2,
        "unreadable": 0,
        "repeated": 1,
        "surplus": 1,
    }
    assert len(rows) + sum(left_out.values()) == len(ANSWERS)


def test_which_come_first():
    assert texts(ANSWERS, Keep()) == ["long and right", "short", "fine"]
    assert texts(ANSWERS, Keep(distinct=False)) == ["long and right", "short", "short", "fine"]
    assert texts(ANSWERS, Keep(first="shortest", most=1)) == ["short", "fine"]
    scored = [answer(0, "a", reward=0.5), answer(0, "b", reward=0.9), answer(0, "a", reward=0.7)]
    assert texts(scored, Keep(first="best")) == ["b", "a"]
    assert kept(scored, Keep(first="best"))[0][1]["reward"] == 0.7  # the better of two equal texts


def test_by_reward_where_nothing_is_known_to_be_right():
    unknown = [answer(0, "a", None, reward=0.2), answer(0, "b", None, reward=0.6)]
    assert texts(unknown, Keep()) == []
    assert texts(unknown, Keep(min_reward=0.5)) == ["b"]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(one_script=True), ["plain words\n\nmore", "```\ncode\n```", "area π r"]),
        (Keep(longest_paragraph=11), ["plain words\n\nmore", "to да", "area π r"]),
        (Keep(code_blocks=False), ["plain words\n\nmore", "to да", "area π r"]),
    ],
)
def test_what_is_hard_to_read_is_left_out(keep, left):
    every = ["plain words\n\nmore", "```\ncode\n```", "to да", "area π r"]
    assert texts([answer(0, text) for text in every], keep) == left


def test_bad_limits():
    with pytest.raises(UserError, match="most is 0; it must be at least 1"):
        Keep(most=0)
