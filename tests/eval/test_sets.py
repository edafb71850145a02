"""Named sets: which file, how a row is asked; and on the real files that every gold answer earns the full
reward."""

import gzip
import json
from pathlib import Path

import pytest

from menon.assembly.evaluation import reward_for
from menon.errors import UserError
from menon.eval.config import EvalConfig
from menon.eval.sets import SETS, find, find_set, rows_of_set
from menon.reward.grade import grading_of
from menon.types import Prompt


def write(path: Path, *rows: dict) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_a_file_or_a_folder_with_it(tmp_path):
    named = find_set("gsm8k")
    with pytest.raises(
        UserError,
        match=r"no file of the set gsm8k; there should be a gsm8k_test.jsonl \(or .jsonl.gz\) in it",
    ):
        find(named, "gsm8k", tmp_path)
    packed = write(tmp_path / "gsm8k.jsonl.gz", {"question": "1+1?", "answer": "so 2\n#### 2"})
    assert find(named, "gsm8k", tmp_path) == packed
    rows, skipped = rows_of_set(named, "gsm8k", tmp_path)
    assert (rows[0]["question"], rows[0]["answer"], skipped) == ("1+1?", "2", 0)
    plain = write(tmp_path / "gsm8k_test.jsonl", {"question": "2+2?", "answer": 4})
    assert find(named, "gsm8k", tmp_path) == plain  # the usual name comes first
    assert find(named, "gsm8k", packed) == packed


def test_choices_stand_under_the_question_once(tmp_path):
    row = {"question": "Which?", "choices": ["red", "blue"], "answer": "B"}
    listed = {"question": "Which?\n(A) red\n(B) blue", "choices": {"A": "red", "B": "blue"}, "answer": "B"}
    file = write(tmp_path / "mmlu_stem.jsonl", row, listed)
    rows, _ = rows_of_set(SETS["mmlu_stem"], "mmlu_stem", file)
    assert [r["question"] for r in rows] == ["Which?\n(A) red\n(B) blue"] * 2


def test_rows_that_do_not_belong_are_left_out(tmp_path):
    tests = {"prompt": "Add.", "answer": "x", "tests": ["assert add(1, 2) == 3"]}
    file = write(tmp_path / "mbpp.jsonl", tests | {"split": "train"}, tests | {"split": "test"})
    (row,), _ = rows_of_set(SETS["mbpp"], "mbpp", file)
    assert row["question"] == "Add.\nThe code must pass these tests:\nassert add(1, 2) == 3"
    pictures = write(tmp_path / "t.jsonl", {"question": "See?", "answer": "1", "picture": True})
    with pytest.raises(UserError, match="holds no question that belongs to the set theoremqa"):
        rows_of_set(SETS["theoremqa"], "theoremqa", pictures)


def test_an_unknown_set():
    with pytest.raises(UserError, match="there is no set 'gsm8'; did you mean 'gsm8k'"):
        find_set("gsm8")


SIZES = {
    "gsm8k": 1319,
    "math500": 500,
    "math_test": 5000,
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "olympiadbench": 675,
    "gaokao2023en": 383,
    "gpqa_diamond": 198,
    "mmlu_stem": 3018,
    "scibench": 580,
    "theoremqa": 747,
    "pubmedqa": 1000,
    "abench": 2300,
    "human_eval": 164,
    "mbpp": 500,
    "ifeval": 541,
}


@pytest.mark.parametrize("name", SETS)
def test_the_real_file_is_read_whole(name, shared):
    rows, skipped = rows_of_set(SETS[name], name, shared / "data")
    assert (len(rows), skipped) == (SIZES[name], 0)
    assert all(row["question"].strip() for row in rows)
    assert {row["answer"] is None for row in rows} == {not SETS[name].answers}
    assert list(SIZES) == list(SETS)


WRONG = {"code": "```python\nraise SystemExit\n```", "choice": "\\boxed{K}"}


@pytest.mark.parametrize("name", [name for name in SETS if SETS[name].answers])
def test_gold_answers_earn_the_reward_and_wrong_ones_do_not(name, shared):
    named = SETS[name]
    rows, _ = rows_of_set(named, name, shared / "data")
    with reward_for(EvalConfig(set=name, path="x"), named) as (reward, _):
        grading = grading_of(reward)
        for index, row in list(enumerate(rows))[:: max(1, len(rows) // 8)]:
            prompt = Prompt(
                index, None, row["question"], row["answer"], {k: v for k, v in row.items() if k != "answer"}
            )
            assert grading.judge(prompt, reward.spell(prompt.text, prompt.answer)).acc == 1, row["id"]
            assert grading.judge(prompt, WRONG.get(named.check, "\\boxed{-98765.4321}")).acc == 0, row["id"]
            assert grading.judge(prompt, "").acc == 0
