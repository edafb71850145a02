"""System calls that Python does not offer, through the C library. Every failure raises OSError."""

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def syscall(number: int, *arguments: Any) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *wide))


def prctl(option: int, *arguments: Any) -> int:
    values = [*arguments, 0, 0, 0, 0][:4]
    return _checked(_libc.prctl(option, *(ctypes.c_ulong(v) if isinstance(v, int) else v for v in values)))


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags))


def mount(kind: str | None, place: str, flags: int, options: str = "") -> None:
    """Mounts a file system without a device, or with `kind` None changes how `place` is mounted."""
    name = None if kind is None else kind.encode()
    _checked(_libc.mount(name, os.fsencode(place), name, ctypes.c_ulong(flags), options.encode() or None))


def unmount(place: str) -> None:
    """Takes a mount away at once, and its contents when nothing holds them any longer."""
    _checked(_libc.umount2(os.fsencode(place), 2))  # MNT_DETACH


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
