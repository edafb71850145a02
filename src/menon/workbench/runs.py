"""Which runs the workbench shows, and under which names."""

from collections.abc import Sequence
from pathlib import Path

from menon.errors import UserError
from menon.record.layout import Layout, runs_in
from menon.record.reader import RunView


class Runs:
    """The runs in the folders that were named, each under a short name; nothing else can be read through it.

    A folder is a run, or a folder of runs; it is listed again at every request, so new runs appear. UserError
    for a folder that is not there.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folder.resolve() for folder in folders)
        self.known: dict[str, Path] = {}
        """The last listing; a run in it is found without listing folders that may hold many files."""
        for folder in self.folders:
            if not folder.is_dir():
                raise UserError(f"there is no folder {folder}; name run folders, or a folder that holds them")

    def paths(self) -> dict[str, Path]:
        """Name -> folder, in order. Runs of one name in several folders are told apart by a number."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in runs_in(folder):
                if path in found.values():
                    continue
                name, number = path.name, 2
                while name in found:
                    name, number = f"{path.name}~{number}", number + 1
                found[name] = path
        self.known = found
        return found

    def view(self, name: str) -> RunView:
        """A new view of a run, which shows its present state. UserError if no run has this name."""
        path = self.known.get(name)
        if path is None or not Layout(path).about.exists():
            path = self.paths().get(name)
        if path is None:
            raise NoSuchRun(f"there is no run {name} here")
        return RunView.open(path)


class NoSuchRun(UserError):
    """A name that no run has: what a browser asks for is not there (404)."""
