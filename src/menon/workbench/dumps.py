"""Folders of other libraries among those that the workbench was given: named in the list, opened by `menon
import`."""

import os
import shlex
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from menon.record.layout import PIPELINE, Layout
from menon.study.listing import unreadable
from menon.workbench.peers.importing import kinds_of
from menon.workbench.runs import Runs

SECONDS = 0.5
"""Time that a list takes for folders which were not looked into before."""
MOST = 200
"""Folders below a named one that are looked into."""


class Dumps:
    """What was found in the folders that hold no run, each looked into again when its entries have
    changed."""

    def __init__(self) -> None:
        self.known: dict[Path, tuple[int, tuple[str, ...]]] = {}

    def lines(self, runs: Runs, names: Collection[str]) -> list[dict[str, Any]]:
        """A line of the list for each dump among the folders. `names` are taken."""
        found: list[dict[str, Any]] = []
        taken = set(names)
        for path, kinds in self.found(runs):
            name = path.name
            while name in taken:
                name += "~"
            taken.add(name)
            found.append({"name": name, **line(path, kinds)})
        return found

    def found(self, runs: Runs) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """A named folder that is a dump; of one that holds runs, or is none, those right below it. What
        cannot be looked into within `SECONDS` waits for the next list."""
        end = time.monotonic() + SECONDS
        for folder in runs.folders:
            if is_ours(folder):
                continue
            below = folders_in(folder)
            if not any(map(is_ours, below)) and (kinds := self.kinds(folder, end)):
                yield folder, kinds
                continue
            for path in [one for one in below if not is_ours(one)][:MOST]:
                if kinds := self.kinds(path, end):
                    yield path, kinds

    def kinds(self, path: Path, end: float) -> tuple[str, ...]:
        """The libraries whose dumps a folder holds; what was found last once it is later than `end`."""
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return ()
        before = self.known.get(path, (0, ()))
        if before[0] != changed and time.monotonic() < end:
            self.known[path] = changed, kinds_of(path)
        return self.known.get(path, before)[1]


def folders_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(one.path) for one in entries if one.is_dir())


def is_ours(folder: Path) -> bool:
    return Layout(folder).about.exists() or (folder / PIPELINE).exists()


def line(path: Path, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The line of a dump: as of a folder that cannot be read, with what opens it."""
    target = f"runs/{path.name}"
    said = (
        f"a dump of {' and '.join(kinds)}: `menon import {shlex.quote(str(path))} out={shlex.quote(target)}` "
        "writes it as a run, which the workbench then opens"
    )
    return {**unreadable(path, "dump"), "created": "", "error": said}
