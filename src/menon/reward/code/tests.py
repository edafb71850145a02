"""A reward for programs: the share of tests that they pass, or whether they pass all
(docs/numerics.md, 13.4)."""

import json
import math
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from menon.errors import UserError
from menon.reward.code.extract import completed, last_block
from menon.reward.code.output import Compare, same_output
from menon.reward.code.rows import suite_of
from menon.reward.code.signatures import Asked
from menon.reward.code.suite import BadTests, Check, InputOutput, Suite
from menon.sandbox.launch import SLACK, Finished, SandboxError, Task
from menon.sandbox.layers import pool, require
from menon.sandbox.limits import Limits
from menon.sandbox.names import definitions
from menon.sandbox.runner import ask, check_address
from menon.sandbox.wire import ENDED
from menon.thought import after_thinking
from menon.types import Verdict

Outcome = Literal["pass", "fail", "timeout", "memory", "sandbox"]


class BrokenTest(Exception):
    """The test itself is at fault: no verdict about the program."""


@dataclass(frozen=True)
class Run:
    """The result of one program."""

    outcome: Outcome
    """The outcome of the first test that failed, else "pass"."""
    why: str
    passed: int
    total: int
    """Number of tests. If all must pass, those after the first failure are not run."""
    cpu_seconds: float
    memory_mb: float
    left: int
    """Number of processes that had to be killed."""

    @property
    def feedback(self) -> str:
        """What became of the first test that failed; "" if all passed."""
        if self.outcome == "pass":
            return ""
        return (
            f"a test failed ({self.outcome}): {self.why}" if self.why else f"a test failed ({self.outcome})"
        )


@dataclass(frozen=True)
class CodeTests:
    """The program in the answer passes all tests of its row. 1 if it does, else 0; or the share that it
    passes. The program is the answer's last block of code (`extract.last_block`).

    The columns of a row hold its tests (`rows.suite_of`). Every test runs in a fresh process of the
    sandbox; what is expected never enters the process of model code, and the verdict is made outside of it.
    No block is wrong, and so is hitting a limit. A test that is broken itself, or a sandbox that fails, gives
    a NaN verdict with `error`.

    `acc` is 1 if all tests pass. UserError: there is no such level of the sandbox, or this machine lacks a
    layer of it.
    """

    score: Literal["all", "fraction"] = "all"
    """1 if all tests pass, or the share that does."""
    compare: Compare = "tokens"
    """How a script's output is compared: `output.same_output`."""
    tolerance: float = 1e-6
    """Difference at which two numbers of an output count as equal."""
    most_tests: int = 0
    """Most tests of a row that are run, spread evenly over all of them; 0: all."""
    time_s: float = 6.0
    """Seconds of one test: `limits.Limits`."""
    total_s: float = 60.0
    """CPU seconds of all tests of one answer; those beyond count as failed."""
    wall_s: float = 15.0
    """Wall-clock seconds of one test, waiting for a core included; only a badly overloaded machine reaches
    this limit."""
    memory_mb: int = 512
    """Memory of one test, in MB."""
    sandbox: str = "full"
    """The layers that must be there (`sandbox.layers.LEVELS`), or the URL of a runner (`sandbox.runner`)."""
    key_variable: str = ""
    """Environment variable that holds the key of a runner; "": it needs none."""
    kind: Literal["code"] = "code"
    apart: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.total_s <= 0 or self.most_tests < 0 or self.tolerance < 0:
            raise UserError(
                "the code reward's total_s must be positive, and most_tests and tolerance must not be "
                "negative"
            )
        self.limits  # noqa: B018 - refuses what is out of range
        if self.is_remote:
            check_address(self.sandbox)
        else:
            require(self.sandbox)

    @property
    def is_remote(self) -> bool:
        return "://" in self.sandbox

    @property
    def header(self) -> dict[str, str]:
        """Lines for the header of a run: where model code runs, and how it is isolated."""
        return {
            "sandbox": f"runner {self.sandbox}"
            if self.is_remote
            else f"{require(self.sandbox)} ({self.sandbox})"
        }

    @property
    def limits(self) -> Limits:
        return Limits(time_s=self.time_s, wall_s=self.wall_s, memory_mb=self.memory_mb)

    def __call__(self, prompt: str, completion: str, answer: str = "", **columns: Any) -> Verdict:
        question = columns.get("question")
        question = question if isinstance(question, str) else ""
        try:
            tests = suite_of(columns)
            code = last_block(after_thinking(prompt, completion) or "", tests.names)
            if code is None:
                missing = {"tests_passed": 0.0, "no_code": 1.0}
                return Verdict(0.0, acc=0.0, parts=missing, feedback="the answer has no block of code")
            run = self.run(completed(question, code, tests.entry), tests, definitions(question))
        except (BadTests, BrokenTest, SandboxError) as error:
            return Verdict(math.nan, acc=math.nan, error=f"the code reward: {error}")
        share = run.passed / run.total
        acc = float(run.passed == run.total)
        parts = {"tests_passed": share, "cpu_seconds": run.cpu_seconds}
        if run.outcome != "pass":
            parts[run.outcome] = 1.0
        return Verdict(acc if self.score == "all" else share, acc=acc, parts=parts, feedback=run.feedback)

    def many(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Verdicts in the order of the answers; as many programs run at once as there are cores."""

        def one(a: Asked) -> Verdict:
            return self(a.prompt, a.completion, a.answer or "", **a.columns)

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            return list(threads.map(one, asked))

    def spell(self, prompt: str, answer: str) -> str:
        """An answer that states a reference solution; with it the solutions of a data set are checked."""
        return f"```python\n{answer}\n```"

    def run(self, program: str, tests: Suite, helpers: str = "") -> Run:
        """Runs a program against tests. `helpers`: trusted code whose names the tests use before the
        program's.

        BrokenTest, SandboxError: no verdict.
        """
        cases = self.chosen(tests.cases)
        if self.is_remote:
            return self.elsewhere(program, cases, tests.entry, helpers)
        outcome: Outcome = "pass"
        why = ""
        passed = left = 0
        cpu = memory = 0.0
        for case in cases:
            if cpu > self.total_s:
                outcome, why = "timeout", f"all tests together took more than {self.total_s:g} s"
                break
            now, reason, finished = self.judge(program, case, tests.entry, helpers)
            passed += now == "pass"
            left += finished.left
            cpu += finished.cpu_seconds
            memory = max(memory, finished.memory_mb)
            if now != "pass" and outcome == "pass":
                outcome, why = now, reason
            if now != "pass" and self.score == "all":
                break
        return Run(outcome, why, passed, len(cases), cpu, memory, left)

    def chosen(self, cases: tuple[InputOutput | Check, ...]) -> tuple[InputOutput | Check, ...]:
        if not self.most_tests or len(cases) <= self.most_tests:
            return cases
        return tuple(cases[place * len(cases) // self.most_tests] for place in range(self.most_tests))

    def elsewhere(
        self, program: str, cases: tuple[InputOutput | Check, ...], entry: str, helpers: str
    ) -> Run:
        request = {
            "code": program,
            "tests": [asdict(case) for case in cases],
            "entry": entry,
            "helpers": helpers,
            "limits": asdict(self.limits) | {"total_s": self.total_s},
            "score": self.score,
            "compare": self.compare,
            "tolerance": self.tolerance,
        }
        said = ask(self.sandbox, request, self.wall_s * len(cases) + SLACK, self.key_variable)
        why, cpu, memory = str(said.get("why", ""))[:300], said["cpu_seconds"], said["memory_mb"]
        return Run(said["outcome"], why, said["passed"], said["total"], cpu, memory, left=0)

    def judge(
        self, program: str, case: InputOutput | Check, entry: str, helpers: str
    ) -> tuple[Outcome, str, Finished]:
        code = program.encode(errors="replace")
        if isinstance(case, InputOutput):
            finished = self.execute([Task("script", code, case.input.encode(errors="replace"))])
            if finished.why != "exit" or finished.code:
                ended = ended_badly(finished)
                why = reason(0 if ended else finished.code, finished.errors) or finished.why
                return ended or outcome_of(finished.errors), why, finished
            right = same_output(finished.output, case.output, self.compare, self.tolerance)
            return "pass" if right else "fail", "" if right else "another output", finished
        asked = {"test": case.code, "entry": entry, "helpers": helpers}
        finished = self.execute([Task("solution", code), Task("test", json.dumps(asked).encode())])
        if ended := ended_badly(finished):
            return ended, finished.why, finished
        none = {"passed": False, "fault": False, "why": "no outcome"}
        told: dict[str, Any] = json.loads(finished.output) if finished.output else none
        if told["fault"]:
            raise BrokenTest(f"a test is broken: {told['why']}")
        if told["passed"]:
            return "pass", "", finished
        why = told["why"]
        if why == ENDED and (cause := reason(finished.first_code, finished.errors)):
            why = f"{ENDED}: {cause}"
        return outcome_of(why.encode() + b"\n" + finished.errors), why, finished

    def execute(self, tasks: list[Task]) -> Finished:
        return pool(self.sandbox).run(tasks, self.limits)


def ended_badly(finished: Finished) -> Outcome | None:
    """The outcome of a run that a limit ended."""
    if finished.why in ("tasks", "disk"):
        return "sandbox"
    if finished.why == "timeout" or finished.code == -signal.SIGXCPU:
        return "timeout"
    return "memory" if finished.why == "memory" else None


OUT_OF_MEMORY = (
    b"MemoryError",
    b"bad_alloc",
    b"emory allocation",
    b"annot allocate memory",
    b"ut of memory",
    b"failed to map segment",
)
"""What Python, C++, Rust and C libraries write when they find no memory; most end the program then."""


def outcome_of(errors: bytes) -> Outcome:
    """The kind of failure that a traceback shows. The program could fake it, but earns nothing either way."""
    if any(text in errors for text in OUT_OF_MEMORY):
        return "memory"
    return "sandbox" if b"PermissionError" in last_line(errors).encode() else "fail"


def reason(code: int, errors: bytes) -> str:
    """Why a process ended: the signal, if its exit code names one, and the last line of its errors."""
    by_signal = ""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        memory = ", as libraries end that find no memory (memory_mb)" if -code == signal.SIGABRT else ""
        by_signal = f"it ended by {name}{memory}"
    return ": ".join(filter(None, (by_signal, last_line(errors))))


def last_line(errors: bytes) -> str:
    lines = errors.decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
