"""Ends workers that are dead, silent or hang, so that every wait for one of them ends.

One thread looks at all workers. Code that waits for a worker then sees its end, and replaces it or raises.
The thread also writes down what each worker has to do and when it was last heard.
"""

import json
import os
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from menon.processes.pulse import BEAT
from menon.processes.worker import START_LIMIT, Worker

LOOK = 0.5
"""Seconds between two looks."""
SILENT = 60.0
"""Seconds without a beat after which a worker counts as stopped or cut off. A link that is down for less
heals by itself: TCP sends again."""
IDLE = 60.0
"""Seconds without CPU time after which a worker that has work counts as hung."""
HANGS = 900.0
"""Seconds without progress after which a worker that has work counts as hung although it computes."""
FORGET_LIMIT = 10.0
"""Seconds to wait for the last look before the heartbeat file is removed."""


class Entry:
    """One worker in the heartbeat file. Times are those of `time.monotonic`. The code that waits for it
    decides when it has failed; of a `Post` the supervisor does."""

    def __init__(self, name: str, worker: Worker) -> None:
        self.name, self.worker = name, worker
        self.tasks: dict[Any, str] = {}
        """What it has to do, in words, by the name of who waits for it."""
        self.fault = ""
        """Why it was ended, in words; "" if it was not."""
        self._pid = 0
        self._heard = self._moved = time.monotonic()

    @property
    def task(self) -> str:
        """What it has to do; "" while it has nothing to do."""
        return ", ".join(dict.fromkeys(list(self.tasks.values())))

    def assign(self, waiter: Any, task: str) -> None:
        """It has to do this from now on; "" ends that."""
        now = time.monotonic()
        if not task:
            self.tasks.pop(waiter, None)
            return
        if not self.tasks:
            self._moved = max(self._moved, now)
        self.tasks[waiter] = task

    def hears(self, data: Any = None) -> bool:
        """A message has come, with this data; whether it was a beat."""
        self._heard = self._moved = time.monotonic()
        return False

    def judge(self) -> str:
        """Why it must be ended now; "" if it need not."""
        return ""

    def line(self) -> dict[str, Any]:
        """What the heartbeat file says of this worker; times in seconds."""
        now = time.monotonic()
        self._pid = self.worker.pid or self._pid
        return {
            "name": self.name,
            "pid": self._pid,
            "task": self.task,
            "heard_ago": round(max(0.0, now - self._heard), 1),
            "progress_ago": round(max(0.0, now - self._moved), 1),
            "ended_for": self.fault,
        }


class Post(Entry):
    """One worker under supervision."""

    def __init__(self, name: str, worker: Worker) -> None:
        super().__init__(name, worker)
        self.started()

    def started(self) -> None:
        """A new process begins; its imports may take a while."""
        self.fault = ""
        self._heard = self._moved = self._ran = time.monotonic() + START_LIMIT - SILENT
        self._cpu, self._progress = -1.0, -1

    def assign(self, waiter: Any, task: str) -> None:
        """See `Entry.assign`."""
        if task and not self.tasks:
            self._ran = max(self._ran, time.monotonic())
        super().assign(waiter, task)

    def hears(self, data: Any = None) -> bool:
        """See `Entry.hears`."""
        if not (isinstance(data, list) and data and data[0] == BEAT):
            return super().hears(data)
        self._heard = now = time.monotonic()
        _, cpu, progress = data
        if cpu != self._cpu:
            self._ran = now
        if progress != self._progress:
            self._moved = now
        self._cpu, self._progress = cpu, progress
        return True

    def judge(self) -> str:
        """See `Entry.judge`."""
        now, has = time.monotonic(), f"had to {self.task}" if self.task else "had nothing to do"
        if now - self._heard > SILENT:
            return f"it sent nothing for {now - self._heard:.0f} s and {has}"
        if self.task and now - self._ran > IDLE:
            return f"it {has} and used no CPU time for {now - self._ran:.0f} s"
        if self.task and now - self._moved > HANGS:
            return f"it {has} and made no progress for {now - self._moved:.0f} s"
        return ""


class Supervisor:
    """Looks at all workers, in a thread of its own that ends with the supervisor. With `file`, a heartbeat
    file in JSON says how they are, as long as its folder exists. After `close` it has the last look."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.entries: list[Entry] = []
        stop = threading.Event()
        self.close = weakref.finalize(self, stop.set)
        self._thread = threading.Thread(target=_watch, args=(self.entries, stop, file), daemon=True)
        self._thread.start()

    def watch(self, name: str, worker: Worker) -> Post:
        """Supervises a worker that sends beats (`pulse.Pulse`)."""
        post = Post(name, worker)
        self.entries.append(post)
        return post

    def note(self, name: str, worker: Worker) -> Entry:
        """Only writes down how a worker is that sends no beats."""
        entry = Entry(name, worker)
        self.entries.append(entry)
        return entry

    def forget(self) -> None:
        """Removes the heartbeat file; of a supervisor that is closed for good."""
        if self.file is not None:
            if self.entries:
                self._thread.join(FORGET_LIMIT)
            with suppress(OSError):
                self.file.unlink(missing_ok=True)


def _watch(entries: Sequence[Entry], stop: threading.Event, file: Path | None) -> None:
    ends = False
    while not ends:
        ends = stop.wait(LOOK)
        for entry in list(entries):
            if not ends and entry.worker.pid and not entry.fault and (fault := entry.judge()):
                entry.fault = fault
                entry.worker.kill()
        if file is not None and entries:
            _write(file, [entry.line() for entry in list(entries)])


def _write(file: Path, lines: list[dict[str, Any]]) -> None:
    """Replaces the file as a whole. A full disk must not end the run here."""
    text = json.dumps({"time": time.time(), "controller": os.getpid(), "workers": lines}, indent=1)
    new = file.with_name(file.name + ".tmp")
    with suppress(OSError):
        new.write_text(text + "\n", encoding="utf-8")
        new.replace(file)
