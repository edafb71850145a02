"""Questions from a data set; every fault is named by its line.

The columns of the common data sets are known by their names:

| layout | question | answer |
|---|---|---|
| GSM8K | `question` | `answer`, as it is or after `####` |
| MATH | `problem` | `answer`, else what `solution` states in its last `\\boxed{}` |
| TRL | `prompt`: text or messages | `answer` or `solution` |
| verl | `prompt`: messages | `reward_model.ground_truth` |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menon.errors import Fault, OnBad, UserError, refuse_rows
from menon.prompts.missing import NoColumn, faults_of
from menon.prompts.sources import BadRow, raw_rows
from menon.task_tests import TEST_COLUMNS, tests_of_ground_truth

Row = dict[str, Any]
"""`question` (a string or chat messages), `answer` (a string) and every other column as it was."""

QUESTIONS = ("prompt", "question", "problem", "question_content")
GROUND_TRUTH = "reward_model.ground_truth"
ANSWERS = ("answer", GROUND_TRUTH)
BOXED = "\\boxed{"


@dataclass(frozen=True)
class Columns:
    """The columns of question and answer, if their names do not say so. A dot names a field within a
    column."""

    question: str | None = None
    """Column of the question; a dot names a field within it."""
    answer: str | None = None
    """Column of the gold answer; a dot names a field within it."""


def read_rows(
    source: str | Path, on_bad: OnBad = "stop", answers: bool = True, columns: Columns = Columns()
) -> tuple[list[Row], int]:
    """The rows of a data set (see `sources.raw_rows` for what it may be) and the number of those left out.

    A question is text or a list of chat messages, an answer text or a number. If the answer is a worked
    solution, the gold answer is what it states: `18` after `####`, or in its last `\\boxed{18}`; the text
    stays as the column `solution`. Rows of a programming task may have tests instead. With `answers` off a
    row needs none. UserError: no such source, nothing usable in it, or bad rows that were not to be skipped.
    """
    rows, faults = usable_rows(source, answers, columns)
    if faults and (on_bad == "stop" or not rows):
        refuse_rows(str(source), faults, total=len(rows) + len(faults))
    return rows, len(faults)


def usable_rows(
    source: str | Path, answers: bool = True, columns: Columns = Columns()
) -> tuple[list[Row], list[Fault]]:
    """The rows of a data set that can be used, as `read_rows` gives them, and why the others cannot."""
    rows: list[Row] = []
    bad: list[tuple[str, BadRow]] = []
    tables = 0
    for place, raw in raw_rows(source):
        tables += isinstance(raw, dict)
        try:
            rows.append(read_row(raw, answers, columns))
        except BadRow as fault:
            bad.append((place, fault))
    if not rows and not bad:
        raise UserError(f"{source} is empty; give it rows with 'question' and 'answer'")
    return rows, faults_of(bad, tables, {"question": fits_question, "answer": fits_answer})


def read_row(raw: Any, answers: bool = True, columns: Columns = Columns()) -> Row:
    if isinstance(raw, BadRow):
        raise raw
    if not isinstance(raw, dict):
        raise BadRow(f"{_kind(raw)} instead of an object with 'question' and 'answer'")
    if lacking := lacking_in(raw, answers, columns):
        raise NoColumn(raw, lacking)
    name = columns.question or question_column(raw)
    question = check_question(name, at(raw, name))
    row = {column: value for column, value in raw.items() if column not in ("question", name)}
    answer = take_answer(row, columns, whole=name == "prompt") if answers else row.get("answer")
    row.pop("answer", None)
    return {"question": question, "answer": answer} | row


def lacking_in(row: Mapping[str, Any], answers: bool, columns: Columns) -> dict[str, str]:
    """Which of `question` and `answer` a row has no column for -> the column that the settings name, or
    \"\"."""
    lacking = {}
    if not (reaches(row, columns.question) if columns.question else any(name in row for name in QUESTIONS)):
        lacking["question"] = columns.question or ""
    if answers and not (reaches(row, columns.answer) if columns.answer else has_answer(row)):
        lacking["answer"] = columns.answer or ""
    return lacking


def at(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or of one within a column. KeyError: there is none."""
    value: Any = row
    for step in [name] if name in row else name.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(name)
        value = value[step]
    return value


def reaches(row: Mapping[str, Any], name: str) -> bool:
    try:
        at(row, name)
    except KeyError:
        return False
    return True


def has(row: Mapping[str, Any], name: str) -> bool:
    return reaches(row, name) and at(row, name) is not None


# Questions


def question_column(row: Mapping[str, Any]) -> str:
    """The column of the question by its name; the row has one."""
    found = [name for name in QUESTIONS if name in row]
    if len(found) > 1:
        choices = " or ".join(f"columns.question={name}" for name in found)
        raise BadRow(f"{' and '.join(map(repr, found))} may each be the question; choose with {choices}")
    return found[0]


def fits_question(value: Any) -> bool:
    """Whether a value can be a question."""
    try:
        check_question("", value)
    except BadRow:
        return False
    return True


def check_question(name: str, question: Any) -> str | list[dict[str, str]]:
    if isinstance(question, list):
        return check_messages(name, question)
    if not isinstance(question, str):
        raise BadRow(f"'{name}' is {_kind(question)}; it must be a string or a list of chat messages")
    return check_text(name, question)


def check_messages(name: str, messages: list[Any]) -> list[dict[str, str]]:
    good = all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
        for m in messages
    )
    if not good or not messages:
        raise BadRow(
            f"'{name}' is a list, but not of chat messages with a string 'role' and a string 'content'"
        )
    if messages[-1]["role"] == "assistant":
        raise BadRow(f"the last message of '{name}' is the assistant's; the model is to write it")
    for message in messages:
        check_text(name, message["content"])
    # Tables fill missing fields of a message with null, and chat templates would treat null as a value.
    return [{field: value for field, value in message.items() if value is not None} for message in messages]


def check_text(name: str, text: str) -> str:
    if not text.strip():
        raise BadRow(f"'{name}' is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"'{name}' holds half of a Unicode pair at character {error.start + 1}") from error
    return text


# Answers


def take_answer(row: Row, columns: Columns, whole: bool) -> str | None:
    """The gold answer as text; None where the row has tests instead. If it was cut from a worked solution,
    that text stays as `solution`.

    `whole`: a `solution` of one line without a marked answer is itself the answer, as in TRL.
    """
    name = columns.answer or answer_column(row)
    if name is None:
        return None
    answer = at(row, name)
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise BadRow(f"'{name}' is {_kind(answer)}; it must be a string or a number")
    if not isinstance(answer, str):
        return str(answer)
    check_text(name, answer)
    stated = behind_marks(answer) or last_boxed(answer)
    if not stated and name == "solution" and (not whole or "\n" in answer.strip()):
        raise BadRow("'solution' states no answer after '####' or in \\boxed{}; give the row an 'answer'")
    if stated and stated != answer.strip():
        row.setdefault("solution", answer)
    return stated or answer.strip()


def fits_answer(value: Any) -> bool:
    """Whether a value can be a gold answer."""
    return bool(value.strip()) if isinstance(value, str) else type(value) in (int, float)


def has_answer(row: Mapping[str, Any]) -> bool:
    """Whether a row has a column of a gold answer, or tests, by their names."""
    return any(has(row, name) for name in (*ANSWERS, "solution")) or any(map(row.get, TEST_COLUMNS))


def answer_column(row: Mapping[str, Any]) -> str | None:
    """The column of the gold answer by its name, in a row that has one; None where it has tests instead."""
    found = [name for name in ANSWERS if has(row, name)]
    tests = GROUND_TRUTH in found and tests_of_ground_truth(at(row, GROUND_TRUTH)) is not None
    if tests:
        found.remove(GROUND_TRUTH)
    if len({str(at(row, name)) for name in found}) > 1:
        choices = " or ".join(f"columns.answer={name}" for name in found)
        raise BadRow(f"{' and '.join(map(repr, found))} may each be the answer; choose with {choices}")
    if found:
        return found[0]
    if tests or any(map(row.get, TEST_COLUMNS)):
        return "solution" if isinstance(text := row.get("solution"), str) and behind_marks(text) else None
    return "solution"


def behind_marks(solution: str) -> str:
    """`18` from a worked solution that ends in `#### 18`, as in GSM8K; "" from any other."""
    _, marks, behind = solution.rstrip().rpartition("####")
    return behind.strip() if marks and "\n" not in behind.strip() else ""


def last_boxed(solution: str) -> str:
    """What stands in the last whole `\\boxed{}`, as in the solutions of MATH; nothing without one.

    >>> last_boxed("so $x = \\\\boxed{\\\\frac{1}{2}}$.")
    '\\\\frac{1}{2}'
    """
    start = solution.rfind(BOXED)
    depth = 1
    for place in range(start + len(BOXED), len(solution)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(solution[place], 0)
        if depth == 0:
            return solution[start + len(BOXED) : place].strip()
    return ""


def _kind(value: Any) -> str:
    names: dict[type, str] = {
        bool: str(value).lower(),
        str: "a string",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
        type(None): "null",
    }
    return names.get(type(value), f"of the type {type(value).__name__}")
