"""Dumps that other libraries' own writers made (scripts/peer_dumps.py), as run folders."""

import json
import math
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from menon.cli import main
from menon.errors import UserError
from menon.record.reader import RunView
from menon.record.spans import TextSpans
from menon.workbench.peers.importing import write_run
from menon.workbench.peers.trackio import runs_in

DATA = Path(__file__).parents[2] / "data" / "peers"
NAMES = ("verl", "trl", "verifiers", "prime-rl", "slime", "miles", "atif", "trackio", "wandb", "tensorboard")


def imported(name, tmp_path, spans=None):
    done = write_run(DATA / name, tmp_path / "run", spans)
    return RunView.open(tmp_path / "run"), done


def characters():
    """Every token is a byte in these dumps."""
    return TextSpans(lambda tokens: bytes(token % 256 for token in tokens).decode("utf-8", "replace"))


@pytest.mark.parametrize("name", NAMES)
def test_every_dump_opens_and_says_what_is_missing(name, tmp_path):
    begun = time.perf_counter()
    view, done = imported(name, tmp_path)
    assert time.perf_counter() - begun < 1
    assert done.missing
    assert not done.faults
    assert view.metrics[-1]["step"] == view.steps
    assert view.state == "stopped"
    assert view.about["imported"]["missing"] == list(done.missing)
    for step in view.transcripts.steps:
        rows, batch = view.transcripts.rows(step), view.transcripts.batch(step)
        assert batch.offset.tolist()[-1] == sum(len(row["tokens"]) for row in rows)
        assert main(["show", str(view.path), f"step={step}"]) == 0
        assert main(["show", str(view.path), f"step={step}", f"group={rows[0]['group']}"]) == 0
    assert main(["diagnose", str(view.path)]) == 0
    assert main(["runs", str(tmp_path)]) == 0


def test_verl(tmp_path):
    view, _ = imported("verl", tmp_path)
    assert view.transcripts.steps == [1, 2]
    rows = view.transcripts.rows(2)
    assert [(r["prompt"], r["completion"], r["answer"], r["score"]) for r in rows] == [
        ("3+4=", "7", "7", 1.0),
        ("3+4=", "8", "7", 0.0),
        ("5*2=", "10", "10", 1.0),
        ("5*2=", "1é<b>0", "10", 0.0),
    ]
    assert [(r["group"], r["sample"]) for r in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert rows[0]["parts"] == {"acc": 1.0}
    assert [line["reward/mean"] for line in view.metrics] == [0.25, 0.5]
    assert view.metrics[0]["reward/std"] == pytest.approx(math.sqrt(1 / 12))
    assert view.metrics[0]["groups/varied"] == 1.0


def test_trl(tmp_path):
    view, _ = imported("trl", tmp_path)
    import pyarrow.parquet as pq

    theirs = pq.read_table(DATA / "trl" / "completions" / "completions_00002.parquet").to_pylist()
    rows = view.transcripts.rows(2)
    assert [r["completion"] for r in rows] == [one["completion"] for one in theirs]
    assert [r["score"] for r in rows] == [one["length_reward"] for one in theirs]
    assert [r["answer_advantage"] for r in rows] == [one["advantage"] for one in theirs]


def test_verifiers(tmp_path):
    view, _ = imported("verifiers", tmp_path)
    rows = view.transcripts.rows(1)
    assert [r["score"] for r in rows] == [2.0, 0.0, 2.0, 0.0]  # a score of 1 with weight 2
    assert [r["group"] for r in rows] == [0, 0, 1, 1]
    two = rows[2]
    assert two["prompt"] == "user: 5*2="
    assert two["tokens"] == [*b"5*2=", 62, *b"10"]
    assert two["is_action"] == [False] * 5 + [True] * 2
    assert two["behaviour_logp"] == [0.0] * 5 + [-0.25, -0.5]
    assert two["parts"] == {"right": 1.0, "length": 2.0}


def test_prime_rl(tmp_path):
    view, done = imported("prime-rl", tmp_path, characters())
    one, two = view.transcripts.rows(1)
    assert (one["prompt"], one["completion"], two["completion"]) == ("3+4=", "7", "18")
    assert (one["group"], two["group"], two["sample"]) == (0, 0, 1)
    assert two["behaviour_logp"][-2:] == [-0.5, -0.5]
    assert two["old_logp"][-2:] == [-0.75, -0.75]
    assert (two["advantage"][-1], two["entropy"][-1]) == (-0.5, 1.5)
    assert view.metrics[0]["mismatch/abs"] == 0.25
    assert view.metrics[0]["len/mean"] == 1.5
    assert not any(sentence.startswith("texts") for sentence in done.missing)


def test_slime_and_miles(tmp_path):
    view, _ = imported("slime", tmp_path)
    rows = view.transcripts.rows(0)
    assert [r["finish"] for r in rows] == ["stop", "stop", "stop", "length"]
    assert rows[3]["tokens"] == [*b"5*2=", *"1é<b>0".encode()]
    assert rows[3]["behaviour_logp"][4:6] == [-0.25, -0.5]
    assert view.metrics[0]["trunc_rate"] == 0.25
    (tmp_path / "miles").mkdir()
    other, done = imported("miles", tmp_path / "miles", characters())
    assert [r["completion"] for r in other.transcripts.rows(3)] == ["7", "8", "10", "1é<b>0"]
    assert "scores" in done.missing


def test_atif(tmp_path):
    view, _ = imported("atif", tmp_path)
    one, two = view.transcripts.rows(1)
    assert one["prompt"] == "user: 3+4="
    assert two["completion"] == "assistant: <think>3 and 4</think>\n8"
    assert two["tokens"] == list(b"3+4=8")
    assert two["behaviour_logp"] == [0.0] * 4 + [-0.5]
    assert math.isnan(two["score"])


@pytest.mark.parametrize("name", ["trackio", "wandb", "tensorboard"])
def test_metrics_get_menon_s_names_where_they_mean_the_same(name, tmp_path):
    view, _ = imported(name, tmp_path)
    assert [line["step"] for line in view.metrics] == [1, 2, 3]
    assert [line["reward/mean"] for line in view.metrics] == [0.25, 0.5, 0.75]
    assert view.metrics[2]["nested/a" if name == "wandb" else "kl"] == (3 if name == "wandb" else 0.5)


def test_answers_and_metrics_of_one_folder_become_one_run(tmp_path):
    shutil.copytree(DATA / "trl", tmp_path / "both")
    shutil.copytree(DATA / "tensorboard", tmp_path / "both" / "runs" / "x")
    done = write_run(tmp_path / "both", tmp_path / "run")
    view = RunView.open(tmp_path / "run")
    assert done.kinds == ("TRL", "TensorBoard")
    assert [line["step"] for line in view.metrics] == [1, 2, 3]
    assert view.metrics[1]["kl"] == 0.5
    assert view.transcripts.steps == [1, 2]


def test_broken_lines_are_left_out_and_named(tmp_path):
    shutil.copytree(DATA / "verl", tmp_path / "dump")
    with open(tmp_path / "dump" / "2.jsonl", "a") as file:
        file.write('{"input": "half')
    done = write_run(tmp_path / "dump", tmp_path / "run")
    assert done.faults == ("2.jsonl, line 5: no JSON object",)
    assert done.answers == 8


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("trl", "completions/completions_00002.parquet"),
        ("prime-rl", "token_exports/step_2/rank_0.jsonl"),
        ("verl", "2.jsonl"),
    ],
)
def test_a_broken_step_is_left_out_and_the_rest_is_there(name, file, tmp_path):
    shutil.copytree(DATA / name, tmp_path / "dump")
    broken = tmp_path / "dump" / file
    whole = broken.read_bytes()
    for text in (whole[: len(whole) // 2], b'{"token_ids": [1], "input": [], "score": {}}\n', b""):
        broken.write_bytes(text)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        write_run(tmp_path / "dump", tmp_path / "run")
        view = RunView.open(tmp_path / "run")
        assert view.transcripts.rows(1)
        assert view.metrics[0]["step"] == 1


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_a_record_that_is_half_written_is_left_out(name, tmp_path):
    shutil.copytree(DATA / name, tmp_path / "dump")
    file = max((tmp_path / "dump").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    whole = file.read_bytes()
    for cut in range(0, len(whole), 97):
        file.write_bytes(whole[:cut])
        try:
            done = write_run(tmp_path / "dump", tmp_path / f"run-{cut}")
        except UserError:
            continue
        assert done.steps <= 3


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    class Bad:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "was-run",))

    (tmp_path / "dump").mkdir()
    torch.save({"samples": [Bad()]}, tmp_path / "dump" / "0.pt")
    with pytest.raises(UserError, match="menon runs no code of a dump"):
        write_run(tmp_path / "dump", tmp_path / "run")
    assert not (tmp_path / "was-run").exists()


def test_a_pickle_beside_another_library_s_files_does_not_hide_them(tmp_path):
    shutil.copytree(DATA / "tensorboard", tmp_path / "dump")
    (tmp_path / "dump" / "rng_0.pt").write_bytes(b"no pickle")
    assert write_run(tmp_path / "dump", tmp_path / "run").kinds == ("TensorBoard",)


def test_arrays_in_a_dump_are_read(tmp_path):
    """slime keeps the experts that a model chose as arrays of numpy."""
    (tmp_path / "dump").mkdir()
    experts = np.zeros((2, 3, 4), np.uint8)
    sample = {
        "prompt": "a",
        "response": "b",
        "reward": 0.5,
        "status": "aborted",
        "rollout_routed_experts": experts,
    }
    torch.save({"rollout_id": 4, "samples": [sample]}, tmp_path / "dump" / "rollout_4.pt")
    write_run(tmp_path / "dump", tmp_path / "run")
    (row,) = RunView.open(tmp_path / "run").transcripts.rows(4)
    assert (row["completion"], row["score"], row["finish"]) == ("b", 0.5, "abort")


def test_a_run_of_a_project_is_named(tmp_path):
    shutil.copytree(DATA / "trackio", tmp_path / "dump")
    with sqlite3.connect(tmp_path / "dump" / "sums.db") as database:
        database.execute(
            "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) "
            """VALUES ('b', '', 'two', 7, '{"reward": 3}')"""
        )
    done = write_run(tmp_path / "dump", tmp_path / "first")
    assert (done.steps, done.faults) == (3, ("run two of sums.db; import it with run=two",))
    write_run(tmp_path / "dump", tmp_path / "second", run="two")
    assert RunView.open(tmp_path / "second").metrics == [{"step": 7, "reward/mean": 3.0}]
    with pytest.raises(UserError, match="has no run three; run is one of one, two"):
        write_run(tmp_path / "dump", tmp_path / "third", run="three")


def test_another_database_is_no_trackio_project(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE metrics (a)")
    assert runs_in(tmp_path / "x.db") == []


def test_the_command(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["import", str(DATA / "verl"), f"out={out}"]) == 0
    assert "missing: tokens and everything about them" in capsys.readouterr().out
    assert main(["import", str(DATA / "verl"), f"out={tmp_path / 'other'}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answers"] == 8
    assert main(["import", str(DATA / "verl"), f"out={out}"]) == 2
    assert main(["import", str(tmp_path / "none"), f"out={tmp_path / 'x'}"]) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["import", str(empty), f"out={tmp_path / 'x'}"]) == 2
    assert "holds nothing that menon can read" in capsys.readouterr().err
