"""Reads the raw rows of a data set: JSON lines, JSON, CSV, Parquet, folders of the library datasets, or names
on the hub."""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from menon.errors import UserError, offline_by, pip_install
from menon.unpacking import gunzip, read_parquet

HUB = "hub:"
TRAIN = "train"
KINDS = ".jsonl, .json, .csv or .parquet"

ONE_OBJECT = "one object per line, not one array (or name the file .json)"
"""The hint about a list in a file of JSON lines."""
GZIP = b"\x1f\x8b"
"""The first bytes of a file that gzip packed."""

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


class BadRow(Exception):
    """One row cannot be used; the message says why and what to change."""


Raw = Iterator[tuple[str, Any]]
"""The name of a row's place (`line 3`) and the row, or a BadRow where it cannot be read."""


def raw_rows(source: str | Path) -> Raw:
    """The rows of a file, a folder or a hub name, in their order.

    Files: `.jsonl` and `.json` (lines or one array), `.csv` with a header, `.parquet`; all but the last also
    with `.gz`. Folders: what `datasets.save_to_disk` wrote, or Parquet files (also in a folder `data`). After
    a folder or `hub:OWNER/NAME[:CONFIG]`, `@SPLIT` names a split; the default is the only split, or `train`.
    UserError: nothing there, or nothing that can be read.
    """
    if str(source).startswith(HUB):
        return hub_rows(str(source))
    if "://" in str(source):
        raise UserError(f"{source} is an address; download the file and name it, or write {HUB}OWNER/NAME")
    path, split = named_split(str(source))
    if path.is_dir():
        return folder_rows(path, split)
    if split is not None:
        raise UserError(f"{path} is one file and has no splits; leave @{split} out")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    readers: dict[str, Callable[[Path], Raw]] = {
        ".jsonl": lambda path: line_rows(read_bytes(path)),
        ".json": lambda path: json_rows(path, read_bytes(path)),
        ".csv": lambda path: csv_rows(path, read_bytes(path)),
        ".parquet": lambda path: numbered(parquet_rows([path])),
    }
    if path.exists() and suffix not in readers:
        raise UserError(f"{path} is of no kind that can be read; save its rows as {KINDS}")
    return readers.get(suffix, readers[".jsonl"])(path)


def named_split(source: str) -> tuple[Path, str | None]:
    before, at, split = source.rpartition("@")
    if at and before and split and not Path(source).exists() and Path(before).exists():
        return Path(before), split
    return Path(source), None


def read_bytes(path: Path) -> bytes:
    """A file's contents, unpacked if its name ends in .gz."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name one file in it")
    if not path.exists():
        hub = (
            f"; a data set of the Hugging Face hub is {HUB}{path}"
            if re.fullmatch(r"[\w-]+/[\w.-]+", str(path))
            else ""
        )
        raise UserError(f"there is no file {path} (looked from {Path.cwd()}){hub if not path.suffix else ''}")
    try:
        data = gunzip(path) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} is not a whole gzip file ({error}); compress it again, or take .gz off a plain "
            "file's name"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if data.startswith(GZIP):
        raise UserError(f"{path} is packed by gzip; let its name end in .gz")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"{path} is in UTF-16; save the file as UTF-8")
    return data


def numbered(rows: Sequence[Any]) -> Raw:
    return ((f"row {number}", row) for number, row in enumerate(rows, start=1))


# JSON and CSV


def line_rows(data: bytes) -> Raw:
    """One object per line; blank lines are no rows."""
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line.strip():
            try:
                row = parsed(line)
                yield (
                    f"line {number}",
                    BadRow(f"a list instead of an object; {ONE_OBJECT}") if isinstance(row, list) else row,
                )
            except BadRow as fault:
                yield f"line {number}", fault


def json_rows(path: Path, data: bytes) -> Raw:
    """The rows of one array of objects, of an object over several lines, or of JSON lines in a file with this
    ending."""
    is_list = data.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
    try:
        whole = parsed(data)
    except BadRow as fault:
        if is_list:
            raise UserError(f"{path}: {fault}") from None
        return line_rows(data)
    if is_list:
        return numbered(whole)
    inner = [name for name, value in whole.items() if is_rows(value)] if isinstance(whole, dict) else []
    if inner:
        raise UserError(f"{path} is one object with a list in '{inner[0]}'; save that list alone")
    return numbered([whole]) if b"\n" in data.strip() else line_rows(data)


def is_rows(value: Any) -> bool:
    """Whether a value is a list of objects, as rows are; chat messages are one too, and no rows."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "role" not in item for item in value)
    )


def parsed(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadRow(f"byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise BadRow("nested too deeply") from error
    except ValueError as error:
        hint = f"; {ONE_OBJECT}" if text.lstrip().startswith(b"[") else ""
        raise BadRow(f"not JSON ({error}){hint}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def csv_rows(path: Path, data: bytes) -> Raw:
    """Cells by the names in the first line; every cell is text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = reader.fieldnames or ()
        if len(names) == 1 and (marks := [mark for mark in ";\t|" if mark in names[0]]):
            raise UserError(f"{path}: cells are divided by {marks[0]!r}; save it with commas between them")
        for row in reader:
            whole = None not in row and None not in row.values()
            yield (
                f"line {reader.line_num}",
                row if whole else BadRow("not as many cells as the first line has names"),
            )
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not CSV ({error})") from None


# Parquet and folders


def parquet_rows(files: Sequence[Path]) -> list[Any]:
    return [row for file in files for row in _read(file, read_parquet)]


def arrow_rows(folder: Path) -> list[Any]:
    """One split that `datasets.save_to_disk` wrote."""
    import pyarrow.ipc

    state = _state(folder / "state.json")
    if state.get("_indices_data_files"):
        raise UserError(
            f"{folder} holds a selection of another data set's rows; save it again after flatten_indices()"
        )
    files = [folder / str(entry["filename"]) for entry in state.get("_data_files", [])]

    def stream(file: Path) -> Any:
        with file.open("rb") as opened:
            return pyarrow.ipc.open_stream(opened).read_all()

    return [row for file in files for row in _read(file, stream)]


def _read(file: Path, table: Callable[[Path], Any]) -> list[Any]:
    import pyarrow

    if not file.exists():
        raise UserError(f"there is no file {file} (looked from {Path.cwd()})")
    try:
        return list(table(file).to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{file} is damaged or of another kind than its name says ({' '.join(str(error).split())})"
        ) from None


def _state(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise UserError(f"{file} is missing or damaged; save the data set again") from None


def folder_rows(folder: Path, split: str | None) -> Raw:
    if (folder / "dataset_dict.json").exists():
        names = list(_state(folder / "dataset_dict.json").get("splits", []))
        return numbered(arrow_rows(folder / pick(split, names, str(folder))))
    if (folder / "state.json").exists():
        if split is not None:
            raise UserError(f"{folder} is one split; leave @{split} out")
        return numbered(arrow_rows(folder))
    shards: dict[str, list[Path]] = defaultdict(list)
    for file in sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet")]):
        shards[_SHARD.sub("", file.stem)].append(file)
    if not shards:
        files = sorted(file for kind in ("*.jsonl", "*.csv") for file in folder.glob(kind))
        like = f", like {files[0]}" if files else ""
        raise UserError(
            f"{folder} is a folder without Parquet files and no saved data set; name one file in it{like}"
        )
    return numbered(parquet_rows(shards[pick(split, list(shards), str(folder))]))


def pick(split: str | None, names: Sequence[str], source: str) -> str:
    """The split that was named, or the only one, or train."""
    if split is not None and split not in names:
        raise UserError(f"{source} has no split '{split}'; there are {', '.join(names)}")
    if split is not None:
        return split
    if len(names) > 1 and TRAIN not in names:
        raise UserError(f"{source} has the splits {', '.join(names)}; name one, like {source}@{names[0]}")
    return TRAIN if TRAIN in names else names[0]


def hub_rows(source: str) -> Raw:
    """`hub:OWNER/NAME[:CONFIG][@SPLIT]`, loaded (and kept) by the library datasets."""
    name, _, split = source.removeprefix(HUB).partition("@")
    name, _, config = name.partition(":")
    try:
        library: Any = import_module("datasets")
    except ImportError:
        raise UserError(
            f"{source} is on the Hugging Face hub, which needs the package datasets; install it "
            f"by {pip_install('datasets')}, or download its Parquet files and name their folder"
        ) from None
    try:
        names = library.get_dataset_split_names(name, config or None)
        rows: Sequence[Mapping[str, Any]] = library.load_dataset(
            name, config or None, split=pick(split or None, names, source)
        )
    except UserError:
        raise
    except Exception as error:  # whatever the library and the network may raise
        if offline := offline_by("HF_DATASETS_OFFLINE"):
            raise UserError(
                f"{offline} is set, so the Hugging Face hub is not asked for {source}, which is not in the "
                f"cache of the library datasets; name a local file or folder, or unset {offline}"
            ) from None
        why = " ".join(str(error).split())[:300]
        raise UserError(
            f"{source} cannot be loaded from the Hugging Face hub ({type(error).__name__}: {why})"
        ) from None
    return numbered(rows)
