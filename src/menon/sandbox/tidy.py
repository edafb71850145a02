"""Measures and removes directories of hostile programs: too deep for recursion, without permissions, with
links that lead out."""

import os
import stat
from contextlib import suppress
from itertools import count

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def measure(path: str, most: int) -> tuple[int, int]:
    """Files and directories in a directory, and the bytes that they occupy; stops counting above `most` of
    them.

    It walks by descriptors, so that no path is too long. What cannot be entered counts as too many: a
    directory without permission, or one that is deeper than this process can follow.
    """

    def unless_removed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    number = size = 0
    try:
        for _, folders, files, here in os.fwalk(path, onerror=unless_removed):
            number += len(folders) + len(files)
            if number > most:
                break
            for name in (*folders, *files):
                with suppress(FileNotFoundError):
                    size += 512 * os.stat(name, dir_fd=here, follow_symlinks=False).st_blocks
    except (OSError, RecursionError):
        return most + 1, size
    return number, size


def remove_tree(path: str) -> None:
    """Removes a directory and all in it without following links. Deep directories are moved up first, so that
    no path becomes too long."""
    if os.path.islink(path):
        os.unlink(path)
        return
    with suppress(FileNotFoundError):
        os.chmod(path, 0o700)
        empty(path)
        os.rmdir(path)


def empty(path: str) -> None:
    """Removes all that is in a directory without following links."""
    top = os.open(path, FOLDER)
    try:
        _empty(top)
    finally:
        os.close(top)


def _empty(top: int) -> None:
    names = count()
    while True:
        directories = []
        for name in os.listdir(top):
            if stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
                directories.append(name)
            else:
                os.unlink(name, dir_fd=top)
        if not directories:
            return
        for name in directories:
            _lift(top, name, names)
            os.rmdir(name, dir_fd=top)


def _lift(top: int, name: str, names: "count[int]") -> None:
    """Removes the files in `top/name` and moves its directories to `top` under unused names."""
    with suppress(OSError):
        os.chmod(name, 0o700, dir_fd=top)
    inner = os.open(name, FOLDER, dir_fd=top)
    try:
        for child in os.listdir(inner):
            if stat.S_ISDIR(os.stat(child, dir_fd=inner, follow_symlinks=False).st_mode):
                with suppress(OSError):
                    os.chmod(child, 0o700, dir_fd=inner)  # a directory that moves must be writable itself
                os.rename(
                    child, f".menon-{next(names)}-{os.urandom(8).hex()}", src_dir_fd=inner, dst_dir_fd=top
                )
            else:
                os.unlink(child, dir_fd=inner)
    finally:
        os.close(inner)
