"""A run folder that somebody else has made destroys nothing outside itself."""

import os
from pathlib import Path

import pytest

from menon.errors import UserError
from menon.record import checkpoint, disk
from menon.record.folder import RunFolder
from menon.record.layout import Layout
from menon.record.lock import Lock, held
from menon.record.reader import RunView
from tiny_run import drive, tiny_run

FILES = [path.name for path in Layout(Path()).files]
FOLDERS = [path.name for path in Layout(Path()).folders]


@pytest.fixture
def outside(tmp_path):
    """Files of the user with the names that a run gives to its own."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("thesis.txt", "step_000001.parquet", "step_000009.parquet", "latest"):
        (folder / name).write_text("mine")
    (folder / "step_000001").mkdir()
    (folder / "step_000001" / "weights").write_text("mine")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [*FILES, *FOLDERS, "lock"])
def test_a_link_in_place_of_what_a_run_writes_is_refused(tmp_path, outside, name):
    path = tmp_path / "run"
    drive(path, stop_after=1)
    before, own = contents(outside), path / name
    disk.remove(own)
    own.symlink_to(outside if name in FOLDERS else outside / "thesis.txt")
    with pytest.raises(UserError, match=r"holds no run|damaged|is a link"):
        drive(path)
    with pytest.raises(UserError, match="is a link"):
        RunFolder.create(path, {})
    assert contents(outside) == before
    assert own.is_symlink()


@pytest.mark.parametrize("name", FOLDERS)
def test_files_with_other_names_in_a_runs_folders_are_left_alone(tmp_path, name):
    path = tmp_path / "run"
    drive(path, stop_after=1)
    mine = path / name / "notes.txt"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    drive(path)
    assert mine.read_text() == "mine"
    (path / "metrics.jsonl").unlink()
    disk.remove(path / "checkpoints" / "latest")
    for step in checkpoint.steps_in(path / "checkpoints"):
        disk.remove(path / "checkpoints" / f"step_{step:06d}")
    RunFolder.create(path, {}).close()  # nothing of the run is left to go on with
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("entry", ["step_000001", "step_000002.tmp", "step_000001.damaged", "latest", "best"])
def test_links_among_the_checkpoints_are_not_followed(tmp_path, outside, entry):
    path = tmp_path / "run"
    drive(path, tiny_run(steps=4), stop_after=2)
    before, link = contents(outside), path / "checkpoints" / entry
    disk.remove(link)
    link.symlink_to(outside / "step_000001")
    drive(path, tiny_run(steps=4))
    assert contents(outside) == before


def test_a_temporary_name_is_nobody_elses(tmp_path, outside):
    """The names of earlier versions were known beforehand, and a link there was written through."""
    before = contents(outside)
    for name in ("run.json.tmp", "step_000001.tmp", "latest.tmp"):
        (tmp_path / name).symlink_to(outside / "thesis.txt")
    disk.write(tmp_path / "run.json", b"{}")
    disk.link(tmp_path / "latest", "run.json")
    assert contents(outside) == before
    names = {disk.temporary(tmp_path / "run.json").name for _ in range(100)}
    assert len(names) == 100


def test_a_file_that_is_a_link_is_replaced_and_not_followed(tmp_path, outside):
    link = tmp_path / "report.html"
    link.symlink_to(outside / "thesis.txt")
    disk.write(link, b"page")
    assert (outside / "thesis.txt").read_text() == "mine"
    assert not link.is_symlink()
    assert link.read_text() == "page"


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_nothing_is_appended_through_a_link_or_waits_for_a_pipe(tmp_path, outside, kind):
    path = tmp_path / "events.jsonl"
    if kind == "link":
        path.symlink_to(outside / "thesis.txt")
    else:
        os.mkfifo(path)
    for opened in (lambda: disk.append(path, b"x"), lambda: Lock(path)):
        with pytest.raises(UserError, match=r"is a link, a pipe or a device.*set out= to a new folder"):
            opened()
    assert held(path) is False
    assert (outside / "thesis.txt").read_text() == "mine"


def test_a_view_does_not_wait_for_a_pipe(tmp_path):
    path = tmp_path / "run"
    drive(path, stop_after=1)
    for name in ("metrics.jsonl", "sessions.json"):
        (path / name).unlink()
        os.mkfifo(path / name)
    assert RunView(path).metrics == []
    assert RunView(path).sessions == []
