"""What `record=full` adds to a run folder, on numbers made by hand."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from menon.errors import UserError
from menon.record.folder import RunFolder
from menon.record.reader import RunView
from menon.record.transcripts import read_transcript, write_answers
from menon.record.updates import read_updates, write_updates
from menon.types import Completion, Graded, Prompt, Request, Rollout, StepReport, UpdateRecord, Verdict


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


POLICY = UpdateRecord(
    update=0,
    model="policy",
    term="policy",
    sequence=np.array([2, 0]),
    offset=np.array([0, 2, 5]),
    weight=floats(0, 0.25, 0, 0.5, 0.25),
    logp_before=floats(0, -1, 0, -2, -0.5),
    logp_after=floats(0, -0.875, 0, -2.25, np.nan),
)
ENTROPY = replace(POLICY, term="entropy", weight=floats(0, -0.1, 0, -0.1, -0.1))
CRITIC = UpdateRecord(1, "critic", "value", np.array([1]), np.array([0, 1]), floats(1))
EMPTY = UpdateRecord(2, "policy", "policy", np.array([], dtype=np.int64), np.array([0]), floats())


def same(a: UpdateRecord, b: UpdateRecord) -> None:
    assert (a.update, a.model, a.term) == (b.update, b.model, b.term)
    for name in ("sequence", "offset", "weight", "logp_before", "logp_after"):
        one, two = getattr(a, name), getattr(b, name)
        if one is None or two is None:
            assert one is two
        else:
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype


def test_records_come_back(tmp_path):
    write_updates(tmp_path / "u.parquet", 5, [POLICY, ENTROPY, CRITIC, EMPTY])
    found = read_updates(tmp_path / "u.parquet")
    assert len(found) == 3  # an update without a sequence leaves no row
    for record, again in zip((POLICY, ENTROPY, CRITIC), found, strict=True):
        same(record, again)


def test_rows_are_updates_terms_and_sequences(tmp_path):
    write_updates(tmp_path / "u.parquet", 5, [POLICY, CRITIC])
    first, second, third = read_transcript(tmp_path / "u.parquet")
    assert (first["step"], first["update"], first["term"], first["sequence"]) == (5, 0, "policy", 2)
    assert (first["weight"], first["logp_before"], first["logp_after"]) == ([0, 0.25], [0, -1], [0, -0.875])
    assert (second["sequence"], second["weight"]) == (0, [0, 0.5, 0.25])
    assert (third["model"], third["weight"], third["logp_before"]) == ("critic", [1], None)
    assert pq.ParquetFile(tmp_path / "u.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


NO_TOKENS = {"token": np.zeros(0, dtype=np.int64), "is_action": np.zeros(0, dtype=bool)}


def test_a_run_folder_keeps_and_rewinds_them(tmp_path):
    def report(step: int, *updates: UpdateRecord) -> StepReport:
        return StepReport(step, {}, (), NO_TOKENS, np.array([0]), "f", updates)

    with RunFolder.create(tmp_path, {}) as folder:
        folder.record(report(1))
        assert not (tmp_path / "updates").exists()  # record=lean writes none
        for step in (2, 3):
            folder.record(report(step, POLICY, CRITIC))
        view = RunView(tmp_path)
        assert view.updates.steps == [2, 3]
        same(view.update_records(2)[0], POLICY)
        assert [row["update"] for row in view.updates.rows(3, ["update"])] == [0, 0, 1]
        with pytest.raises(UserError, match="has no updates of step 1; it has 2 to 3"):
            view.update_records(1)
        folder.rewind(2)
        assert RunView(tmp_path).updates.steps == [2]


def test_alternatives_of_action_tokens(tmp_path):
    """Two tokens of the prompt and two written, k = 3; a second answer has none."""
    request = Request(Prompt(0, np.array([5, 6], dtype=np.int32), "3+4=", "7"))
    completion = Completion(
        request,
        tokens=np.array([7, 1], dtype=np.int32),
        logp=floats(-0.5, -1),
        log_kept=floats(0, 0),
        entropy=floats(1, 1),
        version=np.zeros(2, dtype=np.int32),
        finish="stop",
        text="7",
        alternatives=np.array([[7, 8, 9], [2, 1, 0]], dtype=np.int32),
        alternatives_logp=np.array([[-0.5, -1.5, -2], [-0.25, -1, -3]], dtype=np.float32),
    )
    rollout = Rollout.of(completion, group=0)
    assert rollout.alternatives is not None
    assert rollout.alternatives_logp is not None
    assert rollout.alternatives.tolist() == [[-1] * 3, [-1] * 3, [7, 8, 9], [2, 1, 0]]
    assert np.isnan(rollout.alternatives_logp[:2]).all()
    without = Rollout.of(replace(completion, alternatives=None, alternatives_logp=None), group=0)
    graded = [Graded(answer, Verdict(1.0, 1.0)) for answer in (without, rollout)]
    write_answers(tmp_path / "t.parquet", 0, graded)
    first, second = read_transcript(tmp_path / "t.parquet")
    assert (first["alternatives"], first["alternatives_logp"]) == (None, None)
    assert second["alternatives"] == [[7, 8, 9], [2, 1, 0]]
    assert second["alternatives_logp"] == [[-0.5, -1.5, -2], [-0.25, -1, -3]]
    write_answers(tmp_path / "u.parquet", 0, graded[:1])
    assert "alternatives" not in read_transcript(tmp_path / "u.parquet")[0]
