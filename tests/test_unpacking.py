"""Packed files that would unfold to far more than their size."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from menon.cli import main
from menon.errors import UserError
from menon.prompts.sources import raw_rows
from menon.record.reader import RunView
from menon.unpacking import FREE, TIMES, TooLarge, gunzip, read_parquet
from tiny_run import drive

TEXT = "a" * 1_000_000


def write(path: Path, column: pa.Array, **options) -> Path:
    pq.write_table(pa.table({"question": column}), path, compression="zstd", **options)
    assert path.stat().st_size < 100_000
    return path


BOMBS = {
    "one text in many rows": lambda: pa.array([TEXT] * 200),
    "one text in lists": lambda: pa.array([[TEXT] * 100, [TEXT] * 100], pa.large_list(pa.string())),
    "one text as a key": lambda: pa.array([[(TEXT, 1.0)]] * 200, pa.map_(pa.string(), pa.float64())),
    "one number": lambda: pa.array([7] * 20_000_000),
    "one list of one number": lambda: pa.array([[7] * 20_000_000], pa.large_list(pa.int32())),
    "text that packs well": lambda: pa.array([TEXT * 200]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_parquet_file_that_unfolds_to_far_more_is_refused(tmp_path, name):
    path = write(tmp_path / "rows.parquet", BOMBS[name](), use_dictionary=True)
    with pytest.raises(TooLarge, match=r"would unfold to more than \d+ MiB, 100 times its size"):
        read_parquet(path)
    with pytest.raises(UserError, match="would unfold"):
        list(raw_rows(path))


def test_what_is_read_is_what_was_written(tmp_path):
    table = pa.table(
        {
            "text": ["a", "b", None, "a"],
            "bytes": [b"x", b"y", b"", None],
            "parts": pa.array(
                [[("k", 1.0)], [], None, [("k", 2.0), ("l", 3.0)]], pa.map_(pa.string(), "double")
            ),
            "words": pa.array([["u", "v"], [], None, ["u"]], pa.large_list(pa.string())),
            "few": pa.array([["u", "v"], [], None, ["u"]], pa.list_(pa.string())),
            "turns": [[{"role": "user", "n": 1}], [], None, [{"role": None, "n": 2}]],
            "pair": pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2)),
            "n": [1, 2, 3, 4],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet").equals(table)
    some = read_parquet(tmp_path / "t.parquet", ["text", "n"], [("n", ">", 2)])
    assert some.to_pylist() == [{"text": None, "n": 3}, {"text": "a", "n": 4}]


def test_gzip(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"question": "1+1", "answer": "2"}\n'))
    assert gunzip(path) == b'{"question": "1+1", "answer": "2"}\n'
    path.write_bytes(gzip.compress(b" " * (FREE + TIMES * 100_000)))
    with pytest.raises(UserError, match="would unfold"):
        list(raw_rows(path))


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "sessions.json", "report.json"])
@pytest.mark.parametrize("levels", [200, 900, 100_000])
def test_json_in_a_run_folder_that_is_nested_deep(tmp_path, capsys, name, levels):
    drive(tmp_path / "bad", stop_after=1)
    drive(tmp_path / "good", stop_after=1)
    nested = f'{{"settings": {"[" * levels}{"]" * levels}}}\n'
    (tmp_path / "bad" / name).write_text(nested)
    assert main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["bad", "good"]
    assert ("damaged" in lines[0]) == (name == "run.json")
    view = RunView(tmp_path / "bad")
    empty = {"metrics.jsonl": view.metrics, "sessions.json": view.sessions, "report.json": view.report}
    assert not empty.get(name)


@pytest.mark.parametrize(
    "settings",
    [{"seed": "x"}, {"control": {"seed": [1]}}, {"steps": {}}, {"models": 3}, {"recipe": ["grpo"]}],
)
def test_settings_of_another_kind_do_not_hide_the_other_runs(tmp_path, capsys, settings):
    for name in ("bad", "good"):
        drive(tmp_path / name, stop_after=1)
    about = json.loads((tmp_path / "bad" / "run.json").read_text())
    (tmp_path / "bad" / "run.json").write_text(json.dumps(about | {"settings": settings}))
    (tmp_path / "bad" / "evaluations.jsonl").write_text('{"accuracy": 1}\n')
    assert main(["runs", str(tmp_path)]) == 0
    assert "good" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["code", "verifier"])
def test_cases_that_are_nested_deep(tmp_path, capsys, command):
    (tmp_path / "cases.jsonl").write_text("[" * 100_000 + "]" * 100_000 + "\n")
    assert main(["check", command, str(tmp_path / "cases.jsonl")]) == 2
    assert "line 1: not JSON (maximum recursion depth" in capsys.readouterr().err
