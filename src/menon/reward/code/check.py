"""Whether the tests of a row say what they should: for `menon check data` with the reward `code`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from menon.reward.code.extract import completed, last_block
from menon.reward.code.rows import suite_of
from menon.reward.code.suite import BadTests, Check, Suite, parsed
from menon.reward.code.tests import BrokenTest, CodeTests
from menon.sandbox.launch import SandboxError
from menon.sandbox.names import definitions

SOLUTIONS = ("canonical_solution", "solution", "code", "reference_solution", "solutions")
"""Columns that hold a solution in public data sets, or a list of them."""
TRIED = 3
"""How many of a row's solutions are tried: some lists hold programs in Python 2."""
PYTHON_3 = 3
"""CodeContests' number of the language."""


def fault_of(reward: CodeTests, row: Mapping[str, Any]) -> str:
    """What is wrong with the tests of a row, in one sentence: they cannot be read, assert nothing, pass a
    program that does nothing, or fail the row's own solution. Nothing if all is well, as far as the row
    shows."""
    try:
        suite = suite_of(row)
        some_code = any(isinstance(case, Check) for case in suite.cases)
        every = replace(reward, score="fraction" if some_code else "all")  # finds each test that is broken
        if every.run(idle(suite), suite).outcome == "pass":
            return "its tests pass a program that does nothing"
        question = row.get("question")
        question = question if isinstance(question, str) else ""
        whys = []
        for solution in solutions(row)[:TRIED]:
            program = completed(question, last_block(solution, suite.names) or solution, suite.entry)
            run = reward.run(program, suite, definitions(question))
            if run.outcome == "pass":
                return ""
            whys.append(f"{run.outcome}: {run.why}" if run.why else run.outcome)
    except (BadTests, BrokenTest, SandboxError) as error:
        return str(error)
    return f"its own solution does not pass ({whys[0]})" if whys else ""


def solutions(row: Mapping[str, Any]) -> list[str]:
    """The solutions that a row brings, the likeliest first."""
    found: list[Any] = []
    for name in ("answer", *SOLUTIONS):
        value = parsed(row.get(name)) if name == "solutions" else row.get(name)
        if isinstance(value, Mapping):  # CodeContests
            pairs = zip(value.get("language") or (), value.get("solution") or (), strict=False)
            value = [program for language, program in pairs if language in (PYTHON_3, "PYTHON3")]
        found += value if isinstance(value, list) else [value]
    return [program for program in found if isinstance(program, str) and program.strip()]


def idle(suite: Suite) -> str:
    """A program that has every name that the tests ask for, and does nothing."""
    lines = [
        "class _Idle:\n    def __init__(self, *a, **k): pass\n"
        "    def __getattr__(self, name): return lambda *a, **k: None\n"
    ]
    for name in sorted(suite.names()):
        if name[:1].isupper():
            lines.append(f"class {name}(_Idle): pass\n")
        elif name.isidentifier():
            lines.append(f"def {name}(*a, **k): return None\n")
    return "".join(lines)
