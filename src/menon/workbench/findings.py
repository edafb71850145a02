"""What is wrong with a run, for the page: of a run with many answers worked out in a process of its own, so
that the server goes on answering."""

import os
import shlex
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.processes.child import Handler, serve
from menon.processes.wire import RemoteError
from menon.processes.worker import Ended, Spawn, Worker
from menon.record.reader import RunView
from menon.study.diagnosis import Diagnosis, Finding, diagnose
from menon.study.listing import WRONG

MUCH = 8 * 2**20
"""Bytes of a run's files from which on a process of its own is worth its start."""
POLITE = 10
"""Niceness of that process: pages, and a training on this machine, come first."""


class Finder:
    """Works the findings out, of one run at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def of(self, view: RunView) -> dict[str, Any]:
        """The findings of a run as plain data."""
        with self.lock:
            if size_of(view) < MUCH or not hasattr(os, "fork"):
                return findings_of(view)
            worker = Worker(Spawn("menon.workbench.findings:worker"))
            try:
                found = worker.ask(str(view.path), None).data
            except (RemoteError, Ended) as error:
                raise UserError(f"the findings of {view.path} were not worked out: {error}") from None
            finally:
                worker.close()
            if "error" in found:
                raise UserError(found["error"])
            return dict(found)


def worker() -> Handler:
    """The work of the process: a path in, the findings out, or {"error": the sentence of a UserError}."""
    with suppress(OSError):
        os.nice(POLITE)

    def answer(path: str) -> dict[str, Any]:
        try:
            return findings_of(RunView.open(Path(path)))
        except UserError as error:
            return {"error": str(error)}

    return lambda connection: serve(connection, answer)


def size_of(view: RunView) -> int:
    """Bytes of the numbers and the answers of training."""
    found = 0
    with suppress(OSError):
        found += view.layout.metrics.stat().st_size
        with os.scandir(view.layout.transcripts) as entries:
            found += sum(one.stat().st_size for one in entries)
    return found


def findings_of(view: RunView) -> dict:
    """The findings, each with the place of its example."""
    found: Diagnosis = diagnose(view.path)
    return {
        "step": found.steps,
        "findings": [asdict(one) | {"shown": place_of(view, one)} for one in found.findings],
        "notes": list(found.notes),
    }


def place_of(view: RunView, finding: Finding) -> dict[str, int] | None:
    """Step and row of a finding's example; of a whole step the step alone."""
    words = dict(word.split("=", 1) for word in shlex.split(finding.example)[3:] if "=" in word)
    if "step" not in words:
        return None
    step = int(words["step"])
    if "group" not in words:
        return {"step": step}
    asked = {"group": int(words["group"]), "sample": int(words["answer"])}
    try:
        rows = view.transcripts.rows(step, ["group", "sample"])
    except (UserError, OSError, *WRONG):
        return {"step": step}
    return {"step": step, "row": rows.index(asked)} if asked in rows else {"step": step}
