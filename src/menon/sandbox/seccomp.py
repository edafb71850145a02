"""A hand-written filter of system calls (seccomp-BPF): calls that are not on the list fail with EPERM.  Calls
are refused instead of killing the process, so that a program gets an ordinary OSError, and libraries that
only probe for a call still work. A call of another architecture kills the process: its numbers mean something
else.
"""

import ctypes
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from menon.sandbox.kernel import prctl
from menon.sandbox.syscalls import FREE, RULED, numbers

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
EPERM, ENOSYS, EOPNOTSUPP = 1, 38, 95

LOAD, AND, EQUAL, RETURN = 0x20, 0x54, 0x15, 0x06
"""BPF operations: A = word of the call; A &= k; jump if A == k; end with k."""

NUMBER, ARCH, ARGUMENTS = 0, 4, 16
"""Offsets in `struct seccomp_data`."""

CLONE_FILES, CLONE_THREAD, CLONE_NEW = 0x00000400, 0x00010000, 0x7E020080
SIGNALS = tuple(number for number in range(65) if number != 9)
"""All but SIGKILL: then a process that ended by it was killed from outside."""
RESOURCES = tuple(range(1, 16))
"""All but the CPU seconds, at whose limit the kernel kills."""
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2


@dataclass(frozen=True)
class Word:
    """A condition: the low 32 bits of an argument, masked, are one of the values."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


Rules = dict[str, tuple[Word, ...] | int]
"""Call -> conditions that must all hold, or the error that it always gives."""


def rules(pid: int) -> Rules:
    """What the calls of `RULED` may do in the process `pid`."""
    own = Word(0, (pid,))
    thread = CLONE_THREAD | CLONE_FILES
    no_new_file = Word(
        1, (0, 1, 2, 0o1001, 0o1002), mask=0o1003
    )  # O_RDONLY | O_TRUNC would empty a file that may only be read
    return {
        # Threads only, and with the open files of the others, so that the limit on these counts for all. The
        # flags of clone3 are in memory that a filter cannot read, so it is refused; the C library then falls
        # back to clone.
        "clone": (Word(0, (thread,), mask=thread | CLONE_NEW),),
        "clone3": ENOSYS,
        "close_range": (Word(2, (0, 4)),),  # without CLOSE_RANGE_UNSHARE
        # Takes space that the limit on a file's size does not count; the C library then writes zeros.
        "fallocate": EOPNOTSUPP,
        "openat2": ENOSYS,
        "open": (Word(1, no_new_file.values, no_new_file.mask),),
        "openat": (Word(2, no_new_file.values, no_new_file.mask),),
        "kill": (own, Word(1, SIGNALS)),
        "tgkill": (own, Word(2, SIGNALS)),
        "prlimit64": (Word(0, (0, pid)), Word(1, RESOURCES)),
        "setrlimit": (Word(0, RESOURCES),),
        "prctl": (Word(0, (15, 16, 0x53564D41)),),  # names of threads and of memory
        # F_SETOWN, F_SETSIG, F_NOTIFY and leases would send signals to other processes.
        "fcntl": (Word(1, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032)),),
        "ioctl": (
            Word(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
        ),  # is it a terminal, its size, bytes waiting, flags
        # asyncio wakes itself through such a pair; only stream pairs, which can send nowhere else.
        "socketpair": (Word(0, (1,)), Word(1, (1,), mask=0xF)),
    }


def program(machine: str, pid: int) -> list[tuple[int, int, int, int]]:
    """The filter as BPF instructions (operation, jump if true, jump if false, constant)."""
    code = [
        (LOAD, 0, 0, ARCH),
        (EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
    ]
    for number in numbers(FREE, machine).values():
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    ruled = rules(pid)
    for name, number in numbers(RULED, machine).items():
        block = _block(ruled[name])
        code += [(EQUAL, 0, len(block), number), *block]
    return [*code, (RETURN, 0, 0, ERRNO | EPERM)]


def _block(rule: tuple[Word, ...] | int) -> list[tuple[int, int, int, int]]:
    if isinstance(rule, int):
        return [(RETURN, 0, 0, ERRNO | rule)]
    block: list[tuple[int, int, int, int]] = []
    for word in rule:
        block += [
            (LOAD, 0, 0, ARGUMENTS + 8 * word.argument),
            (AND, 0, 0, word.mask),
        ]  # both machines are little-endian
        left = len(word.values)
        block += [(EQUAL, left - place, 0, value) for place, value in enumerate(word.values)]
        block += [(RETURN, 0, 0, ERRNO | EPERM)]
    return [*block, (RETURN, 0, 0, ALLOW)]


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def machine() -> str:
    """The architecture's name if the filter knows its calls, else nothing."""
    name = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    return name if name in AUDIT_ARCH else ""


def apply() -> None:
    """Filters this process from here on; needs no_new_privs. OSError where the kernel cannot."""
    if not machine():
        raise OSError(ENOSYS, f"no list of system calls for {platform.machine()}")
    install(program(machine(), os.getpid()))


def install(code: Sequence[tuple[int, int, int, int]]) -> None:
    """Puts a filter on this process."""
    array = (_Instruction * len(code))(*(_Instruction(*instruction) for instruction in code))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(_Program(len(code), array)))
