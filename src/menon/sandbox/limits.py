"""What model code may use; the kernel enforces most of these limits."""

import os
import resource
from dataclasses import dataclass

from menon.errors import UserError
from menon.sandbox.kernel import prctl

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The limits of one run of one program."""

    time_s: float = 6.0
    """Limit on CPU seconds, and also on elapsed seconds without those in which it waited for a core, so that
    a busy machine does not change a verdict."""
    wall_s: float = 15.0
    """Limit on elapsed seconds, with all waiting."""
    memory_mb: int = 512
    """Limit on the address space of each process."""
    output_mb: int = 16
    """Limit on the size of what it prints, and of each file that it writes."""
    disk_mb: int = 64
    """Limit on the total size of its directory."""
    files: int = 2000
    """Limit on the number of files and directories in it."""
    open_files: int = 64
    tasks: int = 64
    """Limit on threads (and on processes, if the system-call filter is missing)."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UserError(f"{name} is {value}; it must be positive")
        if self.memory_mb < 64:
            raise UserError(
                f"memory_mb is {self.memory_mb}; Python itself needs about 50, so give it at least 64"
            )


def apply(limits: Limits, tasks: int) -> None:
    """Sets the limits of this process and its children. `tasks`: how many tasks its user may have; this does
    not limit root."""
    seconds = int(limits.time_s) + 2
    most = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: limits.memory_mb * MIB,
        resource.RLIMIT_FSIZE: limits.output_mb * MIB,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_NPROC: tasks,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, value in most.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def drop_capabilities() -> None:
    """Drops all capabilities, so that root, also of a user namespace, has no special rights."""
    from ctypes import byref, c_uint32

    for capability in range(64):
        try:
            prctl(24, capability)  # PR_CAPBSET_DROP
        except OSError:
            break  # above the last that the kernel knows, or not root
    prctl(47, 4)  # PR_CAP_AMBIENT, CLEAR_ALL
    number = {"x86_64": 126, "aarch64": 91}.get(os.uname().machine)
    if number is not None:
        from menon.sandbox.kernel import syscall

        syscall(number, byref((c_uint32 * 2)(0x20080522, 0)), byref((c_uint32 * 6)()))
