"""The filter's decisions, by running its instructions here; no kernel is asked, so both machines are tested
on either."""

import pytest

from menon.sandbox.seccomp import (
    ALLOW,
    AND,
    AUDIT_ARCH,
    EPERM,
    EQUAL,
    ERRNO,
    KILL_PROCESS,
    LOAD,
    RETURN,
    program,
    rules,
)
from menon.sandbox.syscalls import FREE, RULED, numbers

PID = 4321
REFUSED = ERRNO | EPERM
MACHINES = ("x86_64", "aarch64")


def decide(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the filter returns, as the kernel would run it."""
    words = {0: number, 4: AUDIT_ARCH[machine] if arch is None else arch}
    for place, argument in enumerate([*arguments, 0, 0, 0, 0, 0, 0][:6]):
        words[16 + 8 * place] = argument & 0xFFFFFFFF
    code = program(machine, PID)
    place = accumulator = 0
    while True:
        operation, if_true, if_false, constant = code[place]
        place += 1
        if operation == LOAD:
            accumulator = words[constant]
        elif operation == AND:
            accumulator &= constant
        elif operation == EQUAL:
            place += if_true if accumulator == constant else if_false
        else:
            assert operation == RETURN
            return constant


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_call_is_allowed_and_no_other(machine):
    free, ruled = numbers(FREE, machine), numbers(RULED, machine)
    assert not set(free.values()) & set(ruled.values())
    for number in range(600):
        if number not in ruled.values():
            assert decide(machine, number) == (ALLOW if number in free.values() else REFUSED), number


@pytest.mark.parametrize("machine", MACHINES)
def test_the_lists_have_rules_and_jumps_that_fit(machine):
    assert rules(PID).keys() == numbers(RULED, "x86_64").keys()
    code = program(machine, PID)
    assert len(code) < 4096
    assert all(0 <= jump < 256 for _, if_true, if_false, _ in code for jump in (if_true, if_false))


NUMBERS = {
    "x86_64": {
        "socket": 41,
        "fork": 57,
        "vfork": 58,
        "execve": 59,
        "ptrace": 101,
        "mount": 165,
        "keyctl": 250,
        "bpf": 321,
    }
}
NUMBERS["x86_64"] |= {
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "perf_event_open": 298,
    "kexec_load": 246,
    "unshare": 272,
}
NUMBERS["x86_64"] |= {
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "setns": 308,
    "memfd_create": 319,
    "pidfd_getfd": 438,
}
NUMBERS["aarch64"] = {
    "socket": 198,
    "execve": 221,
    "ptrace": 117,
    "mount": 40,
    "keyctl": 219,
    "bpf": 280,
    "userfaultfd": 282,
}
NUMBERS["aarch64"] |= {
    "perf_event_open": 241,
    "kexec_load": 104,
    "unshare": 97,
    "process_vm_readv": 270,
    "setns": 268,
}
NUMBERS["aarch64"] |= {
    "io_uring_setup": 425,
    "memfd_create": 279,
    "process_vm_writev": 271,
    "pidfd_getfd": 438,
}


@pytest.mark.parametrize(
    ("machine", "name"), [(machine, name) for machine in MACHINES for name in NUMBERS[machine]]
)
def test_dangerous_calls_are_refused(machine, name):
    assert decide(machine, NUMBERS[machine][name]) == REFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_decide(machine):
    ruled = numbers(RULED, machine)
    thread, signal_to_parent_fork = 0x3D0F00, 17
    own_files = 0x400
    cases = [
        ("clone", (thread,), True),
        ("clone", (signal_to_parent_fork,), False),
        ("clone", (thread | 0x40000000,), False),  # with a network namespace
        ("clone", (thread & ~own_files,), False),  # with open files that no limit on the others counts
        ("close_range", (3, 9, 0), True),
        ("close_range", (3, 9, 4), True),
        ("close_range", (3, 9, 2), False),  # CLOSE_RANGE_UNSHARE
        ("kill", (PID, 15), True),
        ("kill", (PID, 9), False),  # as if from outside
        ("tgkill", (PID, PID, 9), False),
        ("setrlimit", (3,), True),
        ("prlimit64", (0, 0), False),  # the kernel kills at the limit on CPU seconds
        ("kill", (PID + 1, 9), False),
        ("kill", (-1, 9), False),
        ("kill", (0, 9), False),
        ("tgkill", (PID, PID, 6), True),
        ("tgkill", (PID - 1, PID - 1, 9), False),
        ("prlimit64", (0, 7), True),
        ("prlimit64", (PID, 7), True),
        ("prlimit64", (1, 7), False),
        ("prctl", (15,), True),
        ("prctl", (4, 1), False),  # to be looked into
        ("prctl", (22, 2), False),
        ("openat", (-100, 0, 0), True),
        ("openat", (-100, 0, 0o1101), True),  # O_WRONLY | O_CREAT | O_TRUNC
        ("openat", (-100, 0, 0o1000), False),  # O_RDONLY | O_TRUNC
        ("fcntl", (0, 2), True),
        ("fcntl", (0, 8), False),  # F_SETOWN
        ("fcntl", (0, 10), False),  # F_SETSIG
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),  # TIOCSTI
        ("socketpair", (1, 1 | 0o2000000), True),
        ("socketpair", (1, 2), False),
        ("socketpair", (2, 1), False),
    ]
    for name, arguments, allowed in cases:
        assert decide(machine, ruled[name], *arguments) == (ALLOW if allowed else REFUSED), (name, arguments)
    assert decide(machine, ruled["setrlimit"], 0) == REFUSED
    assert decide(machine, ruled["clone3"]) == ERRNO | 38
    assert decide(machine, ruled["fallocate"], 3, 1, 0, 1 << 20) == ERRNO | 95


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architecture_is_killed(machine):
    assert decide(machine, 1, arch=0x40000003) == KILL_PROCESS  # 32-bit x86


def test_the_second_numbering_of_x86_is_refused():
    assert decide("x86_64", 0x40000000 | 1) == REFUSED


def test_numbers_are_those_of_this_kernels_headers():
    import re
    from pathlib import Path

    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers for x86-64 here")
    theirs = {name: int(number) for name, number in re.findall(r"__NR_(\w+) (\d+)", header.read_text())}
    ours = numbers(FREE, "x86_64") | numbers(RULED, "x86_64")
    assert {name: theirs[name] for name in ours} == ours
