"""Processes of our own: Python programs that import what this one can, and nothing of its script.

A child of `multiprocessing` would run the user's script again; so a script needs no `if __name__ == "__main__"`.
"""

import json
import signal
import subprocess
import sys


def command(module: str) -> list[str]:
    """What to start for `main()` of a module; further words are its arguments, from `sys.argv[2]` on."""
    program = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"
    return [
        sys.executable,
        "-c",
        program,
        json.dumps([entry for entry in sys.path if isinstance(entry, str)]),
    ]


def ending(process: subprocess.Popen[bytes]) -> str:
    """How it ended; waits for it."""
    code = process.wait()
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
