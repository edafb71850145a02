"""Our side of a step on given text learns from all rows of the file, in every step."""

import pytest

from menon.base import WEIGHTS
from side_by_side.given import write_rows
from side_by_side.menon_given_side import steps_of
from side_by_side.task import read_questions

HERE = (WEIGHTS / "config.json").exists()


@pytest.mark.skipif(not HERE, reason="the built-in base is not here")
@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_a_step_learns_from_every_row(name, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", 3, 20, pairs=name == "dpo")
    rows = read_questions(path)
    answers = [row[key] for row in rows for key in ("completion", "chosen", "rejected") if key in row]
    assert len(answers) == (6 if name == "dpo" else 3)
    steps = steps_of(name, str(WEIGHTS), path, 3, "float32")
    for _ in range(2):
        assert steps.seconds() > 0
        learned = sum(len(answer) + 1 for answer in answers)  # bytes, and the end
        assert steps.metric("tokens/generated") == learned


def test_rows_are_the_same_each_time_and_as_long_as_asked(tmp_path):
    one, other = (write_rows(tmp_path / name, 4, 300, pairs=False) for name in ("a.jsonl", "b.jsonl"))
    assert read_questions(one) == read_questions(other)
    assert all(300 <= len(row["completion"]) < 400 for row in read_questions(one))
