"""Repeat the step; evaluate, save, resume."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np

from menon.errors import NothingLearned, UserError
from menon.record import checkpoint
from menon.record.asynchrony import asynchrony
from menon.record.budget import Budget
from menon.record.checkpoint import Snapshot
from menon.record.clock import Clock
from menon.record.folder import RunFolder, restart_command, resume_command, writing
from menon.record.memory import memory as memory_held
from menon.record.metrics import summary
from menon.record.origin import Origin
from menon.record.session import Session
from menon.record.sign import Sign
from menon.record.signs import FOLLOWS, STOP, Signs, after_evaluation, first_signs
from menon.record.spans import TextSpans
from menon.source.protocols import Source
from menon.step import PartState, Plan, improve
from menon.sync.protocols import WeightChannel
from menon.truth import check_known, settled
from menon.types import Graded, StepReport
from menon.update.host import ModelHost

MAX_FAILED = 0.1
"""Largest share of answers whose grader may fail. Above it a run stops, because it would learn from an
accidental selection of its answers."""

OF_ACCURACY = ("accuracy_at", "best_accuracy", "best_temperature", "maj_at_8")
"""Numbers of the probe that mean nothing where an evaluation's accuracy is not known."""


@dataclass(frozen=True)
class Agreement:
    """How far the log-probs of sampler and learner may differ on the same weights (docs/numerics.md, 2.5)."""

    most: float
    """Nats a token, on average over the trained tokens of the policy's first update."""
    stops: bool
    """Whether a run beyond it stops, or only says so."""


@dataclass(frozen=True)
class Run:
    """Everything that the loop drives; the assembly builds it."""

    plan: Plan
    source: Source
    host: ModelHost
    channel: WeightChannel
    steps: int
    evaluate: Callable[[], list[Graded]] | None = None
    """Graded answers to the held-out set at temperature 1; None: a run that writes no text."""
    measure: Callable[[], Mapping[str, float]] = dict
    """What the losses of a run on given text say of held-out rows, with each evaluation."""
    probe: Callable[[], Mapping[str, Any]] = dict
    """Further measurements of the policy before the first step and after the last one (`eval.probe`)."""
    budget: Budget = field(default_factory=lambda: Budget(None))
    """The time that this session may take; it ends before the step that would exceed it."""
    save_every: int = 0
    """Steps between checkpoints; 0: only the last one. A stop request always saves."""
    evaluate_every: int = 0
    """Steps between evaluations besides the one before and the one after; 0: none."""
    stop_without_signal: bool = True
    """Stop after `record.signs.STOP` steps in a row that taught nothing."""
    needs_truth: tuple[str, ...] = ()
    """Settings that need to know which answers are right."""
    origin: Origin = field(default_factory=dict)
    """Fingerprints of the models and the data as they are now; a resumed run began with the same."""
    header: Mapping[str, str] = field(default_factory=dict)
    """Description of the run, line by line."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings as `run.json` keeps them, with those filled in that model and questions decide."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Rows of given text that are not learned from, by reason; the report has them."""
    present: Callable[[Path], Mapping[str, Any]] = lambda folder: {}
    """Called with the folder of a finished run; what it returns is added to the report."""
    spans: TextSpans | None = None
    """Gives the recorded answers the text of each of their tokens."""
    agreement: Agreement | None = None
    """None: the run does not compare its sampler with its learner."""
    advice: Mapping[str, str] = field(default_factory=dict)
    """Kind of a sign -> what to change in this run, in place of the usual advice."""


class Watcher(Protocol):
    """Receives the events of a run, for a terminal or a test. Steps count from 1: step 3 leads to the
    checkpoint `step_000003`."""

    def started(self, folder: Path, first_step: int, steps: int) -> None:
        """`first_step` is the step that comes next: 1, or more in a run that goes on."""
        ...

    def evaluated(self, step: int, numbers: Mapping[str, Any]) -> None:
        """After a step, 0 for the one before the first: what `record.metrics.summary` gives, and what the
        probe found."""
        ...

    def stepped(self, report: StepReport) -> None: ...

    def notify(self, sentence: str) -> None:
        """Something the user should know: a damaged checkpoint was skipped, a stop request arrived."""
        ...

    def finished(self, report: Mapping[str, Any]) -> None: ...


class GradersFailed(UserError):
    """More graders failed in one step than `MAX_FAILED` allows. It is raised before anything is learned from
    the step."""


def loop(
    run: Run, folder: RunFolder, watch: Watcher, stop: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Drives a run from the state of its folder to its last step, and returns the report.

    A stop request (`stop`, the first Ctrl-C or SIGTERM) finishes the step, saves, and gives the report so
    far: its `after` is None and it is not written. UserError when graders fail too often or a write fails;
    what was saved before is kept.
    """
    done = folder.report()
    if done is not None and done["steps"] >= run.steps:
        watch.notify(
            f"{folder.path} has finished its {done['steps']} steps already; set steps= higher to go on "
            "with it"
        )
        return done
    with stop_requests(watch.notify) as asked:
        step, state = resume(run, folder, watch)
        session, signs = Session(folder, step), Signs.of(folder.settings, folder.metrics(), run.advice)
        watch.started(folder.path, step + 1, run.steps)
        place = run.source.state()
        try:
            evaluate_run(run, folder, watch, step)
            keep_best(run, folder, step, state, place)
            stopped = asked() or stop()
            while step < run.steps and not stopped:
                start = time.perf_counter()
                report, state = advance(run, folder, watch, step + 1, state)
                step, place = step + 1, run.source.state()
                run.budget.stepped(time.perf_counter() - start)
                run = within_budget(run, watch, step)
                stopped = asked() or stop()
                session.reached(step)
                check_signal(run, folder, watch, report, signs)
                if stopped or step == run.steps or due(step, run.save_every):
                    save(run, folder, step, state, place)
                if not stopped:
                    evaluate_run(run, folder, watch, step)
                    keep_best(run, folder, step, state, place)
        except (GradersFailed, NothingLearned):
            save(run, folder, step, state, place)  # the earlier steps are sound, so they are saved
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(lost(run, folder, step)) from None
        session.reached(step)
        if stopped:
            folder.event("stop_requested", step)
        return conclude(run, folder, watch, step, stopped)


def advance(
    run: Run, folder: RunFolder, watch: Watcher, step: int, state: PartState
) -> tuple[StepReport, PartState]:
    """Makes and records one step; returns its report and the new state of the parts. GradersFailed is raised
    before a weight has changed, and UserError for a sampler that disagrees before anything of the step is
    recorded."""
    clock = Clock()
    with clock("rollout"):
        gathered = run.source.next()
    gathered = gathered.settled(folder.view.accuracy_known)
    if gathered.waited:
        folder.event("waited", step - 1, seconds=gathered.waited, what="text that is written beside")
    check_graders(gathered.graded, f"step {step}", after_repair(folder, step - 1))
    for setting in run.needs_truth:
        check_known(gathered.graded, setting)
    report, state = improve(step, gathered, run.plan, run.host, state, clock)
    check_agreement(run, report, watch.notify)
    run.source.learned(report)
    with clock("sync"):
        published = run.channel.publish(step)
    run.source.published(published.version)
    metrics = {**report.metrics, **clock.times(), **memory_held()}
    report = replace(report, metrics=metrics, fingerprint=published.fingerprint)
    with writing(folder.path):
        folder.record(report, run.spans)
    folder.event("published", step, version=published.version, fingerprint=published.fingerprint)
    if gathered.wrote:
        folder.event("wrote", step, **gathered.wrote)
    watch.stepped(report)
    return report, state


def evaluate_run(run: Run, folder: RunFolder, watch: Watcher, step: int) -> None:
    """Evaluates after a step if the run asks for it (always before the first step and after the last), unless
    it is done already."""
    wanted = step in (0, run.steps) or due(step, run.evaluate_every)
    if not wanted or folder.evaluation(step) is not None:
        return
    start = time.perf_counter()
    graded = [] if run.evaluate is None else settled(run.evaluate(), folder.view.accuracy_known)
    where = f"the evaluation {f'after step {step}' if step else 'before step 1'}"
    check_graders(graded, where, after_repair(folder, step))
    probed = run.probe() if graded and step in (0, run.steps) else {}
    numbers = {**(summary(graded) if graded else {}), **probed, **run.measure()}
    if not numbers:
        return
    if "accuracy" not in numbers:
        numbers = {name: value for name, value in numbers.items() if name not in OF_ACCURACY}
    with writing(folder.path):
        folder.record_evaluation(step, numbers, graded, run.spans, time.perf_counter() - start)
    run.budget.evaluated(time.perf_counter() - start)
    watch.evaluated(step, numbers)
    if step == 0 and graded:
        for sign in first_signs(graded, folder.settings, run.advice):
            warn(folder, watch, step, sign)
    found = after_evaluation(folder.view.evaluations, folder.metrics(), folder.settings, folder.view.answers)
    if found is not None and {found.kind, *FOLLOWS.get(found.kind, ())}.isdisjoint(folder.view.signs):
        warn(folder, watch, step, found)


def within_budget(run: Run, watch: Watcher, step: int) -> Run:
    """The run, which ends with this step if another one would exceed its budget of time."""
    if step >= run.steps or not run.budget.over or run.budget.seconds is None:
        return run
    watch.notify(
        f"ends after step {step} of {run.steps}: another one and the evaluation after it would take longer "
        f"than minutes={run.budget.seconds / 60:g}"
    )
    run.budget.ended = True
    return replace(run, steps=step)


def conclude(run: Run, folder: RunFolder, watch: Watcher, step: int, stopped: bool) -> dict[str, Any]:
    """Returns the report, and writes it if the run is finished."""
    report = {
        "steps": step,
        "wall_s": folder.view.wall_s,
        "generated_tokens": int(sum(line["tokens/generated"] for line in folder.metrics())),
        "before": folder.evaluation(0),
        "after": None if stopped else folder.evaluation(step),
        "warnings": folder.view.warnings,
        **({"minutes": (run.budget.seconds or 0) / 60} if run.budget.ended else {}),
        **({"left_out": dict(run.left_out)} if run.left_out else {}),
        **({"asynchrony": beside} if (beside := asynchrony(folder.view)) else {}),
    }
    if stopped:
        watch.notify(f"stopped after step {step} of {run.steps}; go on with `{folder.resume_command}`")
    else:
        with writing(folder.path):
            folder.write_report(report)
        report |= run.present(folder.path)
        watch.finished(report)
    folder.event("session_ended", step, why="stopped" if stopped else "finished")
    return report


def due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


# Failed graders


def check_graders(graded: Sequence[Graded], where: str, then: str) -> None:
    """GradersFailed if too many answers of `where` have no score, of those that the reward applies to; `then`
    is what to do after the repair."""
    asked = [g.verdict for g in graded if g.verdict.applies]
    failed = [verdict for verdict in asked if np.isnan(verdict.score)]
    if len(failed) > MAX_FAILED * len(asked):
        raise GradersFailed(
            f"the reward failed on {len(failed)} of {len(asked)} answers in {where} (at most "
            f"{MAX_FAILED:.0%} may fail), first with: {failed[0].error or 'a score of NaN'}; "
            f"fix it, then {then}"
        )


def after_repair(folder: RunFolder, step: int) -> str:
    """What to do after a repair, with `step` steps learned: a run that has learned from its user's code
    cannot go on with other code."""
    again = f"go on with `{folder.resume_command}`"
    if not step or not folder.settings.get("own_code"):
        return again
    return (
        f"{again} if your code is as it was, or train the policy of step {step} with the new code as a new "
        f"run: `{restart_command(folder.view)}`"
    )


# Sampler and learner


def check_agreement(run: Run, report: StepReport, notify: Callable[[str], None]) -> None:
    """UserError, or a sentence, if sampler and learner differ too much in the step of the policy's first
    update. Until then both have the weights of the start; later text may come from older weights."""
    first = 1 + min((update.after for update in run.plan.updates if update.model == "policy"), default=0)
    apart = report.metrics.get("mismatch/abs")
    if run.agreement is None or apart is None or report.step != first or apart <= run.agreement.most:
        return
    found = (
        f"log-probs of sampler and learner differ by {apart:.2g} nats a token on the same weights, and at "
        f"most {run.agreement.most:g} is rounding"
    )
    if run.agreement.stops:
        raise UserError(
            f"{found}; this model cannot be sampled here, so take another one, and please report its name"
        )
    notify(f"{found}; ratios are off by as much, so take dtype=float32 or a correction of rollouts")


# Nothing to learn


def check_signal(run: Run, folder: RunFolder, watch: Watcher, report: StepReport, signs: Signs) -> None:
    """Warns of a sign that a step shows; NothingLearned after too many steps that taught nothing."""
    sign = signs.after(report)
    again = sign is not None and sign.kind in ("reversed", "cut") and sign.kind in folder.view.signs
    if sign is not None and not again:  # the evaluation before the first step has said it
        warn(folder, watch, report.step, sign)
    if run.stop_without_signal and signs.silent >= STOP and report.step < run.steps:
        said = signs.last.sentence if signs.last else "no rewards differ"
        raise NothingLearned(
            f"stopped after step {report.step}, for the last {signs.silent} steps taught nothing: {said}; to "
            f"go on all the same, `{resume_command(folder.path)} stop_without_signal=false`"
        )


def warn(folder: RunFolder, watch: Watcher, step: int, sign: Sign) -> None:
    folder.event("warned", step, sign=sign.kind, sentence=sign.sentence)
    watch.notify(f"{'before' if step == 0 else 'after'} step {step or 1}: {sign.sentence}")


# Save and resume


def save(run: Run, folder: RunFolder, step: int, state: PartState, place: Mapping[str, Any]) -> None:
    """Saves a checkpoint of the state after `step`, unless there is one; `place` is the state of the source
    at that time."""
    if step == 0 or step in checkpoint.steps_in(folder.checkpoints):
        return
    with writing(folder.path):
        folder.save(Snapshot(step, {"parts": state, "source": place}), run.host.save)


def keep_best(run: Run, folder: RunFolder, step: int, state: PartState, place: Mapping[str, Any]) -> None:
    """Saves a checkpoint of the step if its evaluation is the best so far, and points `checkpoints/best` at
    the best one."""
    if folder.best() == step:
        save(run, folder, step, state, place)
    with writing(folder.path):
        folder.mark_best()


def resume(run: Run, folder: RunFolder, watch: Watcher) -> tuple[int, PartState]:
    """Restores the run and its folder from the newest usable checkpoint; returns that step and the state of
    the parts. UserError if the models or the data are not those that the run began with."""
    if not folder.check_origin(run.origin) and run.origin:
        watch.notify(
            f"{folder.path} keeps no fingerprints of its model and data (an earlier menon wrote it), so a "
            "change of them since the run began would not be noticed"
        )
    with writing(folder.path):
        snapshot = checkpoint.newest(folder.checkpoints, watch.notify)
    step = 0 if snapshot is None else snapshot.step
    if step > run.steps:
        raise UserError(f"{folder.path} has done {step} steps already; set steps= to {step} or more")
    if folder.view.sessions:
        for change in folder.changes():
            watch.notify(f"{change}, so the run may differ in the last bits from one that never stopped")
    if snapshot is None:
        folder.check_checkpoints()
    if snapshot is None and folder.metrics():
        watch.notify("there is no usable checkpoint, so the run starts again at step 0")
    with writing(folder.path):
        folder.rewind(step)
    if snapshot is None:
        return 0, run.plan.initial_state()
    run.host.load(snapshot.folder)
    run.source.load(snapshot.state["source"])
    published = run.channel.publish(step)
    fingerprint = published.fingerprint
    if any(line["step"] == step and line["fingerprint"] != fingerprint for line in folder.metrics()):
        raise RuntimeError(
            f"the weights restored from {folder.path} are not those that step {step} ended with"
        )
    folder.event("restored", step, version=published.version, fingerprint=fingerprint)
    return step, snapshot.state["parts"]


# Stop requests


def lost(run: Run, folder: RunFolder, step: int) -> str:
    """What a stop at once loses when `step` steps are done, and how to go on."""
    saved = max(folder.view.checkpoints, default=0)
    first, last = saved + 1, min(step + 1, run.steps)
    what = f"step {first} is" if first == last else f"steps {first} to {last} are"
    if first > last:
        what = f"the evaluation after step {step} is"
    return f"stopped; {what} lost; go on with `{folder.resume_command}`"


@contextmanager
def stop_requests(notify: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C or SIGTERM has arrived. After the first of them the usual
    handlers are restored, so that a second one ends the process at once. Signals that the process was started
    to ignore (`nohup`, a script's background) stay ignored. Only the main thread can set handlers; in any
    other thread no signal is noticed."""
    heard = threading.Event()
    before: dict[int, Any] = {}

    def back() -> None:
        while before:
            signal.signal(*before.popitem())

    def hear(number: int, frame: FrameType | None) -> None:
        heard.set()
        back()
        sentence = (
            "stop request received: this step is finished and saved first; a second request ends at once "
            "and loses what is not saved"
        )
        # A thread prints, because a handler that prints could interrupt a print that holds the same stream.
        threading.Thread(target=notify, args=(sentence,), daemon=True).start()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, hear)
    try:
        yield heard.is_set
    finally:
        back()
