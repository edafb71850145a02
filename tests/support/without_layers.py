"""Runs a program with layers of the sandbox taken away, as on a kernel or in a container that lacks them.

    python tests/support/without_layers.py landlock,seccomp COMMAND...

A filter of system calls refuses what the layers need, for this process and all that it starts.
"""

import os
import sys

from menon.sandbox import seccomp
from menon.sandbox.kernel import prctl
from menon.sandbox.seccomp import ALLOW, ARGUMENTS, ENOSYS, EPERM, EQUAL, ERRNO, LOAD, NUMBER, RETURN

EINVAL = 22
CALLS = {  # layer -> its calls on x86-64 and aarch64, and the error where it is missing
    "landlock": ((444, 444), ENOSYS),
    "namespaces": ((272, 97), EPERM),  # unshare
    "mounts": ((165, 40), EPERM),
    "seccomp": ((317, 277), EINVAL),
}
PRCTL = (157, 167)


def program(layers: list[str]) -> list[tuple[int, int, int, int]]:
    """The filter as BPF instructions."""
    here = ("x86_64", "aarch64").index(seccomp.machine())
    code = [(LOAD, 0, 0, NUMBER)]
    for layer in layers:
        calls, error = CALLS[layer]
        code += [(EQUAL, 0, 1, calls[here]), (RETURN, 0, 0, ERRNO | error)]
    if "seccomp" in layers:
        code += [
            (EQUAL, 0, 3, PRCTL[here]),
            (LOAD, 0, 0, ARGUMENTS),
            (EQUAL, 0, 1, seccomp.PR_SET_SECCOMP),
            (RETURN, 0, 0, ERRNO | EINVAL),
        ]
    return [*code, (RETURN, 0, 0, ALLOW)]


if __name__ == "__main__":
    prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    seccomp.install(program(sys.argv[1].split(",")))
    os.execvp(sys.argv[2], sys.argv[2:])
