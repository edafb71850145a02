from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from menon.batch import columns_per, pack
from menon.record.stored_batch import read_batch
from menon.record.transcripts import read_transcript, write_transcript
from menon.types import Estimate, Graded, Prompt, Rollout, StepReport, Verdict


def rollout(tokens: list[int], mask: list[bool], text: str, **fields) -> Rollout:
    zeros = np.zeros(len(tokens), dtype=np.float32)
    return Rollout(
        prompt=Prompt(7, np.array(tokens[:2], dtype=np.int32), "3+4=", "7"),
        tokens=np.array(tokens, dtype=np.int32),
        is_action=np.array(mask),
        logp=zeros,
        log_kept=zeros,
        entropy=zeros,
        version=zeros.astype(np.int32),
        finish="stop",
        text=text,
        **fields,
    )


def report() -> StepReport:
    graded = (
        Graded(
            rollout([1, 2, 3], [False, False, True], "é\ud800", group=4, sample=1),
            Verdict(0.5, 1.0, {"b": 2.0, "a": 0.1}),
        ),
        Graded(
            rollout([1, 2], [False, False], "", group=4, node=3, parent=0),
            Verdict(np.nan, np.nan, error="it broke"),
        ),
    )
    columns = {
        "token": np.array([1, 2, 3, 1, 2]),
        "is_action": np.array([False, False, True, False, False]),
        "behaviour_logp": np.array([0, 0, -0.1, 0, 0], dtype=np.float32),
        "advantage": np.array([0, 0, 1.5, 0, np.nan], dtype=np.float32),
    }
    return StepReport(12, {}, graded, columns, np.array([0, 3, 5]), "f")


def test_every_rollout_comes_back_whole(tmp_path):
    write_transcript(tmp_path / "t.parquet", report())
    first, second = read_transcript(tmp_path / "t.parquet")
    assert np.isnan([first.pop("node_value"), first.pop("standard_error")]).all()
    assert first == {
        "step": 12,
        "group": 4,
        "sample": 1,
        "prompt_index": 7,
        "prompt": "3+4=",
        "answer": "7",
        "completion": "é?",  # half a surrogate pair has no UTF-8
        "finish": "stop",
        "score": 0.5,
        "acc": 1.0,
        "parts": {"b": 2.0, "a": 0.1},
        "error": "",
        "node": -1,
        "parent": -1,
        "depth": 0,
        "learn": True,
        "age": 0,
        "tokens": [1, 2, 3],
        "is_action": [False, False, True],
        "behaviour_logp": [0, 0, float(np.float32(-0.1))],
        "advantage": [0, 0, 1.5],
    }
    assert np.isnan([second["score"], second["acc"], second["advantage"][1]]).all()
    assert (second["tokens"], second["error"], second["node"], second["parent"], second["parts"]) == (
        [1, 2],
        "it broke",
        3,
        0,
        {},
    )


def test_zstd_and_nothing_beside(tmp_path):
    write_transcript(tmp_path / "t.parquet", report())
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0).column(0).compression == "ZSTD"
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


def test_a_step_without_rollouts(tmp_path):
    write_transcript(
        tmp_path / "t.parquet",
        StepReport(1, {}, (), {"token": np.zeros(0, dtype=np.int64)}, np.array([0]), ""),
    )
    assert read_transcript(tmp_path / "t.parquet") == []


@pytest.mark.parametrize("name", ["tokens", "is_action", "advantage"])
def test_token_columns_are_lists_of_their_own_type(tmp_path, name):
    write_transcript(tmp_path / "t.parquet", report())
    kind = pq.read_schema(tmp_path / "t.parquet").field(name).type
    assert str(kind.value_type) == {"tokens": "int64", "is_action": "bool", "advantage": "float"}[name]


def test_a_step_as_a_batch_again(tmp_path):
    write_transcript(
        tmp_path / "t.parquet",
        replace(report(), columns=report().columns | {"reward": np.ones(5, dtype=np.float32)}),
    )
    batch = read_batch(tmp_path / "t.parquet")
    assert batch.offset.tolist() == [0, 3, 5]
    assert (batch.token.tolist(), batch.is_action.tolist()) == (
        [1, 2, 3, 1, 2],
        [False, False, True, False, False],
    )
    assert (batch.group.tolist(), batch.valid.tolist()) == ([4, 4], [True, False])
    assert batch.acc[0] == 1
    assert batch.acc[1].isnan()
    assert batch.advantage is not None
    np.testing.assert_array_equal(batch.advantage.numpy(), report().columns["advantage"])
    assert (batch.old_logp, batch.trained.tolist()) == (None, [False, False, True, False, False])


def test_a_tree_comes_back_with_its_values(tmp_path):
    """The root's children start from .75; node 1, left for later, is worth .5 +- .5 / sqrt 2, which its child
    starts from."""
    half, whole = Estimate(0.5, 0.5, 2), Estimate(0.75, 0.25, 2)
    tokens, mask = [1, 2, 3], [False, False, True]
    graded = (
        Graded(
            rollout(tokens, mask, "a", group=0, node=1, parent=0, depth=1, states={2: whole}),
            Verdict(0.5, np.nan),
            learn=False,
        ),
        Graded(
            rollout(tokens, mask, "b", group=0, node=2, parent=1, depth=2, states={2: half}),
            Verdict(1.0, 1.0),
        ),
        Graded(
            rollout(tokens, mask, "b", group=1, node=2, parent=1, depth=2, states={2: half}),
            Verdict(1.0, np.nan),
            age=3,
        ),
    )
    batch = pack(graded)
    columns = {
        name: column.numpy() for name in columns_per("token") if (column := getattr(batch, name)) is not None
    }
    write_transcript(tmp_path / "t.parquet", StepReport(1, {}, graded, columns, batch.offset.numpy(), "f"))
    rows = read_transcript(tmp_path / "t.parquet")
    assert [(row["node"], row["parent"], row["depth"], row["learn"], row["age"]) for row in rows] == [
        (1, 0, 1, False, 0),
        (2, 1, 2, True, 0),
        (2, 1, 2, True, 3),
    ]
    assert [row["node_value"] for row in rows] == [0.5, 1, 1]
    assert rows[0]["standard_error"] == pytest.approx(0.353553, abs=1e-6)
    assert np.isnan(rows[1]["standard_error"])
    assert [row["state_value"][2] for row in rows] == [0.75, 0.5, 0.5]
    again = read_batch(tmp_path / "t.parquet")
    assert torch.equal(again.trained, batch.trained)
    assert again.trained.sum() == 2
