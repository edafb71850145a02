"""Measures and removes directories of hostile programs: too deep for recursion, without permissions, with
links that lead out."""

import os
import stat
from contextlib import suppress
from itertools import count


def measure(path: str, most: int) -> tuple[int, int]:
    """Files and directories in a directory, and the bytes that they occupy; stops counting above `most` of
    them.

    A directory whose contents cannot be listed counts as too many.
    """
    number = size = 0
    pending = [path]
    while pending and number <= most:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    number += 1
                    size += 512 * entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    if number > most:
                        break
        except PermissionError:
            return most + 1, size
        except OSError:
            continue  # removed meanwhile, or its path is too long: the directories above it are counted
    return number, size


def remove_tree(path: str) -> None:
    """Removes a directory and all in it without following links. Deep directories are moved up first, so that
    no path becomes too long."""
    if os.path.islink(path):
        os.unlink(path)
        return
    with suppress(FileNotFoundError):
        os.chmod(path, 0o700)
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(path)


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
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
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
