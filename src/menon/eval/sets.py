"""Public evaluation sets by name: which file, how a row becomes a question, how its answer is checked.

The files are the user's; none come with Menon. Rows have `question` or `prompt`, and `answer`, as JSON lines.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from menon.errors import UserError, nearest
from menon.prompts.reader import Row, read_rows

Check = Literal["math", "choice", "numeric", "code", "instructions"]
"""How an answer is checked; `assembly.evaluation` makes the reward."""
ENDINGS = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class NamedSet:
    files: tuple[str, ...]
    """Names, without ending, under which the file is looked for in a folder."""
    check: Check
    template: str = "qwen_boxed"
    row: Callable[[Row], Row | None] = lambda row: row
    """Maps a row of the file to the row that is asked; None leaves it out."""
    max_new_tokens: int = 2048
    stop: tuple[str, ...] = ()
    answers: bool = True
    """False: the rows hold no gold answer."""


def rows_of_set(
    named: NamedSet, name: str, path: Path, on_bad: Literal["stop", "skip"] = "stop"
) -> tuple[list[Row], int]:
    """The rows of a set as they are asked, and the number of rows that were left out because they cannot be
    used."""
    rows, skipped = read_rows(find(named, name, path), on_bad, answers=named.answers)
    asked = [row for row in map(named.row, rows) if row is not None]
    if not asked:
        raise UserError(f"{path} holds no question that belongs to the set {name}; give the file of that set")
    return asked, skipped


def find(named: NamedSet, name: str, path: Path) -> Path:
    """The file itself, or the set's file in a folder."""
    if not path.is_dir():
        return path
    for file in named.files:
        for ending in ENDINGS:
            if (path / (file + ending)).is_file():
                return path / (file + ending)
    raise UserError(
        f"{path} holds no file of the set {name}; there should be a {named.files[0]}.jsonl (or .jsonl.gz) "
        "in it"
    )


def find_set(name: str) -> NamedSet:
    if name not in SETS:
        raise UserError(f"there is no set '{name}'{nearest(name, SETS)}")
    return SETS[name]


LETTERS = "ABCDEFGHIJ"


def with_choices(row: Row) -> Row:
    """Choices under the question, unless it lists them already; the answer is a letter."""
    choices = row.get("choices")
    question = str(row["question"])
    if not isinstance(choices, list) or all(str(choice) in question for choice in choices):
        return row
    listed = "\n".join(f"({letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    return row | {"question": f"{question}\n{listed}"}


def without_pictures(row: Row) -> Row | None:
    """TheoremQA: a few questions are about a picture that is not in the file."""
    return None if row.get("picture") else row


def with_unit(row: Row) -> Row:
    """SciBench: the unit that the answer is wanted in."""
    unit = str(row.get("unit") or "").strip("$ ")
    return row | {"question": f"{row['question']} Give the number in units of ${unit}$."} if unit else row


def yes_no_maybe(row: Row) -> Row:
    """PubMedQA: the question is asked of the abstract that comes with it."""
    context = row.get("context")
    text = "\n".join(map(str, context)) if isinstance(context, list) else str(context or "")
    return row | {"question": f"{text}\n\n{row['question']} Answer yes, no or maybe.".strip()}


def with_tests(row: Row) -> Row | None:
    """MBPP: the task with its tests, so that the function's name is known. Rows of other splits are left
    out."""
    if row.get("split", "test") != "test":
        return None
    return row | {
        "question": f"{row['question']}\nThe code must pass these tests:\n" + "\n".join(row["tests"])
    }


CHOICE = "{q}\nPlease reason step by step, and put the letter of the right choice within \\boxed{}.\n"
FREE = "{q}\nPlease reason step by step, and put your final answer within \\boxed{}.\n"
CODE = "Solve this task in Python, and give the whole program in one ```python block.\n\n{q}\n"

SETS: dict[str, NamedSet] = {
    "gsm8k": NamedSet(("gsm8k_test", "gsm8k"), "math", max_new_tokens=512),
    "math500": NamedSet(("math500",), "math"),
    "math_test": NamedSet(("math_test",), "math"),
    "aime24": NamedSet(("aime24",), "math", max_new_tokens=8192),
    "aime25": NamedSet(("aime25",), "math", max_new_tokens=8192),
    "amc23": NamedSet(("amc23",), "math", max_new_tokens=4096),
    "olympiadbench": NamedSet(("olympiadbench",), "math", max_new_tokens=4096),
    "gaokao2023en": NamedSet(("gaokao2023en",), "math"),
    "gpqa_diamond": NamedSet(("gpqa_diamond",), "choice", CHOICE, with_choices),
    "mmlu_stem": NamedSet(("mmlu_stem",), "choice", CHOICE, with_choices),
    "scibench": NamedSet(("scibench",), "numeric", FREE, with_unit),
    "theoremqa": NamedSet(("theoremqa",), "math", FREE, without_pictures),
    "pubmedqa": NamedSet(("pubmedqa_labeled", "pubmedqa"), "math", FREE, yes_no_maybe, max_new_tokens=512),
    "abench": NamedSet(("abench_multisubject", "abench"), "math", FREE),
    "human_eval": NamedSet(("human_eval",), "code", CODE, max_new_tokens=1024),
    "mbpp": NamedSet(("mbpp",), "code", CODE, with_tests, max_new_tokens=1024),
    "ifeval": NamedSet(("ifeval",), "instructions", "chat", max_new_tokens=1024, answers=False),
}
