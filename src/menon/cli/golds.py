"""Whether every gold answer of a data set earns the full reward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from menon.cli.check_verifier import reward_named
from menon.errors import SHOWN, UserError, causes_of
from menon.parts import close
from menon.prompts.reader import Columns, Row, usable_rows
from menon.reward.code.check import fault_of
from menon.reward.code.signatures import Asked, judge
from menon.reward.code.tests import CodeTests
from menon.reward.grade import GIVEN
from menon.reward.protocols import Reward
from menon.settings import read


@dataclass(frozen=True)
class ColumnsOf:
    """The columns that a check without a model takes, named as in `menon train`."""

    columns: Columns = field(default_factory=Columns)


def golds_alone(path: str, settings: Mapping[str, Any], plain: Sequence[str], own: Mapping[str, Any]) -> int:
    """Checks the gold answers of a file without a model. UserError for what only a dry run takes."""
    odd = [*plain, *(name for name in settings if name not in ("reward", "columns")), *own]
    reward = settings.get("reward", "math")
    if odd or not isinstance(reward, str):
        raise UserError(
            f"'{odd[0] if odd else 'reward.'}' belongs to a dry run, which needs model=; without a model, "
            "menon check data FILE takes reward=NAME and columns.*"
        )
    columns = read(ColumnsOf, {"columns": settings.get("columns", {})}).columns
    made = CodeTests() if reward == "code" else reward_named(reward)
    try:
        if not spelt(made):
            raise UserError(
                f"it is not known how an answer is stated for the reward '{reward}'; check with math, exact, "
                "choice or json, or set model= for a dry run"
            )
        return golds(path, made, columns)
    finally:
        close(made)


def spelt(made: Any) -> bool:
    """Whether it is known how an answer is stated for a reward."""
    return getattr(made, "spell", None) is not None


def golds(path: str, made: Reward, columns: Columns) -> int:
    """Prints the rows of a data set that fail, and counts; returns 0 if there are none. The reward is one for
    which it is known how an answer is stated."""
    programs = isinstance(made, CodeTests)
    rows, bad = usable_rows(path, not programs, columns)
    check: Callable[[Any, Row], str] = fault_of if programs else answer_fault
    found = [(number, check(made, row)) for number, row in enumerate(rows, start=1)]
    faults = [f"row {number}: {fault}" for number, fault in found if fault]
    for fault in faults[: 4 * SHOWN]:
        print(fault)
    if len(faults) > 4 * SHOWN:
        print(f"and {len(faults) - 4 * SHOWN} more")
    if bad:
        print(f"unreadable: {causes_of(bad, len(rows) + len(bad))}")
    print(f"right={len(rows) - len(faults)} of={len(rows)} unreadable={len(bad)}", flush=True)
    return 1 if faults or bad else 0


def answer_fault(made: Reward, row: Row) -> str:
    """What is wrong with the gold answer of a row; nothing if it earns the full reward."""
    columns = {name: value for name, value in row.items() if name not in GIVEN}
    completion = made.spell("", row["answer"])  # type: ignore[attr-defined]
    verdict = judge(made, "menon", Asked("", completion, row["answer"], columns))
    if verdict.acc == 1:
        return ""
    return f"its own answer {row['answer']!r} " + (verdict.error or "earns no reward")
