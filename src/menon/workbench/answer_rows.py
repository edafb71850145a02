"""The answers of many steps as small columns in memory, so that a filter over a whole run takes no second.

They come from the run's index of answers (`record.answer_index`); a step that it lacks is read from its file,
without its tokens. The numbers of each answer are kept, its texts while there is room. What is read follows
the files: a step that was written anew is read anew.
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

from menon.record.answer_index import AnswerIndex, Entry
from menon.record.answer_numbers import READ, numbers_of, texts_of
from menon.record.layout import step_file
from menon.record.reader import StepFiles
from menon.unpacking import read_parquet
from menon.workbench.reading import unreadable

ROOM = 256 << 20
"""Bytes of texts that are kept for a folder; beyond them they are read again when they are needed."""
FOLDERS = 8
"""Folders whose answers are kept, the last ones that were asked for."""


@dataclass(frozen=True)
class StepAnswers:
    """The answers of one step, S of them, in the order of its file."""

    step: int
    numbers: NDArray[np.void]
    """[S] `answer_numbers.NUMBERS`."""
    texts: pa.Table | None = None
    """What the file has of `answer_numbers.TEXTS`; None: they are in the index, or there was no room to keep
    them."""
    entry: Entry | None = None
    """What the index has of the step."""

    @property
    def count(self) -> int:
        return len(self.numbers)


@dataclass
class Folder:
    """What is known of a folder's files."""

    index: AnswerIndex
    steps: dict[int, tuple[tuple[int, int], StepAnswers | str]] = field(default_factory=dict)
    """Step -> its stamp, and its answers or why they cannot be read."""
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
            folder.index.read()
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
        """The texts of a step's answers, as they were kept, from the index or from the step's file."""
        if one.texts is not None:
            return one.texts
        found = self._folder(files.folder).index.texts(one.entry) if one.entry else None
        return texts_of(read_columns(step_file(files.folder, one.step))) if found is None else found

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
            folder = self._folders.setdefault(path, Folder(AnswerIndex(path)))
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
        if step in folder.steps:
            folder.room += kept_bytes(folder.steps.pop(step)[1])
        found: StepAnswers | str
        if entry := folder.index.find(step, about.st_size):
            found = StepAnswers(step, entry.numbers, entry=entry)
        elif time.monotonic() >= until:
            return None
        else:
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
        table = read_columns(file)
        texts = texts_of(table)
        return StepAnswers(step, numbers_of(table, step), texts if texts.nbytes <= room else None)
    except Exception as error:  # whatever a damaged file makes the reader raise: the other steps are shown
        return unreadable(file, error)


def read_columns(file: Path) -> pa.Table:
    """What a step's file has of `answer_numbers.READ`."""
    stored = set(pq.read_schema(file).names)
    return read_parquet(file, [name for name in READ if name in stored])


def has_text(texts: pa.Table, text: str) -> NDArray[np.bool_]:
    """[S] whether question or answer has the text, upper or lower case."""
    masks = [
        pc.match_substring(texts[name], text, ignore_case=True).fill_null(False).to_numpy()
        for name in ("prompt", "completion")
        if name in texts.column_names
    ]
    return np.logical_or.reduce(masks) if masks else np.zeros(texts.num_rows, dtype=bool)
