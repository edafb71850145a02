import os

from menon.sandbox.tidy import measure, remove_tree


def test_what_hostile_programs_leave_is_removed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    (tree / b"\xff\xfe".decode(errors="surrogateescape")).write_text("x")
    locked = tree / "locked" / "inner"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0)
    locked.parent.chmod(0)
    here = os.open(tree, os.O_RDONLY)
    for _ in range(400):  # far longer than a path may be
        os.mkdir("far_deeper_than_a_path", dir_fd=here)
        deeper = os.open("far_deeper_than_a_path", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    remove_tree(str(tree))
    assert not tree.exists()
    assert (outside / "kept").read_text() == "x"


def test_a_link_in_place_of_the_directory_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    remove_tree(str(tmp_path / "link"))
    assert [path.name for path in tmp_path.iterdir()] == ["real"]


def test_nothing_to_remove():
    remove_tree("/nowhere/at/all")


def test_files_and_bytes_are_counted(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"x" * 100_000)
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 30)
    number, size = measure(str(tmp_path), 100)
    assert number == 4
    assert 100_000 <= size < 200_000
    assert measure(str(tmp_path), 2)[0] == 3
