"""One session of a run: the stretch that one process drives, from a start or a resume to its end."""

import os
import time

from menon.record.folder import RunFolder, writing


class Session:
    """Keeps this session's steps and wall time in the folder, beside those of the sessions before it."""

    def __init__(self, folder: RunFolder, step: int) -> None:
        """`step`: the last one that was done before."""
        self._start = time.perf_counter()
        self._folder, self._first, self._before = folder, step + 1, folder.view.sessions
        folder.event("session_started", step, session=len(self._before) + 1, process=os.getpid())
        self.reached(step)

    def reached(self, step: int) -> None:
        """`step` is done now."""
        session = {"first_step": self._first, "last_step": step, "wall_s": time.perf_counter() - self._start}
        with writing(self._folder.path):
            self._folder.record_sessions([*self._before, session])
