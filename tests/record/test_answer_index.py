"""The index of a run's answers, against the transcripts that it repeats."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from menon.record import answer_index
from menon.record.answer_index import HEAD, AnswerIndex
from menon.record.answer_numbers import NUMBERS, numbers_of, texts_of
from menon.record.folder import RunFolder
from menon.record.layout import index_file, step_file
from menon.types import Graded, Prompt, Rollout, StepReport, Verdict

WRITTEN = ("wait, no: é \u202e ", "7", "")


def answer(step: int, row: int) -> Graded:
    size = 3 + (step + row) % 4
    tokens = np.arange(size, dtype=np.int32)
    floats = np.full(size, -0.5, dtype=np.float32)
    rollout = Rollout(
        prompt=Prompt(10 * step + row, tokens[:2], f"{step}+{row}=", None if row else "7"),
        tokens=tokens,
        is_action=tokens >= 2,
        logp=floats,
        log_kept=None,
        entropy=None,
        version=tokens,
        finish=("stop", "length", "abort")[row % 3],
        text=WRITTEN[row % 3],
        group=row // 2,
        sample=row % 2,
    )
    parts = {"a": 1.0, "b": np.nan} if row == 1 else {"a": 1.0, "b": float(row)}
    return Graded(rollout, Verdict(np.nan if row == 3 else row / 4, float(row == 0), parts, "é" * row))


def report(step: int, count: int = 4) -> StepReport:
    graded = [answer(step, row) for row in range(count)]
    offset = np.cumsum([0, *(len(one.rollout.tokens) for one in graded)])
    columns = {
        "token": np.concatenate([one.rollout.tokens for one in graded]),
        "is_action": np.concatenate([one.rollout.is_action for one in graded]),
        "advantage": np.linspace(-1, step, int(offset[-1]), dtype=np.float32),
    }
    return StepReport(step, {"reward/mean": 0.5}, tuple(graded), columns, offset, f"{step}")


@pytest.fixture
def folder(tmp_path):
    with RunFolder.create(tmp_path / "run", {"seed": 1}) as folder:
        for step in range(1, 5):
            folder.record(report(step))
        yield folder


def entry_of(folder, step):
    index = AnswerIndex(folder.layout.transcripts)
    index.read()
    size = step_file(folder.layout.transcripts, step).stat().st_size
    return index, index.find(step, size)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_it_says_what_the_transcript_says(folder, step):
    index, entry = entry_of(folder, step)
    table = pq.read_table(step_file(folder.layout.transcripts, step))
    assert entry.numbers.tobytes() == numbers_of(table, step).tobytes()
    assert str(index.texts(entry).to_pylist()) == str(texts_of(table).to_pylist())  # NaN is not equal to NaN


def test_numbers_worked_by_hand(folder):
    _, entry = entry_of(folder, 2)
    assert entry.numbers["length"].tolist() == [3, 4, 1, 2]
    assert entry.numbers["prompt_index"].tolist() == [20, 21, 22, 23]
    assert entry.numbers["reflects"].tolist() == [True, False, False, True]
    assert entry.numbers["disagrees"].tolist() == [True, False, True, True]
    spread = np.linspace(-1, 2, 18, dtype=np.float32)
    means = [spread[2:5].mean(), spread[7:11].mean(), spread[13]]
    np.testing.assert_allclose(entry.numbers["advantage"][:3], means)
    assert np.isnan(entry.numbers["advantage"][3])  # its grader failed


def test_evaluations_have_one_too(folder):
    folder.record_evaluation(4, {"accuracy": 0.5}, [answer(4, row) for row in range(3)])
    index = AnswerIndex(folder.layout.answers)
    index.read()
    entry = index.find(4, step_file(folder.layout.answers, 4).stat().st_size)
    assert entry.numbers["score"].tolist() == [0.0, 0.25, 0.5]
    assert index.texts(entry)["prompt"].to_pylist() == ["4+0=", "4+1=", "4+2="]


def test_a_transcript_of_another_size_is_not_described(folder):
    file = step_file(folder.layout.transcripts, 2)
    pq.write_table(pq.read_table(file).slice(0, 2), file)
    assert entry_of(folder, 2)[1] is None
    assert entry_of(folder, 3)[1] is not None


def test_a_run_that_goes_on_has_the_index_of_an_undisturbed_one(folder, tmp_path):
    file = index_file(folder.layout.transcripts)
    whole = file.read_bytes()
    step_file(folder.layout.transcripts, 4).unlink()
    file.write_bytes(whole[:-3])  # killed while it was written
    folder.rewind(2)
    assert len(file.read_bytes()) < len(whole) / 2 + HEAD.size
    for step in (3, 4):
        folder.record(report(step))
    assert file.read_bytes() == whole


def test_a_reader_follows_a_run_that_grows_and_goes_back(folder):
    index = AnswerIndex(folder.layout.transcripts)
    index.read()
    folder.record(report(5))
    index.read()
    old = step_file(folder.layout.transcripts, 5).stat().st_size
    assert index.find(5, old).numbers["step"].tolist() == [5] * 4
    folder.rewind(3)
    folder.record(replace(report(4, count=2)))
    index.read()
    assert index.find(5, old) is None
    assert len(index.find(4, step_file(folder.layout.transcripts, 4).stat().st_size).numbers) == 2


@pytest.mark.parametrize("cut", [1, 10, HEAD.size - 1, HEAD.size + 5])
def test_what_stands_before_damage_is_read(folder, cut):
    file = index_file(folder.layout.transcripts)
    size = len(file.read_bytes()) // 2
    begin = AnswerIndex(folder.layout.transcripts).end_of(2)
    file.write_bytes(file.read_bytes()[: begin + cut])
    assert size > cut
    assert entry_of(folder, 2)[1] is not None
    assert entry_of(folder, 3)[1] is None


def test_damage_of_the_texts_is_seen(folder):
    index, entry = entry_of(folder, 4)
    data = bytearray(index.file.read_bytes())
    data[entry.place : entry.place + 8] = b"\0" * 8
    index.file.write_bytes(bytes(data))
    assert index.texts(entry) is None
    texts = bytes(24)
    lost = pa.Codec("zstd").compress(texts, asbytes=True)
    index.file.write_bytes(bytes(data[: entry.place]) + lost)
    assert index.texts(replace(entry, packed=len(lost), unfolded=len(texts))) is None


@pytest.mark.parametrize("part", [4, 6])
def test_a_part_that_claims_to_be_huge_is_not_unfolded(folder, part):
    file = index_file(folder.layout.transcripts)
    data = file.read_bytes()
    head = list(HEAD.unpack(data[: HEAD.size]))
    head[part] = 1 << 40
    file.write_bytes(HEAD.pack(*head) + data[HEAD.size :])
    index, entry = entry_of(folder, 1)
    assert entry is None or index.texts(entry) is None


def test_no_index_is_no_error(folder):
    index_file(folder.layout.transcripts).unlink()
    assert entry_of(folder, 1)[1] is None
    folder.rewind(2)
    folder.record(report(3))
    assert entry_of(folder, 3)[1] is not None
    assert NUMBERS.itemsize * 4 == len(entry_of(folder, 3)[1].numbers.tobytes())


def test_no_room_is_an_error_of_the_run(folder, monkeypatch):
    def full(path, data):
        raise OSError(28, "full")

    monkeypatch.setattr(answer_index.disk, "append", full)
    with pytest.raises(OSError, match="full"):
        folder.record(report(5))
