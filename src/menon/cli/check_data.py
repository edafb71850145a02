"""`menon check data FILE`: does every gold answer earn the full reward through its own verifier?"""

from collections.abc import Callable, Mapping
from typing import Any

from menon.cli.check_verifier import reward_named
from menon.errors import SHOWN, UserError
from menon.parts import close
from menon.prompts.reader import Columns, Row, read_rows
from menon.prompts.render import beginning
from menon.reward.code.check import fault_of
from menon.reward.code.signatures import Asked, judge
from menon.reward.code.tests import CodeTests
from menon.reward.grade import GIVEN
from menon.reward.protocols import Reward
from menon.settings import read


def check_data(path: str, reward: str = "math", columns: Mapping[str, Any] | None = None) -> int:
    """Prints the rows that fail, a row as it is read, and counts; returns 0 if no row fails. With the reward
    `code` a row fails by its tests. `columns.question` and `columns.answer` name columns as in `menon train`.

    UserError: there is no such file or reward, or it is not known how an answer is stated for the reward (as
    for a function of your own).
    """
    named = read(Columns, columns or {})
    made = CodeTests() if reward == "code" else reward_named(reward)
    try:
        programs = isinstance(made, CodeTests)
        rows, skipped = read_rows(path, on_bad="skip", answers=not programs, columns=named)
        if skipped:
            print(unreadable(path, not programs, named))
        check: Callable[[Any, Row], str] = fault_of if programs else answer_fault
        if not programs and getattr(made, "spell", None) is None:
            raise UserError(
                f"it is not known how an answer is stated for the reward '{reward}'; check with math, exact, "
                "choice or json"
            )
        found = [(number, check(made, row)) for number, row in enumerate(rows, start=1)]
    finally:
        close(made)
    faults = [f"row {number}: {fault}" for number, fault in found if fault]
    for fault in faults[: 4 * SHOWN]:
        print(fault)
    if len(faults) > 4 * SHOWN:
        print(f"and {len(faults) - 4 * SHOWN} more")
    print(f"row 1 is read as question {beginning(rows[0]['question'])}, answer {rows[0]['answer']!r}")
    print(f"right={len(rows) - len(faults)} of={len(rows)} unreadable={skipped}", flush=True)
    return 0 if not faults and not skipped else 1


def unreadable(path: str, answers: bool, columns: Columns) -> str:
    """Which rows cannot be read, and why."""
    try:
        read_rows(path, answers=answers, columns=columns)
    except UserError as error:
        return str(error)
    raise AssertionError(f"{path} could not be read a moment ago")


def answer_fault(made: Reward, row: Row) -> str:
    """What is wrong with the gold answer of a row; nothing if it earns the full reward."""
    columns = {name: value for name, value in row.items() if name not in GIVEN}
    completion = made.spell("", row["answer"])  # type: ignore[attr-defined]
    verdict = judge(made, "menon", Asked("", completion, row["answer"], columns))
    if verdict.acc == 1:
        return ""
    return f"its own answer {row['answer']!r} " + (verdict.error or "earns no reward")
