"""The answers of many steps as small columns in memory, so that a filter over a whole run takes no second.

A step's file is read once, without its tokens; the numbers of each answer are kept, its texts while there is
room. What is read follows the files: a step that was written anew is read anew.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from menon.record.layout import step_file
from menon.record.metrics import REFLECTION
from menon.record.reader import StepFiles
from menon.types import FINISHES
from menon.unpacking import read_parquet
from menon.workbench.reading import unreadable

WHOLE = {"group": -1, "sample": 0, "prompt_index": -1, "node": -1, "parent": -1, "depth": 0, "age": 0}
"""Columns of whole numbers -> what stands for them in a file without them."""
TEXTS = ("prompt", "completion", "graded_text", "answer", "error", "parts")
LISTS = ("is_action", "advantage")
SAME = 1e-9
"""Parts of a reward that differ by no more agree."""
ROOM = 256 << 20
"""Bytes of texts that are kept for a folder; beyond them they are read again when they are needed."""
FOLDERS = 8
"""Folders whose answers are kept, the last ones that were asked for."""


@dataclass(frozen=True)
class StepAnswers:
    """The answers of one step, S of them, in the order of its file."""

    step: int
    numbers: Mapping[str, NDArray]
    """[S] each: `WHOLE`, step, row, score, acc, learn, finish (place in `FINISHES`), length (tokens that the
    policy wrote), advantage (mean over the tokens that were learned from, NaN: none), reflects, disagrees."""
    texts: pa.Table | None
    """`TEXTS` that the file has; None: there was no room to keep them."""

    @property
    def count(self) -> int:
        return len(self.numbers["row"])


@dataclass
class Folder:
    """What is known of a folder's files: step -> its stamp, and its answers or why they cannot be read."""

    steps: dict[int, tuple[tuple[int, int], StepAnswers | str]] = field(default_factory=dict)
    room: int = ROOM
    found: tuple[str, dict[int, NDArray]] = ("", {})
    """The last text that was searched for, and where each step has it."""
    lock: Lock = field(default_factory=Lock)


@dataclass(frozen=True)
class Answers:
    """The answers of the steps that were asked for, as far as they are read."""

    steps: Sequence[StepAnswers]
    broken: Mapping[int, str]
    """Step -> why its file cannot be read."""
    pending: int
    """Steps that there was no time for; asking again goes on with them."""

    def column(self, name: str) -> NDArray:
        """[all answers] a number of each."""
        return np.concatenate([one.numbers[name] for one in self.steps]) if self.steps else np.zeros(0)

    def place(self, index: int) -> tuple[StepAnswers, int]:
        """The step of an answer, and its row there."""
        for one in self.steps:
            if index < one.count:
                return one, index
            index -= one.count
        raise IndexError(index)


class AnswerRows:
    """Reads and keeps the answers of the folders that are asked for."""

    def __init__(self) -> None:
        self._folders: OrderedDict[Path, Folder] = OrderedDict()
        self._lock = Lock()

    def read(self, files: StepFiles, steps: Sequence[int], until: float) -> Answers:
        """The answers of these steps. At the time `until` (`time.monotonic`) it stops reading more files."""
        folder = self._folder(files.folder)
        with folder.lock:
            good, broken, pending = [], {}, 0
            for step in steps:
                known = self._step(folder, files.folder, step, until)
                if known is None:
                    pending += 1
                elif isinstance(known, str):
                    broken[step] = known
                else:
                    good.append(known)
            return Answers(good, broken, pending)

    def texts(self, files: StepFiles, one: StepAnswers) -> pa.Table:
        """The texts of a step's answers, from its file if they were not kept."""
        return read_texts(step_file(files.folder, one.step)) if one.texts is None else one.texts

    def having(self, files: StepFiles, answers: Answers, text: str, until: float) -> tuple[NDArray, int]:
        """[all answers] whether question or answer has the text, upper or lower case, and the number of steps
        that there was no time to search; their answers count as not having it."""
        folder = self._folder(files.folder)
        with folder.lock:
            if folder.found[0] != text:
                folder.found = (text, {})
            known, masks, pending = folder.found[1], [], 0
            for one in answers.steps:
                mask = known.get(one.step)
                if mask is None or len(mask) != one.count:
                    mask = None
                    if time.monotonic() < until:
                        mask = known[one.step] = has_text(self.texts(files, one), text)
                pending += mask is None
                masks.append(np.zeros(one.count, dtype=bool) if mask is None else mask)
        return (np.concatenate(masks) if masks else np.zeros(0, dtype=bool)), pending

    def _folder(self, path: Path) -> Folder:
        with self._lock:
            folder = self._folders.setdefault(path, Folder())
            self._folders.move_to_end(path)
            while len(self._folders) > FOLDERS:
                self._folders.popitem(last=False)
            return folder

    def _step(self, folder: Folder, path: Path, step: int, until: float) -> StepAnswers | str | None:
        file = step_file(path, step)
        try:
            about = file.stat()
        except OSError as error:
            return unreadable(file, error)
        stamp = (about.st_mtime_ns, about.st_size)
        if step in folder.steps and folder.steps[step][0] == stamp:
            return folder.steps[step][1]
        if time.monotonic() >= until:
            return None
        if step in folder.steps:
            folder.room += kept_bytes(folder.steps[step][1])
        found = read_step(file, step, folder.room)
        folder.room -= kept_bytes(found)
        folder.steps[step] = (stamp, found)
        folder.found[1].pop(step, None)
        return found


def kept_bytes(found: StepAnswers | str) -> int:
    """Bytes of the texts that are kept of a step."""
    return found.texts.nbytes if isinstance(found, StepAnswers) and found.texts is not None else 0


def read_step(file: Path, step: int, room: int = ROOM) -> StepAnswers | str:
    """The answers of a step's file, with their texts if they fit into `room` bytes; a sentence if it cannot
    be read."""
    try:
        stored = set(pq.read_schema(file).names)
        names = {*WHOLE, *TEXTS, *LISTS, "score", "acc", "learn", "finish"} & stored
        table = read_parquet(file, sorted(names))
        texts = table.select([name for name in TEXTS if name in names])
        return StepAnswers(step, numbers_of(table, step), texts if texts.nbytes <= room else None)
    except Exception as error:  # whatever a damaged file makes the reader raise: the other steps are shown
        return unreadable(file, error)


def read_texts(file: Path) -> pa.Table:
    """The texts of a step's answers."""
    stored = set(pq.read_schema(file).names)
    return read_parquet(file, [name for name in TEXTS if name in stored])


def numbers_of(table: pa.Table, step: int) -> dict[str, NDArray]:
    """The numbers of a step's answers; a column that the file lacks has its stand-in, or NaN."""
    count = table.num_rows
    stored = set(table.column_names)

    def numbers(name: str, instead: float, kind: type) -> NDArray:
        if name not in stored:
            return np.full(count, instead, dtype=kind)
        return table[name].to_numpy().astype(kind)

    found = {name: numbers(name, instead, np.int64) for name, instead in WHOLE.items()}
    found |= {name: numbers(name, np.nan, np.float64) for name in ("score", "acc")}
    learn = numbers("learn", True, np.bool_)
    found |= {"step": np.full(count, step), "row": np.arange(count), "learn": learn}
    finish = pc.index_in(table["finish"], pa.array(FINISHES)).fill_null(-1)
    found["finish"] = finish.to_numpy().astype(np.int64)
    acts, bounds = flat(table["is_action"])
    found["length"] = sums(acts, bounds)
    learned = acts & np.repeat(learn & ~np.isnan(found["score"]), np.diff(bounds))
    found["advantage"] = np.full(count, np.nan)
    if "advantage" in stored:
        number = sums(learned, bounds)
        total = sums(np.where(learned, flat(table["advantage"])[0], 0), bounds)
        np.divide(total, number, out=found["advantage"], where=number > 0)
    written = table["graded_text" if "graded_text" in stored else "completion"]
    pattern = "|".join(one.pattern for one in REFLECTION.values())
    found["reflects"] = pc.match_substring_regex(written, pattern).fill_null(False).to_numpy()
    found["disagrees"] = apart(table["parts"]) if "parts" in stored else np.zeros(count, dtype=bool)
    return found


def flat(column: pa.ChunkedArray) -> tuple[NDArray, NDArray[np.int64]]:
    """[N] the elements of a column of lists, and [S+1] where the list of each row begins."""
    lengths = pc.list_value_length(column).to_numpy()
    return pc.list_flatten(column).to_numpy(), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def sums(values: NDArray, bounds: NDArray[np.int64]) -> NDArray:
    """[S] sums of the values between the bounds."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.float64 if values.dtype.kind == "f" else None)])
    return total[bounds[1:]] - total[bounds[:-1]]


def apart(parts: pa.ChunkedArray) -> NDArray[np.bool_]:
    """[S] whether the named parts of a reward give different numbers; parts without a number do not count."""
    found = [dict(row or ()).values() for row in parts.to_pylist()] if has_several(parts) else []
    known = [[value for value in row if value is not None and value == value] for row in found]
    differ = [len(row) > 1 and max(row) - min(row) > SAME for row in known]
    return np.array(differ, dtype=bool) if differ else np.zeros(len(parts), dtype=bool)


def has_several(parts: pa.ChunkedArray) -> bool:
    """Whether any row has more than one part: most runs have none, and looking at each row takes long."""
    return any((np.diff(chunk.offsets.to_numpy()) > 1).any() for chunk in parts.chunks)


def has_text(texts: pa.Table, text: str) -> NDArray[np.bool_]:
    """[S] whether question or answer has the text, upper or lower case."""
    masks = [
        pc.match_substring(texts[name], text, ignore_case=True).fill_null(False).to_numpy()
        for name in ("prompt", "completion")
        if name in texts.column_names
    ]
    return np.logical_or.reduce(masks) if masks else np.zeros(texts.num_rows, dtype=bool)
