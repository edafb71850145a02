"""What happened to a run and when: one line of `events.jsonl` per event, flushed as it happens."""

import time
from pathlib import Path
from typing import Any

from menon.record import disk

KINDS = {
    "session_started": "session (from 1), process: a process began to drive the run; `step` steps are done",
    "session_ended": "why (finished, stopped, failed, nothing learned), error: that process let go of it",
    "restored": "version, fingerprint: the sampler holds the weights of the checkpoint of this step",
    "published": "version, fingerprint: the sampler holds the weights that this step made",
    "evaluated": "accuracy, reward, n, seconds: the held-out questions were answered",
    "saved": "seconds: the checkpoint of this step is on the disk",
    "best": "best: `checkpoints/best` now points at the checkpoint of that step",
    "warned": "sign, sentence: a sign that nothing is learned, or no longer (`record.signs`)",
    "stop_requested": "the run stops after this step",
    "wrote": "groups, lengths, again: of an asynchronous run: the groups that were asked for this step, the "
    "tokens of every answer that was written for it, and the groups that were asked again because an earlier "
    "process was lost with them",
    "waited": "seconds, what: the updates waited for what had not been written yet",
}
"""Kind -> its fields besides `time`, `step` and `kind`, and what it means."""


class Events:
    """Writes the events of one run."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def write(self, kind: str, step: int, **details: Any) -> None:
        """One event: seconds since 1970, steps done by then, its kind, and the kind's own fields. OSError if
        there is no room."""
        if kind not in KINDS:
            raise ValueError(f"there is no event of kind {kind!r}; add it to KINDS")
        line = {"time": round(time.time(), 3), "step": step, "kind": kind, **details}
        disk.append(self.file, disk.json_line(line))

    def rewind(self, step: int) -> None:
        """Marks the events after a step as undone: the run goes on from that step and repeats what came
        after it. They stay in the file, because they say when and how work was lost; readers ignore them. An
        incomplete last line is removed."""
        if self.file.exists():
            lines = disk.read_lines(self.file)
            marked = [line | {"undone": True} if line["step"] > step else line for line in lines]
            disk.write(self.file, b"".join(map(disk.json_line, marked)))
