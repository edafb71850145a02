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

from menon.errors import SHOWN, OnBad, UserError, refuse_rows
from menon.prompts.sources import BadRow, raw_rows
from menon.types import TEST_COLUMNS, tests_of_ground_truth

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
    rows: list[Row] = []
    faults: list[tuple[str, str]] = []
    for place, raw in raw_rows(source):
        try:
            rows.append(read_row(raw, answers, columns))
        except BadRow as fault:
            faults.append((str(place), f": {fault}"))
    if not rows and not faults:
        raise UserError(f"{source} is empty; give it rows with 'question' and 'answer'")
    if faults and (on_bad == "stop" or not rows):
        refuse_rows(str(source), faults, total=len(rows) + len(faults))
    return rows, len(faults)


def read_row(raw: Any, answers: bool = True, columns: Columns = Columns()) -> Row:
    if isinstance(raw, BadRow):
        raise raw
    if not isinstance(raw, dict):
        raise BadRow(f"{_kind(raw)} instead of an object with 'question' and 'answer'")
    name = columns.question or question_column(raw)
    question = check_question(name, at(raw, name, "question"))
    row = {column: value for column, value in raw.items() if column not in ("question", name)}
    answer = take_answer(row, columns, whole=name == "prompt") if answers else row.get("answer")
    row.pop("answer", None)
    return {"question": question, "answer": answer} | row


def at(row: Mapping[str, Any], name: str, what: str) -> Any:
    """The value of a column, or of one within a column."""
    value: Any = row
    for step in [name] if name in row else name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            raise BadRow(f"no column '{name}', which columns.{what} names ({_columns(row)})")
        value = value[step]
    return value


def has(row: Mapping[str, Any], name: str) -> bool:
    try:
        return at(row, name, "answer") is not None
    except BadRow:
        return False


# Questions


def question_column(row: Mapping[str, Any]) -> str:
    found = [name for name in QUESTIONS if name in row]
    if len(found) > 1:
        choices = " or ".join(f"columns.question={name}" for name in found)
        raise BadRow(f"{' and '.join(map(repr, found))} may each be the question; choose with {choices}")
    if not found:
        raise BadRow(
            f"no 'prompt', 'question' or 'problem' ({_columns(row)}); name it with columns.question="
        )
    return found[0]


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
    answer = at(row, name, "answer")
    if isinstance(answer, Mapping) and answer:
        fields = " or ".join(f"columns.answer={name}.{field}" for field in list(answer)[:SHOWN])
        raise BadRow(f"'{name}' is an object; name the field of it that holds the answer with {fields}")
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


def answer_column(row: Mapping[str, Any]) -> str | None:
    found = [name for name in ANSWERS if has(row, name)]
    tests = GROUND_TRUTH in found and tests_of_ground_truth(at(row, GROUND_TRUTH, "answer")) is not None
    if tests:
        found.remove(GROUND_TRUTH)
    if len({str(at(row, name, "answer")) for name in found}) > 1:
        choices = " or ".join(f"columns.answer={name}" for name in found)
        raise BadRow(f"{' and '.join(map(repr, found))} may each be the answer; choose with {choices}")
    if found:
        return found[0]
    if tests or any(row.get(name) for name in TEST_COLUMNS):
        return "solution" if isinstance(text := row.get("solution"), str) and behind_marks(text) else None
    if has(row, "solution"):
        return "solution"
    raise BadRow(f"no 'answer' ({_columns(row)}); name it with columns.answer=")


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


def _columns(row: Mapping[str, Any]) -> str:
    names = [name for name, value in row.items() if value is not None]
    return f"the columns are {', '.join(map(repr, names))}" if names else "the object is empty"


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
