"""What is wrong with a run, in words: the rules that speak during training (`record.signs`), applied to a run
folder that is finished, stopped or still being written."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menon.errors import UserError
from menon.record import disk
from menon.record.layout import step_file
from menon.record.reader import RunView
from menon.record.sign import RANK, Kind, Sign
from menon.record.signs import FOLLOWS, Signs, after_evaluation, first_signs
from menon.study.diagnosis_examples import example
from menon.study.listing import WRONG
from menon.types import Floats, Graded, Prompt, Rollout, StepReport, Verdict
from menon.unpacking import read_parquet

Line = dict[str, Any]
MOST_READ = 200
"""Steps whose answers are read; of a longer run the first tenth of them and the last."""
ROW = ("group", "sample", "prompt", "answer", "completion", "finish", "score", "acc", "parts", "error", "age")
"""Columns of a transcript that the rules read."""
GRADED_TEXT = "graded_text"
ADVISED = ("cut", "endless", "blank")
"""Kinds for which a run may know better what to change (`assembly.notices.advice_for`)."""
TOKENS = ("old_logp", "behaviour_logp", "is_action")
ENDED: tuple[tuple[Kind, str, str], ...] = (
    ("apart", "log-probs of sampler and learner differ", "take dtype=float32, or another model"),
    ("stale", "the sampler has its own copy of", "publish by copy, or give the sampler the learner's model"),
    ("stale", "after the copy the sampler holds other weights", "look at the weight channel"),
    ("graders", "the reward failed on", "fix what the reward raises, then resume the run"),
)
"""How the errors begin that end a run for a cause that a rule has too, and what to change."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    cause: Kind
    evidence: str
    setting: str
    """What to change."""
    step: int
    """The step from which on it shows; 0: the evaluation before the first."""
    example: str
    """A command that shows an answer, or the step; "" where none is stored."""


@dataclass(frozen=True)
class Diagnosis:
    """The findings, the nearest to the cause first."""

    path: Path
    state: str
    """finished, stopped or running."""
    steps: int
    """Steps done."""
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """Parts of the folder that could not be read, and what was left out for that."""

    def as_json(self) -> list[dict[str, Any]]:
        """The findings as plain data."""
        return [asdict(one) for one in self.findings]


@dataclass
class Stored:
    """The steps of a run as far as they can be read."""

    view: RunView
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[Line]:
        """The numbers of each step; values of another kind than every run has are left out."""
        file = self.view.layout.metrics
        whole = disk.contents(file).splitlines(keepends=True)
        found = self.view.metrics
        rest = len(whole) - len(found)
        if rest > 1 or (rest == 1 and whole[-1].endswith(b"\n")):
            self.notes.append(f"{file.name} is damaged after {len(found)} lines; later steps are left out")
        return [sound(line) for line in found if isinstance(line.get("step"), int)]

    def evaluations(self) -> list[Line]:
        """The numbers of each evaluation."""
        return [sound(line) for line in self.view.evaluations if isinstance(line.get("step"), int)]

    def graded(self, step: int, folder: str = "transcripts") -> tuple[Graded, ...]:
        """The answers of a step; () where there are none, or they cannot be read."""
        files = getattr(self.view, folder)
        if not step_file(files.folder, step).exists():
            return ()
        try:
            there = files.columns(step)
            rows = files.rows(step, [name for name in (*ROW, GRADED_TEXT) if name in there])
            return tuple(graded_of(row) for row in rows)
        except (UserError, OSError, *WRONG) as error:
            what = " ".join(str(error).split())[:120]
            self.notes.append(f"{files.holds} of step {step} cannot be read and are left out ({what})")
            return ()

    def columns(self, step: int) -> Mapping[str, NDArray[Any]]:
        """The log-probs of a step's tokens, where it has both the old ones and the sampler's."""
        try:
            if not set(self.view.transcripts.columns(step)) >= set(TOKENS):
                return {}
            table = read_parquet(self.view.transcripts.path(step), TOKENS)
            return {
                name: np.concatenate([np.asarray(row) for row in table[name].to_pylist()]) for name in TOKENS
            }
        except (UserError, OSError, *WRONG):
            return {}  # `graded` has said that the file cannot be read


def sound(line: Mapping[str, Any]) -> Line:
    """A line with its numbers, those that are none included, and its fingerprint."""
    return {
        name: value
        for name, value in line.items()
        if value is None
        or (isinstance(value, int | float) and not isinstance(value, bool))
        or (name == "fingerprint" and isinstance(value, str))
    }


def graded_of(row: Mapping[str, Any]) -> Graded:
    """A row of a transcript as the rules read it: without tokens."""
    none = np.zeros(0, dtype=np.int32)
    empty: Floats = np.zeros(0, dtype=np.float32)
    rollout = Rollout(
        prompt=Prompt(0, none, row["prompt"], row["answer"], {}),
        tokens=none,
        is_action=np.zeros(0, dtype=np.bool_),
        logp=empty,
        log_kept=None,
        entropy=None,
        version=none,
        finish=row["finish"],
        text=row["completion"],
        group=int(row["group"]),
        sample=int(row["sample"]),
        written=row.get(GRADED_TEXT),
    )
    return Graded(
        rollout,
        Verdict(float(row["score"]), float(row["acc"]), row["parts"], row["error"] or ""),
        age=int(row.get("age") or 0),
    )


def diagnose(path: Path | str) -> Diagnosis:
    """The findings about a run folder. What cannot be read is named in `notes`, and the rest is diagnosed all
    the same. UserError: there is no run, or its run.json is damaged or of a newer format."""
    view = RunView.open(path)
    stored = Stored(view)
    lines, evaluations = stored.lines(), stored.evaluations()
    found = in_steps(stored, lines)
    for part in (
        lambda: before(stored),
        lambda: at_evaluations(evaluations, lines, view),
        lambda: at_end(view),
    ):
        try:
            found += part()
        except WRONG as error:
            stored.notes.append(f"evaluations or events have values of another kind than a run's ({error})")
    if not lines:
        stored.notes.append("no step is recorded yet, so only its beginning and its end can be diagnosed")
    kinds = {sign.kind for sign, _, _ in found}
    kept: dict[Kind, Finding] = {}
    for sign, step, answer in sorted(found, key=lambda one: (RANK[one[0].kind], one[1])):
        if sign.kind not in kept and kinds.isdisjoint(FOLLOWS.get(sign.kind, ())):
            said = advised(view, sign)
            kept[sign.kind] = Finding(
                sign.kind, sign.evidence, said, step, example(view, sign.kind, step, answer)
            )
    return Diagnosis(view.path, view.state, view.steps, tuple(kept.values()), tuple(stored.notes))


Seen = tuple[Sign, int, Sequence[Graded]]
"""A sign, the step at which it shows, and the answers of that step."""


def before(stored: Stored) -> list[Seen]:
    """What the evaluation before the first step shows."""
    graded = stored.graded(0, "answers")
    return [(sign, 0, graded) for sign in first_signs(graded, stored.view.settings)] if graded else []


def in_steps(stored: Stored, lines: Sequence[Line]) -> list[Seen]:
    """What the steps show, one after another, as a run sees them."""
    signs = Signs(stored.view.settings)
    found: list[Seen] = []
    there = set(stored.view.transcripts.steps)
    steps = [line["step"] for line in lines if line["step"] in there]
    read = {*steps[: MOST_READ // 10], *steps[-(MOST_READ - MOST_READ // 10) :]}
    if len(read) < len(steps):
        stored.notes.append(
            f"of the answers those of the first {MOST_READ // 10} and of the last "
            f"{MOST_READ - MOST_READ // 10} steps are read; numbers are read of all"
        )
    if lines and not there and "reward/mean" in lines[0]:
        stored.notes.append(
            "there are no transcripts, so answers are judged by the numbers of the steps alone"
        )
    close = {*steps[:3], *steps[-3:]}
    for line in lines:
        step = line["step"]
        graded = stored.graded(step) if step in read else ()
        columns = stored.columns(step) if step in close and graded else {}
        numbers = {name: np.nan if value is None else value for name, value in line.items()}
        prints = str(numbers.pop("fingerprint", ""))
        report = StepReport(step, numbers, graded, columns, np.zeros(1, np.int64), prints)
        try:
            new = signs.all_after(report)
        except WRONG as error:
            stored.notes.append(f"step {step} has values of another kind than a run's ({error}); left out")
            continue
        for sign in new:
            signs.said.add(sign.kind)
            found.append((sign, step, graded))
    return found


def at_evaluations(evaluations: Sequence[Line], lines: Sequence[Line], view: RunView) -> list[Seen]:
    """What the last evaluation shows beside the steps before it."""
    if not evaluations:
        return []
    step = int(evaluations[-1]["step"])
    so_far = [line for line in lines if line["step"] <= step]
    sign = after_evaluation(evaluations, so_far, view.settings, view.answers)
    return [(sign, step, ())] if sign else []


def at_end(view: RunView) -> list[Seen]:
    """The error that ended the run, or that it ended without a word."""
    ended, done = view.ended, view.steps
    begun = any(event["kind"] == "session_started" for event in view.all_events)
    again = f"`menon train --resume {shlex.quote(str(view.path))}`"
    if view.state == "stopped" and begun and not ended:
        said = f"its process ended after step {done} and left no word, as one that is killed"
        change = f"look for what ended it (memory, a time limit), then {again}"
        return [(Sign("failed", said, change), done, ())]
    if ended.get("why") != "failed":
        return []
    error = str(ended.get("error"))
    for kind, begins, change in ENDED:
        if error.startswith(begins):
            return [(Sign(kind, error, change), done, ())]
    said = f"it ended after step {done}: {error}"
    return [(Sign("failed", said, f"change what it names, then {again}"), done, ())]


def advised(view: RunView, sign: Sign) -> str:
    """What to change: the run's own words where it warned of the same and has an advice of its own, because
    it knows its model and its template."""
    if sign.kind not in ADVISED:
        return sign.setting
    begin = f"{sign.evidence}; "
    sentences = [
        event.get("sentence", "")
        for event in view.events
        if event.get("kind") == "warned" and event.get("sign") == sign.kind
    ]
    return next((one.removeprefix(begin) for one in sentences if one.startswith(begin)), sign.setting)
