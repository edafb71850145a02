import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from menon.errors import UserError
from menon.record import disk


def test_write_replaces_and_leaves_nothing_beside(tmp_path):
    file = tmp_path / "a"
    disk.write(file, b"old")
    disk.write(file, b"new")
    assert file.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch, call):
    file = tmp_path / "a"
    disk.write(file, b"old")

    def full(*args):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(disk.os, call, full)
    with pytest.raises(OSError, match="full"):
        disk.write(file, b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_failed_append_takes_back_its_half_line(tmp_path, monkeypatch):
    file = tmp_path / "a"
    disk.append(file, b"one\n")

    class Half:
        def __init__(self, *args):
            self.file = open(*args, buffering=0)  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(disk, "open", Half, raising=False)
    with pytest.raises(OSError, match="full"):
        disk.append(file, b"two\n")
    assert file.read_bytes() == b"one\n"


def test_a_link_replaces_what_is_there(tmp_path):
    link = tmp_path / "latest"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        disk.link(link, name)
        assert os.readlink(link) == name
    link.unlink()
    shutil.copytree(tmp_path / "a", link)
    disk.link(link, "b")
    assert os.readlink(link) == "b"
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "latest"]


@pytest.mark.parametrize(
    "tail", [b'{"step": 3', b'{"step": 3\n', b'\xff\x00\n{"step": 4}\n', b'{"step": 3}', b"null\n"]
)
def test_lines_end_at_the_first_torn_one(tmp_path, tail):
    file = tmp_path / "a"
    file.write_bytes(disk.json_line({"step": 1}) + disk.json_line({"step": 2}) + tail)
    assert [line["step"] for line in disk.read_lines(file)] == [1, 2]
    assert disk.read_lines(tmp_path / "absent") == []


def test_json_lines_are_strict():
    line = disk.json_line({"nan": float("nan"), "inf": float("inf"), "x": 0.1})
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name)) == {
        "nan": None,
        "inf": None,
        "x": 0.1,
    }


def test_cause_of_a_failed_write():
    assert (
        disk.cause(OSError(errno.ENOSPC, "x"))
        == disk.cause(OSError(errno.EDQUOT, "x"))
        == "no room left on the disk"
    )
    assert (
        disk.cause(RuntimeError("I/O error: No space left on device (os error 28)"))
        == "no room left on the disk"
    )
    assert disk.cause(OSError(errno.EROFS, "x")) == "read-only file system"
    assert disk.cause(RuntimeError("another")) is None


def test_a_place_is_tried_before_anything_is_computed(tmp_path, monkeypatch):
    """The nearest folder that is there, and nothing is left in it."""
    assert disk.check_place(tmp_path / "a" / "b", "the result", "file") == tmp_path
    (tmp_path / "a").mkdir()
    assert disk.check_place(tmp_path / "a" / "b", "the result", "file") == tmp_path / "a"
    monkeypatch.chdir(tmp_path)
    assert disk.check_place(Path("a"), "the run folder", "folder") == Path("a")
    assert os.listdir(tmp_path / "a") == []
    (tmp_path / "file").write_text("")
    said = r"the result .*file/b cannot be written \(not a directory\); set out= to another file"
    with pytest.raises(UserError, match=said):
        disk.check_place(tmp_path / "file" / "b", "the result", "file")


def test_a_disk_that_takes_no_files(tmp_path, monkeypatch):
    def refuse(dir):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(disk.tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match=r"the run folder .* \(read-only file system\); set out= to another"):
        disk.check_place(tmp_path / "run", "the run folder", "folder")
