"""One session of a run: the steps that one process drives, from a start or a resume to its end."""

import os
import time

from menon.record.folder import RunFolder, writing


class Session:
    """Keeps this session's steps and wall time in the folder, beside those of the sessions before it."""

    def __init__(self, folder: RunFolder, step: int) -> None:
        """`step`: the last step that was done before this session."""
        self._start = time.perf_counter()
        self._folder, self._first, self._before = folder, step + 1, folder.view.sessions
        folder.event("session_started", step, session=len(self._before) + 1, process=os.getpid())
        self.reached(step)

    def reached(self, step: int) -> None:
        """Records that `step` is done."""
        session = {"first_step": self._first, "last_step": step, "wall_s": time.perf_counter() - self._start}
        with writing(self._folder.path):
            self._folder.record_sessions([*self._before, session])
