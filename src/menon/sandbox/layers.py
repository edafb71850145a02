"""Which layers of the sandbox work on this machine, found by trying them, and which of them a user may do
without."""

import json
import sys
from dataclasses import dataclass
from functools import cache

from menon.errors import UserError
from menon.sandbox import landlock
from menon.sandbox.launch import Pool, Sandbox, SandboxError, Task
from menon.sandbox.limits import Limits

LEVELS: dict[str, tuple[str, ...]] = {
    "full": ("landlock", "seccomp"),
    "without_landlock": ("seccomp",),
    "without_seccomp": ("landlock",),
    "limits_only": (),
}
"""Level -> the layers that must work. All layers that work are always used."""

NEEDS = {
    "landlock": (
        "Linux 5.13 or later with landlock among the security modules "
        "(lsm=...,landlock on the kernel's command line)"
    ),
    "seccomp": (
        "a Linux kernel with seccomp filters on x86-64 or aarch64, "
        "and a container that lets a process add one"
    ),
    "namespaces": (
        "user namespaces for ordinary users (optional: an empty network under the system-call filter)"
    ),
    "tmpfs": (
        "namespaces in which it may mount (optional: the kernel bounds what a program writes; without it, "
        "more than disk_mb can be written between two measurements)"
    ),
}

PROBE = b"""
import json, os, socket, sys, threading
from bisect import bisect
from decimal import Decimal
from zoneinfo import ZoneInfo

def refused(do):
    try:
        do()
    except OSError:
        return True
    return False

def fork():
    if os.fork() == 0:
        os._exit(0)

thread = threading.Thread(target=open("kept", "w").close)
thread.start()
thread.join()
seccomp = [refused(socket.socket), refused(fork), refused(lambda: os.kill(os.getppid(), 0))]
reached = [lambda: os.listdir("/"), lambda: open("/etc/passwd"), lambda: open("../probe", "w")]
landlock = [refused(do) for do in reached]
print(json.dumps({"seccomp": all(seccomp), "landlock": all(landlock)}))
"""
"""A program that runs in the sandbox: it checks that allowed operations work and that others are refused."""


@dataclass(frozen=True)
class Layers:
    active: tuple[str, ...]
    """The layers in use, of "process", "limits", "landlock", "seccomp", "namespaces", "tmpfs"."""
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return " + ".join(self.active)


@cache
def layers() -> Layers:
    """The layers that work here; UserError if no sandbox can run at all."""
    if sys.platform != "linux":
        raise UserError(
            f"model code is run in a sandbox of Linux, and this is {sys.platform}; name a runner's URL as "
            "sandbox"
        )
    found: set[str] = set()
    extra: tuple[str, ...] = ()
    wanted = (
        [("landlock", "seccomp"), ("landlock",), ("seccomp",), ()] if landlock.abi() else [("seccomp",), ()]
    )
    why = ""
    for tried in wanted:
        try:
            holds, extra = probe(tried)
        except SandboxError as error:
            why = str(error)
            continue
        if holds.issuperset(tried):
            found = set(tried)
            break
    else:
        raise UserError(f"the sandbox cannot start here: {why}; `menon doctor` says what it needs")
    kernel = tuple(name for name in ("landlock", "seccomp") if name in found)
    missing = tuple(name for name in NEEDS if name not in (*kernel, *extra))
    return Layers(("process", "limits", *kernel, *extra), missing)


def probe(tried: tuple[str, ...]) -> tuple[set[str], tuple[str, ...]]:
    """The layers of `tried` that a probe shows to work, and the optional ones that there are."""
    sandbox = Sandbox(tried)
    try:
        finished = sandbox.run([Task("script", PROBE)], Limits())
        if finished.code:
            raise SandboxError(
                f"a first program failed there: {finished.errors.decode(errors='replace')[-300:]}"
            )
        held = json.loads(finished.output)
        optional = {"namespaces": finished.namespaces, "tmpfs": finished.in_memory}
        return {name for name in tried if held[name]}, tuple(name for name in optional if optional[name])
    except ValueError as error:
        raise SandboxError("a first program printed nothing there") from error
    finally:
        sandbox.close()


def check_level(level: str) -> None:
    if level not in LEVELS and "://" not in level:
        raise UserError(f"sandbox is '{level}'; it is {', '.join(LEVELS)}, or the URL of a runner")


def require(level: str) -> Layers:
    """The layers that work here; UserError if one that the level needs is missing."""
    check_level(level)
    here = layers()
    lacking = [name for name in LEVELS[level] if name not in here.active]
    if lacking:
        smaller = next(name for name, needed in LEVELS.items() if set(needed) <= set(here.active))
        needs = "; ".join(f"{name} needs {NEEDS[name]}" for name in lacking)
        raise UserError(
            f"the sandbox lacks {' and '.join(lacking)} here ({needs}); accept less with sandbox={smaller}"
        )
    return here


@cache
def pool(level: str) -> Pool:
    """The sandboxes of this process."""
    return Pool([name for name in require(level).active if name in ("landlock", "seccomp")])
