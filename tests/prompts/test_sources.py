"""One small data set, written every way that people keep theirs."""

import gzip
import json
import sys
import types

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from menon.errors import UserError
from menon.prompts.reader import read_rows

ROWS = [
    {"question": "3+4=?", "answer": "7", "level": 1},
    {"question": '2+2=?\n"x", é', "answer": "4", "level": 2},
]


def arrow(folder, rows, shards=1):
    """As `datasets.save_to_disk` does: Arrow streams, and a state that names them."""
    folder.mkdir(parents=True)
    files = [f"data-{n:05}-of-{shards:05}.arrow" for n in range(shards)]
    for n, name in enumerate(files):
        table = pa.Table.from_pylist(rows[n::shards])
        with (folder / name).open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in files], "_split": "train"})
    )
    return folder


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write(kind, folder):
    array = json.dumps(ROWS).encode()
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()
    cells = 'question,answer,level\r\n3+4=?,7,1\r\n"2+2=?\n""x"", é",4,2\r\n'.encode("utf-8-sig")
    files = {
        "a.jsonl": lines,
        "a.json": array,
        "lines.json": lines,
        "a.csv": cells,
        "a.json.gz": array,
        "a.csv.gz": cells,
    }
    if kind in files:
        data = files[kind]
        (folder / kind).write_bytes(gzip.compress(data) if kind.endswith(".gz") else data)
        return folder / kind
    if kind == "a.parquet":
        return parquet(folder / kind, ROWS)
    if kind == "parquet folder":
        parquet(folder / "data" / "train-00001-of-00002.parquet", ROWS[1:])
        parquet(folder / "data" / "test-00000-of-00001.parquet", ROWS[:1])
        return parquet(folder / "data" / "train-00000-of-00002.parquet", ROWS[:1]).parent.parent
    if kind == "saved":
        return arrow(folder / "saved", ROWS, shards=2)
    arrow(folder / "dict" / "train", ROWS)
    arrow(folder / "dict" / "test", ROWS[1:])
    (folder / "dict" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    return folder / "dict"


KINDS = (
    "a.jsonl",
    "a.json",
    "lines.json",
    "a.json.gz",
    "a.parquet",
    "parquet folder",
    "saved",
    "saved splits",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_rows(kind, tmp_path):
    assert read_rows(write(kind, tmp_path)) == (ROWS, 0)


@pytest.mark.parametrize("kind", ["a.csv", "a.csv.gz"])
def test_csv_cells_are_text(kind, tmp_path):
    assert read_rows(write(kind, tmp_path)) == ([row | {"level": str(row["level"])} for row in ROWS], 0)


@pytest.mark.parametrize("kind", ["parquet folder", "saved splits"])
def test_a_split_by_its_name(kind, tmp_path):
    folder = write(kind, tmp_path)
    assert len(read_rows(f"{folder}@train")[0]) == 2
    assert len(read_rows(f"{folder}@test")[0]) == 1
    with pytest.raises(
        UserError,
        match=rf"^{folder} has no split 'dev'; there are test, train$|^{folder} .* are train, test$",
    ):
        read_rows(f"{folder}@dev")


def test_splits_without_train_have_to_be_named(tmp_path):
    parquet(tmp_path / "validation.parquet", ROWS)
    assert read_rows(tmp_path)[0] == ROWS
    parquet(tmp_path / "test.parquet", ROWS)
    with pytest.raises(
        UserError, match=rf"^{tmp_path} has the splits test, validation; name one, like {tmp_path}@test$"
    ):
        read_rows(tmp_path)


def test_nested_columns_come_as_they_were(tmp_path):
    row = {
        "data_source": "own",
        "prompt": [{"role": "user", "content": "3+4=?"}],
        "reward_model": {"ground_truth": "7", "style": "rule"},
        "extra_info": {"index": 5},
    }
    [read] = read_rows(parquet(tmp_path / "verl.parquet", [row]))[0]
    assert read == {"question": row["prompt"], "answer": "7"} | {
        name: row[name] for name in row if name != "prompt"
    }


def test_faults_are_named_by_their_rows(tmp_path):
    for kind, place in (("a.json", "row 2"), ("a.parquet", "row 2"), ("a.csv", "line 3")):
        path = tmp_path / kind
        rows = [{"question": "q", "answer": "7"}, {"question": "q", "answer": ""}]
        if kind == "a.parquet":
            parquet(path, rows)
        else:
            path.write_text(json.dumps(rows) if kind == "a.json" else "question,answer\nq,7\nq,\n")
        with pytest.raises(
            UserError, match=rf"{kind}: 1 of 2 rows cannot be used: {place}: 'answer' is empty"
        ):
            read_rows(path)
        assert read_rows(path, on_bad="skip") == ([{"question": "q", "answer": "7"}], 1)


BROKEN = {
    "a.json": ("[{]", r"a\.json: not JSON \(Expecting property name"),
    "b.json": ("[" * 100_000, r"b\.json: nested too deeply"),
    "c.json": ("[]", "is empty; give it rows with 'question' and 'answer'"),
    "d.json": ('{"rows": []}', r"line 1: no 'prompt', 'question' or 'problem'"),
    "a.csv": ('question,answer\n"q,7\n', r"a\.csv: line 1 is not CSV \("),
    "b.csv": ("question,answer\nq,7,8\n", "line 2: not as many cells as the first line has names"),
    "c.csv": ("question,answer\nq\n", "line 2: not as many cells as the first line has names"),
    "d.csv": ("question,answer\n", "is empty"),
    "s.csv": ("question;answer\nq;7\n", r"separated by semicolons, and a CSV .* line is 'question;answer'\)"),
    "t.csv": ("question\tanswer\nq\t7\n", r"columns of .*t\.csv are separated by tabs"),
    "e.csv": ("", "is empty"),
    "a.parquet": ("text", r"a\.parquet is damaged or of another kind than its name says \("),
    "a.txt": (
        "text",
        r"a\.txt is of no kind that can be read; its name should end in \.jsonl, \.json, \.csv or \.parquet$",
    ),
    "a": ("text", r"is of no kind that can be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_one_sentence(name, tmp_path):
    text, words = BROKEN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "u.csv").write_bytes("question,answer\nq,7\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"u\.csv is UTF-16 text; save the file as UTF-8"):
        read_rows(tmp_path / "u.csv")
    (tmp_path / "b.csv").write_bytes("question,answer\nq,7\n".encode("utf-8-sig"))
    assert read_rows(tmp_path / "b.csv") == ([{"question": "q", "answer": "7"}], 0)
    (tmp_path / "a.csv").write_bytes(b"question,answer\ncaf\xe9,7\n")
    with pytest.raises(UserError, match=r"a\.csv: byte 20 is not UTF-8; save the file as UTF-8"):
        read_rows(tmp_path / "a.csv")


def test_folders_that_are_none(tmp_path):
    with pytest.raises(
        UserError, match="is a folder without Parquet files and no saved data set; name one file in it"
    ):
        read_rows(tmp_path)
    folder = arrow(tmp_path / "saved", ROWS)
    with pytest.raises(UserError, match="saved is one split; leave @test out"):
        read_rows(f"{folder}@test")
    (folder / "data-00000-of-00001.arrow").write_bytes(b"text")
    with pytest.raises(UserError, match="is damaged or of another kind than its name says"):
        read_rows(folder)
    (folder / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(UserError, match=r"there is no file .*data-00000-of-00001\.arrow"):
        read_rows(folder)
    (folder / "state.json").write_text('{"_data_files": [], "_indices_data_files": [{"filename": "x"}]}')
    with pytest.raises(
        UserError,
        match=r"holds a selection of another data set's rows; save it again after flatten_indices\(\)",
    ):
        read_rows(folder)
    (folder / "state.json").write_text("[")
    with pytest.raises(UserError, match=r"state\.json is missing or damaged; save the data set again"):
        read_rows(folder)
    parquet(tmp_path / "a.parquet", ROWS)
    with pytest.raises(UserError, match=r"a\.parquet is one file and has no splits; leave @train out"):
        read_rows(f"{tmp_path / 'a.parquet'}@train")


# The hub


def hub(monkeypatch, fail=None):
    """A library of the name, whose hub holds one data set."""
    asked = []

    def load_dataset(name, config, split):
        asked.append((name, config, split))
        return ROWS[:1] if split == "test" else ROWS

    def get_dataset_split_names(name, config):
        if fail:
            raise fail
        return ["train", "test"]

    library = types.ModuleType("datasets")
    library.load_dataset, library.get_dataset_split_names = load_dataset, get_dataset_split_names
    monkeypatch.setitem(sys.modules, "datasets", library)
    return asked


def test_names_on_the_hub(monkeypatch):
    asked = hub(monkeypatch)
    assert read_rows("hub:someone/sums") == (ROWS, 0)
    assert read_rows("hub:someone/sums:main@test") == (ROWS[:1], 0)
    assert asked == [("someone/sums", None, "train"), ("someone/sums", "main", "test")]
    with pytest.raises(UserError, match=r"^hub:someone/sums@dev has no split 'dev'; there are train, test$"):
        read_rows("hub:someone/sums@dev")


def test_the_hub_out_of_reach(monkeypatch):
    hub(monkeypatch, fail=OSError("no route\nto host"))
    with pytest.raises(
        UserError, match=r"^hub:a/b cannot be loaded from the Hugging Face hub \(OSError: no route to host\)$"
    ):
        read_rows("hub:a/b")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        UserError, match=r"needs the package datasets; install it by pip .*\[datasets\]', or download "
    ):
        read_rows("hub:a/b")


def test_a_missing_file_that_looks_like_a_hub_name():
    with pytest.raises(
        UserError,
        match=r"^there is no file openai/gsm8k \(looked .*\); a data set of the Hugging Face hub is",
    ):
        read_rows("openai/gsm8k")
