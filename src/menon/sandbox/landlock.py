"""File rules (Landlock) by raw system calls: which files may be read, and the one directory that may be
written.

Rights that a kernel does not know are left out (ABI 1 is Linux 5.13). TCP and scopes (signals, abstract
sockets) are refused from ABI 4 and 6 on; the system-call filter refuses them on every kernel.
"""

import ctypes
import os
from collections.abc import Sequence

from menon.sandbox.kernel import syscall

CREATE, ADD, RESTRICT = 444, 445, 446
VERSION_FLAG, PATH_BENEATH, QUIET = 1, 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REFER, TRUNCATE, IOCTL_DEV = (
    1 << bit for bit in (0, 1, 2, 3, 13, 14, 15)
)
FS_RIGHTS = {1: 1 << 13, 2: 1 << 14, 3: 1 << 15, 4: 1 << 15, 5: 1 << 16}
"""ABI -> one above its file rights; later ones have those of 5."""
FILE_ONLY = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
TCP, SCOPES = 3, 3


def abi() -> int:
    """The kernel's Landlock version; 0 if it has none or it is switched off."""
    try:
        return syscall(CREATE, 0, 0, VERSION_FLAG)
    except OSError:
        return 0


def apply(readable: Sequence[str], private: str) -> None:
    """From here on this process can only read `readable` and `private`, and write in `private`; it cannot
    start programs. Needs no_new_privs."""
    version = abi()
    handled = FS_RIGHTS[min(max(version, 1), 5)] - 1
    words = [handled, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0]
    size = 8 * (1 + (version >= 4) + (version >= 6))
    ruleset = syscall(CREATE, (ctypes.c_uint64 * 3)(*words), size, 0)
    try:
        for path in readable:
            _allow(ruleset, path, (READ_FILE | READ_DIR) & handled)
        _allow(ruleset, "/dev/null", (READ_FILE | WRITE_FILE | TRUNCATE) & handled)
        _allow(ruleset, private, handled & ~(EXECUTE | IOCTL_DEV | (1 << 6) | (1 << 11)))  # no device files
        syscall(RESTRICT, ruleset, QUIET if version >= 7 else 0)
    finally:
        os.close(ruleset)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = _Beneath(rights if os.path.isdir(path) else rights & FILE_ONLY, parent)
        syscall(ADD, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)
