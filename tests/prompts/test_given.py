"""Given text: what each layout of columns says, and which rows are refused."""

import json
from pathlib import Path

import pytest

from menon.errors import UserError
from menon.prompts.given import GivenColumns, GivenRow, GivenText, as_messages, read_given

USER, BOT = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
WRONG = {"role": "assistant", "content": "5"}


def rows_of(tmp_path: Path, rows: list, form="answers", **settings) -> list[GivenRow]:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_given(str(file), form, **settings)[0]


def texts(row: GivenRow) -> list[tuple]:
    return [(text.question, text.answer) for text in row.texts]


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"messages": [USER, BOT]}, [], [USER, BOT]),
        ({"prompt": "2+2?", "completion": "4"}, "2+2?", "4"),
        ({"prompt": [USER], "completion": [BOT]}, [USER], [BOT]),
        ({"question": "2+2?", "solution": "It is 4", "answer": "4"}, "2+2?", "It is 4"),
        ({"problem": "2+2?", "response": "4"}, "2+2?", "4"),
        ({"question": "2+2?", "answer": 4}, "2+2?", "4"),
        ({"text": "once upon a time"}, "", "once upon a time"),
    ],
)
def test_answers(tmp_path, row, question, answer):
    assert texts(rows_of(tmp_path, [row])[0]) == [(question, answer)]


def test_columns_by_name_and_within_a_column(tmp_path):
    row = {"Frage": "2+2?", "meta": {"Antwort": "4"}, "text": "unused"}
    columns = GivenColumns(question="Frage", answer="meta.Antwort")
    assert texts(rows_of(tmp_path, [row], columns=columns)[0]) == [("2+2?", "4")]


@pytest.mark.parametrize(
    ("row", "question", "chosen", "rejected"),
    [
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5"}, "2+2?", "4", "5"),
        ({"prompt": "2+2?", "chosen": "2+2? 4", "rejected": "2+2? 5"}, "2+2?", " 4", " 5"),
        ({"prompt": [USER], "chosen": [BOT], "rejected": [WRONG]}, [USER], [BOT], [WRONG]),
        ({"prompt": [USER], "chosen": [USER, BOT], "rejected": [USER, WRONG]}, [USER], [BOT], [WRONG]),
        ({"prompt": "2+2?", "chosen": [USER, BOT], "rejected": [USER, WRONG]}, "2+2?", [BOT], [WRONG]),
        ({"chosen": [USER, BOT], "rejected": [USER, WRONG]}, [USER], [BOT], [WRONG]),
        (
            {
                "chosen": "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: 2+2?\n\nAssistant: 4",
                "rejected": "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: 2+2?\n\nAssistant: 5",
            },
            "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: 2+2?\n\nAssistant:",
            " 4",
            " 5",
        ),
    ],
)
def test_pairs(tmp_path, row, question, chosen, rejected):
    assert texts(rows_of(tmp_path, [row], "pairs")[0]) == [(question, chosen), (question, rejected)]


def test_labels(tmp_path):
    rows = [{"prompt": "2+2?", "completion": text, "label": label} for text, label in (("4", True), ("5", 0))]
    assert [row.wanted for row in rows_of(tmp_path, rows, "labelled")] == [True, False]


def test_a_transcript_becomes_messages():
    assert as_messages("\n\nHuman: hi\n\nAssistant: hello\n\nHuman: 2+2?\n\nAssistant:") == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "2+2?"},
    ]
    assert as_messages("The Human: a story") is None


def test_every_pair_of_a_real_set_is_read(shared):
    rows, left_out = read_given(str(shared / "data/hh_helpful_base_test.jsonl.gz"), "pairs", on_bad="skip")
    assert len(rows) + left_out.total() == 2354
    assert all(as_messages(row.texts[0].question) for row in rows[:200])
    assert left_out.total() < 60


@pytest.mark.parametrize(
    ("form", "row", "said"),
    [
        ("answers", {"Frage": "2+2?"}, "no question column (there is 'Frage'); set columns.question=NAME"),
        ("answers", {"question": "2+2?"}, "no answer column (there is 'question'); set columns.answer=NAME"),
        ("answers", {"question": "2+2?", "answer": {"a": 4}}, "'answer' is dict, not text or chat messages"),
        ("answers", {"messages": [{"content": "4"}]}, "not of chat messages with 'role' and 'content'"),
        ("pairs", {"prompt": "2+2?", "chosen": "4"}, "no rejected column (there are 'prompt', 'chosen')"),
        ("pairs", {"prompt": "2+2?", "chosen": "4", "rejected": "4"}, "the two answers of the pair are"),
        ("pairs", {"prompt": "2+2?", "chosen": "2+2?", "rejected": "2+2? 5"}, "'chosen' holds no answer"),
        ("pairs", {"prompt": "2+2?", "chosen": "4", "rejected": [WRONG]}, "text and chat messages"),
        ("pairs", {"chosen": "4", "rejected": "5"}, "there is no prompt"),
        ("pairs", {"chosen": [BOT], "rejected": [WRONG]}, "begin with different messages"),
        ("pairs", {"prompt": [USER], "chosen": [dict(USER, content="3+3?"), BOT], "rejected": [USER, WRONG]},
         "does not begin with the row's prompt"),
        ("labelled", {"prompt": "2+2?", "completion": "4", "label": "good"}, "a label is true or false"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_row(tmp_path, form, row, said):
    with pytest.raises(UserError, match=r"rows.jsonl: line 1: ") as error:
        rows_of(tmp_path, [row], form)
    assert said in str(error.value)


def test_labels_of_one_kind_only(tmp_path):
    rows = [{"prompt": "2+2?", "completion": "4", "label": True}] * 3
    with pytest.raises(UserError, match=r"every label of .* is true; labelled answers need some of both"):
        rows_of(tmp_path, rows, "labelled")


def test_an_empty_file(tmp_path):
    with pytest.raises(UserError, match="is empty; give it rows to learn from"):
        rows_of(tmp_path, [])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train_on_prompt": True, "last_turn_only": True}, "set one of them"),
        ({"form": "pairs", "truncate": True}, "leave it out"),
        ({"max_tokens": 1}, "max_tokens"),
    ],
)
def test_settings_that_contradict_each_other(settings, said):
    with pytest.raises(UserError, match=said):
        GivenText(**settings)
