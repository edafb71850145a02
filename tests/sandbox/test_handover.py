"""Files between the directories of a test and of the program."""

import binascii
import os

import pytest

from menon.sandbox.handover import PIECE, Folder, texts


@pytest.fixture
def two(tmp_path, monkeypatch):
    (tmp_path / "test").mkdir()
    (tmp_path / "solution").mkdir()
    monkeypatch.chdir(tmp_path / "test")
    return Folder(str(tmp_path / "test")), Folder(str(tmp_path / "solution"))


def give(sender: Folder, taker: Folder, names=None) -> list[str]:
    messages = list(sender.changes(names))
    for message in messages:
        taker.take(message)
    return list(dict.fromkeys(message["file"] for message in messages))


def content(folder: Folder) -> dict[str, bytes | None]:
    found = {}
    for top, folders, files in os.walk(folder.root):
        for name in (*folders, *files):
            path = os.path.join(top, name)
            data = None if name in folders else open(path, "rb").read()  # noqa: SIM115
            found[os.path.relpath(path, folder.root)] = data
    return found


def write(folder: Folder, path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(os.path.join(folder.root, path)), exist_ok=True)
    with open(os.path.join(folder.root, path), "wb") as file:
        file.write(data)


def test_only_what_is_named_goes_over(two):
    test, solution = two
    for name in ("in.txt", "expected.txt", "d/x", "d/y", "e/z"):
        write(test, name, name.encode())
    assert give(test, solution, [1, "nothing", {"k": ["in.txt"]}]) == ["in.txt"]
    assert give(test, solution, ["in.txt"]) == []
    assert give(test, solution, ["d/x"]) == ["d", "d/x"]
    assert give(test, solution, [os.path.join(test.root, "e")]) == ["e", "e/z"]
    assert content(solution) == {"in.txt": b"in.txt", "d": None, "d/x": b"d/x", "e": None, "e/z": b"e/z"}
    assert give(test, solution, ["."]) == ["d/y", "expected.txt"]


def test_what_both_have_follows_changes_of_either(two):
    test, solution = two
    write(test, "a", b"1")
    give(test, solution, ["a"])
    write(solution, "a", b"2")  # of the same length, within the same tick of the clock
    write(solution, "new/b", b"3")
    assert give(solution, test) == ["a", "new", "new/b"]
    assert content(test) == {"a": b"2", "new": None, "new/b": b"3"}
    assert give(solution, test) == give(test, solution, []) == []
    write(test, "new/b", b"4")
    assert give(test, solution, ["new/b"]) == ["new/b"]
    os.unlink(os.path.join(solution.root, "a"))
    os.unlink(os.path.join(solution.root, "new/b"))
    os.rmdir(os.path.join(solution.root, "new"))
    assert give(solution, test) == ["new/b", "new", "a"]
    assert content(test) == content(solution) == {}


def test_what_the_test_has_written_over_is_its_own(two):
    """The program made a file of that name first, so that it would be shared."""
    test, solution = two
    write(solution, "expected", b"0")
    give(solution, test)
    write(test, "expected", b"42")
    assert give(test, solution, []) == ["expected"]
    write(solution, "expected", b"0")
    give(solution, test)
    assert content(test) == {"expected": b"42"}


def test_a_file_of_the_tests_own_is_not_written_over(two):
    test, solution = two
    write(test, "expected", b"42")
    write(solution, "expected", b"0")
    give(solution, test)
    for message in ({"gone": True}, {"folder": True}, {"begins": True, "data": "MA=="}, {"data": "MA=="}):
        test.take({"file": "expected", **message})
    assert content(test) == {"expected": b"42"}
    give(test, solution, ["expected"])
    assert content(solution) == {"expected": b"42"}


def test_links_and_pipes_stay_where_they_are(two):
    test, solution = two
    write(test, "secret", b"42")
    os.symlink("secret", os.path.join(solution.root, "link"))
    os.symlink(test.root, os.path.join(solution.root, "folder"))
    os.mkfifo(os.path.join(solution.root, "pipe"))
    assert give(solution, test) == []


@pytest.mark.parametrize("path", ["", ".", "..", "../x", "/etc/x", "a/../../x", "a//b", "a/./b", "a\0b", 5])
def test_no_path_leads_out(two, path):
    test, _ = two
    with pytest.raises(ValueError, match="leads out"):
        test.take({"file": path, "begins": True, "data": "MA=="})
    assert content(test) == {}


def test_a_name_that_leads_out_is_not_followed(two):
    test, solution = two
    write(solution, "x", b"1")
    assert give(test, solution, ["../solution/x", "/etc/passwd", "~", ""]) == []


def test_rubbish_is_an_error_and_not_a_file(two):
    with pytest.raises(binascii.Error):
        two[0].take({"file": "x", "begins": True, "data": "%%%=1"})


def test_large_files_go_in_pieces(two):
    test, solution = two
    data = os.urandom(2 * PIECE + 5)
    write(test, "big", data)
    messages = list(test.changes(["big"]))
    assert [len(message.get("data", "")) * 3 // 4 // PIECE for message in messages] == [0, 1, 1, 0]
    for message in messages:
        solution.take(message)
    assert content(solution) == {"big": data}


def test_the_strings_that_may_be_paths():
    given = ["a", {"b": ("c", {"d"})}, 1, None, "", "x" * 5000, "a\0b"]
    assert sorted(texts(given)) == ["a", "b", "c", "d"]
