"""`menon check data`: the dry run of a run, and whether every gold answer earns the full reward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from menon.cli.check_verifier import reward_named
from menon.cli.words import understand
from menon.errors import SHOWN, UserError, causes_of
from menon.parts import close
from menon.prompts.reader import Columns, Row, usable_rows
from menon.prompts.sources import HUB, named_split
from menon.recipes import RECIPES
from menon.reward.code.check import fault_of
from menon.reward.code.signatures import Asked, judge
from menon.reward.code.tests import CodeTests
from menon.reward.grade import GIVEN
from menon.reward.protocols import Reward
from menon.settings import read, setting


@dataclass(frozen=True)
class ColumnsOf:
    """The columns that a check without a model takes, named as in `menon train`."""

    columns: Columns = field(default_factory=Columns)


NO_OPTION = "menon check takes no option '{option}'; settings are key=value"


def check_data(words: Sequence[str]) -> int:
    """The dry run of `menon train`: takes the same words, trains nothing, writes no file. It shows the first
    prompt as the model will read it, the first answers that the run would draw, what they earn, and the signs
    that the run would show before its first step. Then it checks that every gold answer of the file earns the
    full reward, where it is known how an answer is stated. n=16 is the number of answers; tokens=true shows
    the prompt token by token.

    With a file in place of data=FILE, and without model=, only the gold answers are checked, without a model:
    `menon check data FILE reward=math columns.answer=NAME`. With the reward `code` a row fails by its tests.

    Exit code 0 if there is no sign and no fault, else 1."""
    from menon.cli.dry_run import dry_run, own_words

    rest, own = own_words(words)
    given = understand(rest, ("resume",), no_option=NO_OPTION)
    files = [word for word in given.plain if names_data(word)]
    questions = [name for name in ("data", "task") if setting(given.settings, name) is not None]
    if len(files) + len(questions) > 1:
        named = [*files, *(f"{name}={setting(given.settings, name)}" for name in questions)]
        raise UserError(f"the questions are named twice, {' and '.join(named)}; leave one of them out")
    if not files:
        return dry_run(rest, own)
    if setting(given.settings, "model") is not None:
        return dry_run([f"data={word}" if word in files else word for word in rest], own)
    return golds_alone(files[0], given.settings, [w for w in given.plain if w not in files], own)


def names_data(word: str) -> bool:
    """Whether a word without `=` names a data set: not a recipe, also a misspelt one, a file of settings or
    a run.json."""
    path = named_split(word)[0]
    if word in RECIPES or word.endswith((".yaml", ".yml", ".toml")) or path.name == "run.json":
        return False
    sure = word.startswith(HUB) or path.exists() or bool(path.suffix)
    return sure or not get_close_matches(word, RECIPES, 1, 0.6)


# Gold answers


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
