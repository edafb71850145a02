"""The answers that the workbench lists, filters and pairs, against the Parquet files."""

import math
import shutil
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from menon.record.layout import index_file, step_file
from menon.record.reader import StepFiles
from menon.workbench import answer_rows
from menon.workbench.answer_filter import steps_asked
from menon.workbench.answer_pairs import visits_of
from menon.workbench.answer_rows import AnswerRows
from menon.workbench.app import create
from menon.workbench.runs import Runs


def asked(folder, path):
    return TestClient(create(Runs([folder])), base_url="http://127.0.0.1:1").get(path).json()


def stored(folder, run, step, of="transcripts"):
    return pq.read_table(step_file(folder / run / of, step)).to_pylist()


def written(path, rows):
    """A file of answers as small as a reader allows: per row score, acc, finish, completion, parts, and the
    advantages of its tokens, of which the first is the prompt's."""
    columns = {
        "group": pa.array([row.get("group", 0) for row in rows], pa.int64()),
        "prompt_index": pa.array([row.get("question", 0) for row in rows], pa.int64()),
        "prompt": pa.array(["Q"] * len(rows)),
        "completion": pa.array([row.get("completion", "") for row in rows]),
        "finish": pa.array([row.get("finish", "stop") for row in rows]),
        "score": pa.array([row["score"] for row in rows], pa.float64()),
        "acc": pa.array([row.get("acc", math.nan) for row in rows], pa.float64()),
        "parts": pa.array([row.get("parts", []) for row in rows], pa.map_(pa.string(), pa.float64())),
        "is_action": pa.array(
            [[False] + [True] * len(row["advantage"]) for row in rows], pa.large_list(pa.bool_())
        ),
        "advantage": pa.array([[9.0, *row["advantage"]] for row in rows], pa.large_list(pa.float32())),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


HAND = [
    {
        "score": 1.0,
        "acc": 1.0,
        "advantage": [1.0, 2.0],
        "completion": "So",
        "parts": [("a", 1.0), ("b", 1.0)],
    },
    {"score": 0.0, "acc": 0.0, "advantage": [], "completion": "no wait, Ä", "finish": "length"},
    {"score": math.nan, "advantage": [5.0], "completion": "b", "parts": [("a", 1.0), ("b", 0.0)]},
    {
        "score": 0.5,
        "acc": 0.0,
        "advantage": [-1.0, 0.0, 0.0, -3.0],
        "completion": "retry",
        "parts": [("a", 0.5)],
    },
]


@pytest.fixture
def files(tmp_path):
    written(step_file(tmp_path / "transcripts", 1), HAND)
    return StepFiles(tmp_path / "transcripts", "transcripts")


def read(files, steps=(1,)):
    return AnswerRows().read(files, steps, time.monotonic() + 60)


def test_the_numbers_of_answers_worked_by_hand(files):
    answers = read(files)
    assert answers.column("length").tolist() == [2, 0, 1, 4]
    advantage = answers.column("advantage").tolist()
    assert advantage[0] == 1.5
    assert advantage[3] == -1.0
    assert math.isnan(advantage[1])  # it wrote nothing
    assert math.isnan(advantage[2])  # its grader failed, so nothing was learned from it
    assert answers.column("reflects").tolist() == [False, True, False, True]
    assert answers.column("disagrees").tolist() == [False, False, True, False]
    assert answers.column("node").tolist() == [-1] * 4  # the file has no such column


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", [0, 1, 2, 3]),
        ("reward_min=0.5", [0, 3]),
        ("reward_max=0.5&reward_min=0.5", [3]),
        ("length_min=1&length_max=2", [0, 2]),
        ("verdict=wrong", [1, 3]),
        ("verdict=unknown", [2]),
        ("verdict=failed", [2]),
        ("finish=length", [1]),
        ("reflects=1", [1, 3]),
        ("disagrees=1", [2]),
        ("age_min=1", []),
        ("text=WAIT", [1]),
        ("text=ä", [1]),
        ("text=q", [0, 1, 2, 3]),
        ("sort=reward", [1, 3, 0, 2]),
        ("sort=length&down=1", [3, 0, 2, 1]),
        ("sort=advantage&down=1", [0, 3, 1, 2]),
        ("offset=1&most=2", [1, 2]),
        ("step=2", []),
    ],
)
def test_filters_and_orders(folder, files, query, rows):
    (files.folder.parent / "run.json").write_bytes((folder / "one" / "run.json").read_bytes())
    name = files.folder.parent.name
    found = asked(files.folder.parent, f"/api/run/{name}/answers?{query}")
    assert [one["row"] for one in found["answers"]] == rows


@pytest.mark.parametrize("query", ["reward_min=x", "verdict=maybe", "step=x", "question=1.5", "of=other"])
def test_a_value_that_is_none_is_named(folder, query):
    assert query.split("=")[0] in asked(folder, f"/api/run/one/answers?{query}")["error"]


def test_a_list_has_the_values_of_the_files(answered):
    found = asked(answered, "/api/run/chain/answers?step=all&most=200")
    rows = [row for step in (1, 2) for row in stored(answered, "chain", step)]
    assert len(rows) == found["total"] == found["of"] == 32
    for one, row in zip(found["answers"], rows, strict=True):
        for name in ("step", "group", "sample", "score", "acc", "prompt", "answer", "finish", "age", "learn"):
            assert one[name] == row[name]
        assert one["completion"] == row["completion"][:1200]
        assert one["length"] == sum(row["is_action"])
        acts = [value for value, act in zip(row["advantage"], row["is_action"], strict=True) if act]
        assert one["advantage"] == pytest.approx(sum(acts) / len(acts), abs=1e-6)
    assert found["means"]["score"] == pytest.approx(sum(row["score"] for row in rows) / 32)
    assert found["means"]["cut"] == pytest.approx(sum(row["finish"] == "length" for row in rows) / 32)


def test_the_start_against_now_pairs_the_evaluations(answered):
    found = asked(answered, "/api/run/chain/pairs")
    before, after = (stored(answered, "chain", step, "evaluations") for step in (0, 2))
    assert found["total"] == 8
    assert sum(one["count"] for one in found["kinds"]) == 8
    words = {1.0: "right", 0.0: "wrong"}
    for pair in found["pairs"]:
        old, new = before[pair["row"]], after[pair["row"]]
        assert (pair["before"]["completion"], pair["after"]["completion"]) == (
            old["completion"],
            new["completion"],
        )
        assert pair["kind"] == [words[old["acc"]], words[new["acc"]]]
    kind = found["kinds"][-1]
    assert asked(answered, f"/api/run/chain/pairs?kind={kind['kind']}")["total"] == kind["count"]


def test_a_question_that_came_again_in_training(tmp_path):
    """Question 7 is visited at steps 1 and 3, with means .5 and 1; question 8 once."""
    scores = {1: [(7, 0.0), (7, 1.0), (8, 1.0)], 2: [(9, 1.0)], 3: [(9, 0.0), (7, 1.0)]}
    for step, rows in scores.items():
        written(
            step_file(tmp_path / "transcripts", step),
            [{"question": question, "score": score, "advantage": [0.0]} for question, score in rows],
        )
    answers = read(StepFiles(tmp_path / "transcripts", "transcripts"), [1, 2, 3])
    first, last, visits = visits_of(answers)
    assert visits.question[first].tolist() == [7, 9]
    assert visits.mean[first].tolist() == [0.5, 1.0]
    assert visits.mean[last].tolist() == [1.0, 0.0]
    assert visits.count[first].tolist() == [2, 1]
    assert [answers.place(int(index))[0].step for index in visits.index[last]] == [3, 3]


def test_a_broken_file_is_named_and_the_rest_is_shown(files):
    step_file(files.folder, 2).write_bytes(b"PAR1 half a file")
    written(step_file(files.folder, 3), HAND[:1])
    answers = read(files, [1, 2, 3])
    assert len(answers.column("row")) == 5
    assert list(answers.broken) == [2]
    assert "cannot be read" in answers.broken[2]


def test_a_file_that_was_written_anew_is_read_anew(files):
    rows = AnswerRows()
    assert len(rows.read(files, [1], math.inf).column("row")) == 4
    written(step_file(files.folder, 1), HAND[:2])
    assert len(rows.read(files, [1], math.inf).column("row")) == 2


def test_without_time_steps_are_pending_and_later_read(files):
    rows = AnswerRows()
    assert rows.read(files, [1], -math.inf).pending == 1
    answers = rows.read(files, [1], math.inf)
    assert answers.pending == 0
    assert rows.having(files, answers, "wait", -math.inf)[1] == 1
    assert rows.having(files, answers, "wait", math.inf)[0].tolist() == [False, True, False, False]


def test_texts_that_have_no_room_are_read_again(files, monkeypatch):
    found = answer_rows.read_step(step_file(files.folder, 1), 1, room=10)
    assert found.texts is None
    assert AnswerRows().texts(files, found)["completion"].to_pylist() == [row["completion"] for row in HAND]


def test_steps_that_are_asked_for():
    assert steps_asked([1, 2, 5], "") == [5]
    assert steps_asked([1, 2, 5], "2-5") == [2, 5]
    assert steps_asked([], "3") == []


def test_a_recorded_run_is_listed_from_its_index_as_from_its_files(folder, tmp_path, monkeypatch):
    run = shutil.copytree(folder / "one", tmp_path / "one")
    queries = ["step=all", "step=all&text=1&sort=length&down=1", "step=all&verdict=right"]

    def found():
        return [asked(tmp_path, f"/api/run/one/answers?{query}") for query in queries]

    index_file(run / "transcripts").unlink()
    from_files = found()
    shutil.copy(index_file(folder / "one" / "transcripts"), run)
    monkeypatch.setattr(answer_rows, "read_columns", None)  # no transcript is opened
    assert found() == from_files
    assert from_files[0]["total"] == sum(len(stored(tmp_path, "one", step)) for step in (1, 2))
