"""What workers of a pool are asked to do in tests."""

import os
import signal
import time


def act(what, value=None):
    if what == "echo":
        return value
    if what == "spin":
        while True:
            pass
    if what == "power":  # one long step of C: no signal handler of Python's would run within it
        return len(str(3 ** (10**9)))
    if what == "eat":
        return len(bytearray(1 << 40))
    if what == "deep":
        return act("deep", value)
    if what == "leave":
        os._exit(7)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise ValueError("as asked")
    if what == "nap":
        time.sleep(value)
    if what == "object":
        return object()
    if what == "pid":
        return os.getpid()
