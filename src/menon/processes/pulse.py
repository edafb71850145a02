"""What a worker process says while it works: that it runs, how much CPU time it has used, how far it is."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from menon.processes.wire import Closed

BEAT = "beat"
"""First entry of the messages of a pulse: [BEAT, seconds of CPU time, progress]."""
EVERY = 1.0
"""Seconds between two beats."""


class Pulse:
    """A thread that sends beats from now on. The handler raises `progress` with each piece of work that is
    done. A process that is stopped, or that waits in a library with the interpreter's lock, sends none."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        """`send` may be called while another thread sends."""
        self.progress = 0
        self._send = send
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        with suppress(Closed):
            while True:
                own = time.thread_time()  # or the beats themselves would look like work
                self._send([BEAT, round(time.process_time() - own, 2), self.progress])
                time.sleep(EVERY)
