"""Questions from a file of JSON lines; every fault is named by its line."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any, NoReturn

from menon.errors import OnBad, UserError, refuse_rows
from menon.types import TEST_COLUMNS

Row = dict[str, Any]
"""`question` (a string or chat messages), `answer` (a string) and every other column as it was."""


class BadRow(Exception):
    """One row cannot be used; the message says why and what to change."""


def read_rows(path: str | Path, on_bad: OnBad = "stop", answers: bool = True) -> tuple[list[Row], int]:
    """The rows of a `.jsonl` or `.jsonl.gz` file and the number of those left out.

    A row is an object with `prompt` or `question` (text, or a list of chat messages) and `answer` (text or a number). Rows of
    GSM8K as published, whose `answer` is a worked solution ending in `#### 18`, and rows with such a `solution` and no `answer`,
    get what follows the hash marks. With `answers` off a row needs none. Blank lines are no rows. UserError: no such file,
    nothing usable in it, or bad rows that were not to be skipped.
    """
    path = Path(path)
    rows: list[Row] = []
    faults: list[str] = []
    for number, line in enumerate(read_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(read_row(line, answers))
        except BadRow as fault:
            faults.append(f"line {number}: {fault}")
    if not rows and not faults:
        raise UserError(f"{path} is empty; write one JSON object per line, with 'question' and 'answer'")
    if faults and (on_bad == "stop" or not rows):
        refuse_rows(str(path), faults, total=len(rows) + len(faults))
    return rows, len(faults)


def read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"{path} is a folder; name one .jsonl file in it")
    if not path.exists():
        raise UserError(f"there is no file {path} (looked from {Path.cwd()})")
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} is not a whole gzip file ({error}); compress it again, or take .gz off a plain file's name"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def read_row(line: bytes, answers: bool = True) -> Row:
    try:
        row = json.loads(line.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadRow(f"byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise BadRow("nested too deeply") from error
    except ValueError as error:
        hint = "; one object per line, not one array" if line.lstrip().startswith(b"[") else ""
        raise BadRow(f"not JSON ({error}){hint}") from error
    if not isinstance(row, dict):
        raise BadRow(f"{_kind(row)} instead of an object with 'question' and 'answer'")
    if "prompt" in row and "question" in row:
        raise BadRow("both 'prompt' and 'question'; keep the one that the model should read")
    name = "prompt" if "prompt" in row else "question"
    if name not in row:
        raise BadRow(f"no 'prompt' or 'question' ({_columns(row)})")
    question = check_question(name, row.pop(name))
    return {"question": question, "answer": take_answer(row) if answers else row.pop("answer", None)} | row


def check_question(name: str, question: Any) -> str | list[dict[str, str]]:
    if isinstance(question, list):
        return check_messages(name, question)
    if not isinstance(question, str):
        raise BadRow(f"'{name}' is {_kind(question)}; it must be a string or a list of chat messages")
    return check_text(name, question)


def check_messages(name: str, messages: list[Any]) -> list[dict[str, str]]:
    good = all(isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in messages)
    if not good or not messages:
        raise BadRow(f"'{name}' is a list, but not of chat messages with a string 'role' and a string 'content'")
    if messages[-1]["role"] == "assistant":
        raise BadRow(f"the last message of '{name}' is the assistant's; the model is to write it")
    for message in messages:
        check_text(name, message["content"])
    return messages


def check_text(name: str, text: str) -> str:
    if not text.strip():
        raise BadRow(f"'{name}' is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"'{name}' holds half of a Unicode pair at character {error.start + 1}") from error
    return text


def take_answer(row: Row) -> str | None:
    """The gold answer as text, taken out of the row; None where tests stand in its place. A solution that it was cut from stays
    as the column `solution`."""
    answer = row.pop("answer", None)
    if answer is None:
        behind = behind_marks(row.get("solution"))
        if not behind and any(row.get(name) for name in TEST_COLUMNS):
            return None
        if not behind:
            raise BadRow(f"no 'answer' ({_columns(row)})")
        return behind
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise BadRow(f"'answer' is {_kind(answer)}; it must be a string or a number")
    if not isinstance(answer, str):
        return str(answer)
    check_text("answer", answer)
    if behind := behind_marks(answer):
        row.setdefault("solution", answer)
    return behind or answer.strip()


def behind_marks(solution: Any) -> str:
    """`18` from a worked solution that ends in `#### 18`, as those of GSM8K do; nothing from any other."""
    if not isinstance(solution, str):
        return ""
    _, marks, behind = solution.rstrip().rpartition("####")
    return behind.strip() if marks and "\n" not in behind.strip() else ""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _columns(row: Row) -> str:
    return f"the columns are {', '.join(map(repr, row))}" if row else "the object is empty"


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
    return names[type(value)]
