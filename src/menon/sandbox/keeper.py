"""The process between the grader and model code: it starts each run in a new process, watches it, ends it and
cleans up.  It runs no model code and knows no test: programs, tests and outputs are descriptors that it
passes on unread. It lives as long as the program that started it, and model code runs in a copy of it, so
that a run costs a fork and not the start of an interpreter.
"""

import fcntl
import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from menon.sandbox import inside, landlock, limits, seccomp, tidy, watch
from menon.sandbox.kernel import prctl, unshare
from menon.sandbox.limits import MIB, Limits
from menon.sandbox.private import Private, can_mount

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
NEW_USER, NEW_NET, NEW_IPC, NEW_MOUNTS = 0x10000000, 0x40000000, 0x08000000, 0x00020000
SPARE_TASKS = 128
"""Added to the limit on the user's threads for those that other programs start while model code runs, so that
they do not use up its share."""

SETUP_FAILED = 97
LAST_SECONDS = 0.05
"""How long a program may take to end after its test has; then it is killed."""

PRELOADED = (
    "bisect",
    "collections",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "random",
    "re",
    "string",
    "typing",
)
"""Modules that most solutions import; loaded once."""

Start = Callable[[], None]


class Keeper:
    def __init__(self, owner: socket.socket, root: str, readable: list[str]) -> None:
        self.owner = owner
        self.root = root
        self.readable = readable
        self.pid = os.getpid()
        self.namespaces = own_namespaces()
        self.private = Private(root, self.namespaces and can_mount(root))
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_DUMPABLE, 0)  # also for every copy: no other process of this user can read their memory

    def serve(self) -> Start | None:
        """Serves until the owner has ended; in a copy of the process it returns what the copy has to run."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.owner, 1 << 16, 8)
            if not data:
                return None
            asked = json.loads(data)
            start, reply = self.run(Limits(**asked["limits"]), asked["roles"], asked["layers"], descriptors)
            if start is not None:
                return start
            self.owner.sendall(json.dumps(reply).encode())

    def run(
        self, most: Limits, roles: list[str], layers: list[str], given: list[int]
    ) -> tuple[Start | None, dict[str, Any]]:
        """One run: of a script, or of a solution and its test, which talk to each other. Each has four
        descriptors in `given`: its input, its output (a test's outcome), its errors and its code."""
        self.private.begin(most, roles)
        talk = [end.detach() for end in socket.socketpair()]
        ready, closed = os.pipe()
        tasks = most.tasks + SPARE_TASKS + (0 if self.namespaces else tasks_of_user())
        members: list[int] = []
        for place, role in enumerate(roles):
            pid = os.fork()
            if pid == 0:
                own = [*given[4 * place : 4 * place + 3], talk[place], given[4 * place + 3], closed]
                return self.copy(role, own, layers, most, self.private.folders[role], tasks), {}
            members.append(pid)
        for descriptor in (*given, *talk, closed):
            os.close(descriptor)
        reply = self.supervise(members, most, "seccomp" in layers)
        # A process that ended before this point has run nothing; one that could not be isolated has reported
        # so.
        failed = reply.pop("setup_failed")
        reply["closed_in"] = len(os.read(ready, 16)) == len(roles) or not failed
        reply["namespaces"] = self.namespaces
        reply["in_memory"] = self.private.in_memory
        os.close(ready)
        self.private.end()
        return None, reply

    def supervise(self, members: list[int], most: Limits, filtered: bool) -> dict[str, Any]:
        """Waits for the end of a run and ends all that is left of it. `filtered`: no process can have killed
        itself or started another."""
        ending = watch.watch(members, members[-1], most, self.private, self.owner.fileno(), not filtered)
        patience = LAST_SECONDS if ending.why == "exit" else 0.0
        by_itself = [watch.ends(pid, patience) for pid in members]
        codes, usages = [], []
        for pid in members:
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            _, status, usage = os.wait4(pid, 0)
            codes.append(os.waitstatus_to_exitcode(status))
            usages.append(usage)
        why = ending.why
        for code, usage, ended in zip(codes, usages, by_itself, strict=True):
            if ended and code == -signal.SIGKILL and why == "exit":
                why = reason_of_kill(usage, most, filtered)
        return {
            "why": why,
            "code": codes[-1],
            "first_code": codes[0] if by_itself[0] else 0,
            "setup_failed": SETUP_FAILED in codes,
            "seconds": ending.seconds,
            "cpu_seconds": usages[0].ru_utime + usages[0].ru_stime,
            "memory_mb": usages[0].ru_maxrss / 1024,
            "left": watch.end_all(),
        }

    def copy(
        self, role: str, own: list[int], layers: list[str], most: Limits, folder: str, tasks: int
    ) -> Start:
        """Isolates this new process. Any failure ends it before it runs anything."""
        try:
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self.pid:
                os._exit(SETUP_FAILED)
            self.owner.detach()
            only_descriptors(own)
            os.chdir(folder)
            os.environ["HOME"] = os.environ["TMPDIR"] = folder
            inside.standard_streams()
            limits.drop_capabilities()
            limits.apply(most, tasks)
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            if role != "test" and not self.private.in_memory:
                prctl(PR_SET_DUMPABLE, 1)  # the keeper must see which files it holds
            if "landlock" in layers:
                landlock.apply(self.readable, folder)
            if "seccomp" in layers:
                seccomp.apply()
            os.write(inside.READY, b".")
            os.close(inside.READY)
            return inside.ROLES[role]
        except BaseException:
            os._exit(SETUP_FAILED)


def only_descriptors(own: list[int]) -> None:
    """Makes these descriptors 0, 1, 2, ... and closes every other one."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in own]
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, place)
    os.closerange(len(own), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def reason_of_kill(used: resource.struct_rusage, most: Limits, filtered: bool) -> str:
    """Why a process ended by SIGKILL that the keeper did not send: "timeout" at the kernel's own limit,
    "memory" where it held at least half of what it may, so that the kernel may have chosen it when the
    machine had none left; else "killed", from outside, or "exit" where it can have done so itself."""
    if used.ru_utime + used.ru_stime >= most.time_s:
        return "timeout"
    if used.ru_maxrss * 1024 >= most.memory_mb * MIB / 2:
        return "memory"
    return "killed" if filtered else "exit"


def own_namespaces() -> bool:
    """Gives this process its own network without devices, its own System V objects and its own mounts, if the
    kernel allows this to an ordinary user, or if the user is root."""
    user, group = os.getuid(), os.getgid()
    own = NEW_NET | NEW_IPC | NEW_MOUNTS
    try:
        unshare(NEW_USER | own)
    except OSError:
        with suppress(OSError):
            unshare(own)  # as root
            return True
        return False
    try:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path(f"/proc/self/{name}").write_text(text)
    except OSError:
        return False
    return True


def tasks_of_user() -> int:
    """The number of threads of all processes of this user, which the kernel's limit counts."""
    me = os.getuid()
    total = 0
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdecimal() and os.stat(f"/proc/{name}").st_uid == me:
                total += watch.threads(int(name))
    return total


def add_site_names() -> None:
    """Adds `exit`, `quit`, `help` and the others that `python solution.py` has from the module site, which
    an interpreter without site packages does not run."""
    import site

    site.setquit()
    site.setcopyright()
    site.sethelper()


def usual_signals() -> None:
    """Undoes what the program that started this process ignores or blocks (a shell ignores SIGQUIT for a
    command in the background), so that signals end model code everywhere as they do by default."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # which Python ignores itself
        if signal.getsignal(number) is signal.SIG_IGN:
            is_interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)


def main() -> Start | None:
    """The keeper's program: `owner descriptor`, its directory, and what may be read, as JSON."""
    descriptor, root, readable, folders = json.loads(sys.argv[1])
    sys.path[:] = sys.path[1:] + folders  # the first is where this package is
    for name in PRELOADED:
        __import__(name)
    add_site_names()
    usual_signals()
    gc.freeze()  # objects that exist already are not garbage of any run
    keeper = Keeper(socket.socket(fileno=descriptor), root, readable)
    keeper.owner.sendall(json.dumps({"keeper": os.getpid()}).encode())
    try:
        return keeper.serve()
    finally:
        if os.getpid() == keeper.pid:
            keeper.private.close()
            tidy.remove_tree(root)
