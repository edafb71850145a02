"""The groups of a step, one line each: question, gold answer, rewards, their mean, whether they differ."""

import math
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from menon.cli.lines import QUIET, RIGHT, Cell, cropped, one_line, table
from menon.cli.show_tree import tree_list
from menon.errors import UserError
from menon.record.group import ROW
from menon.record.reader import ranges

if TYPE_CHECKING:
    from rich.text import Text

    from menon.batch import Batch
    from menon.record.reader import RunView

Row = Mapping[str, Any]
Groups = Mapping[int, Sequence[Row]]
"""Number of a group -> its rows of the transcript, each with its place there under `place`."""
READ = [name for name in ROW if name not in ("completion", "parts")]
DIGITS = 16
"""Most answers of a group whose rewards are shown one by one."""
GOLD = 12
"""Columns for the gold answer."""
OTHERS = 45
"""Columns that a table of groups needs beside the question and its gold answer."""


def groups_of(view: "RunView", step: int) -> Groups:
    """The groups that a step wrote, in order. Edges of trees of earlier steps are not among them. UserError
    if there is no such step."""
    groups: dict[int, list[Row]] = {}
    for place, row in enumerate(view.transcripts.rows(step, READ)):
        if row["node"] < 0 or not row["age"]:
            groups.setdefault(row["group"], []).append({**row, "place": place})
    return groups


def check_group(groups: Groups, group: int, where: str) -> None:
    """UserError if the step has no such group, with those that there are."""
    if group not in groups:
        raise UserError(f"{where} has no group {group}; it has {ranges(sorted(groups)) or 'none at all'}")


def step_lines(view: "RunView", step: int, width: int) -> "Iterator[Text | str]":
    """The lines about a step: a head, a table of its groups, what they teach, and how to see one of them."""
    from rich.text import Text

    groups = groups_of(view, step)
    if not groups:
        raise UserError(f"step {step} of {view.path} wrote no answers; choose another step")
    kind, one = ("tree", "node") if is_tree(groups) else ("group", "answer")
    rows = [row for group in groups.values() for row in group]
    told = f", mean reward {mean_text(rows)}" if kind == "group" else ""
    head = f"step {step}: {counted(len(groups), kind)}, {counted(len(rows), one)}{told}"
    yield Text(head, style="bold")
    yield ""
    gold = max(len("gold"), *(min(GOLD, len(one_line(row["answer"] or "-"))) for row in rows))
    questions = told_apart([group[0]["prompt"] for group in groups.values()], width - OTHERS - gold)
    if kind == "tree":
        yield from tree_list(groups, questions, gold)
    else:
        batch = view.transcripts.batch(step)
        mixed = mixed_groups(groups, batch.outcome.tolist())
        yield from group_list(groups, questions, gold, mixed)
        yield ""
        yield from lessons(groups, mixed, batch)
    yield ""
    yield from hint(f"one {kind}", view, step=step, group=next(iter(groups)))


def hint(what: str, view: "RunView", **numbers: int) -> "Iterator[Text]":
    """The command that shows more, on a line of its own where it is long."""
    from rich.text import Text

    names = " ".join(f"{name}={number}" for name, number in numbers.items())
    yield Text(f"{what}:  menon show {shlex.quote(str(view.path))} {names}", style=QUIET)


def is_tree(groups: Groups) -> bool:
    """Whether the step grew trees."""
    return any(row["node"] >= 0 for group in groups.values() for row in group)


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "group"), counted(32, "group")
    ('1 group', '32 groups')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def mean_text(rows: Sequence[Row]) -> str:
    """The mean of the rewards that the grader gave; `-` without any."""
    scores = [row["score"] for row in rows if not math.isnan(row["score"])]
    return f"{math.fsum(scores) / len(scores):.3f}" if scores else "-"


def group_list(
    groups: Groups, questions: Sequence[str], gold: int, mixed: Collection[int]
) -> "Iterator[Text]":
    """The lines of a table of groups."""
    rows: list[list[Cell]] = [
        [
            str(number),
            question,
            cropped(one_line(group[0]["answer"] or "-"), gold),
            rewards_text([row["score"] for row in group]),
            mean_text(group),
            ("mixed", RIGHT) if number in mixed else ("equal", QUIET),
        ]
        for (number, group), question in zip(groups.items(), questions, strict=True)
    ]
    return table(["group", "question", "gold", "rewards", "mean", ""], rows, ["question", "rewards", ""])


def rewards_text(scores: Sequence[float]) -> str:
    """The rewards of a group: one digit for each where all are 0 or 1 (a question mark where the grader
    failed), else the lowest and the highest.

    >>> rewards_text([0.0, 1.0, math.nan]), rewards_text([0.1, 1.1, 0.1])
    ('01?', '0.1 to 1.1')
    """
    digits = {0.0: "0", 1.0: "1"}
    if len(scores) <= DIGITS and all(score in digits or math.isnan(score) for score in scores):
        return "".join(digits.get(score, "?") for score in scores)
    graded = [score for score in scores if not math.isnan(score)]
    if not graded:
        return "?"
    low, high = min(graded), max(graded)
    return number_text(low) if low == high else f"{number_text(low)} to {number_text(high)}"


def number_text(value: float) -> str:
    """A reward in at most four digits."""
    return f"{value:.4g}"


def mixed_groups(groups: Groups, outcomes: Sequence[float]) -> set[int]:
    """The groups whose answers earned different rewards, after shaping; those whose grader failed do not
    count. `outcomes` are in the order of the transcript."""
    earned = {
        number: [outcomes[row["place"]] for row in group if not math.isnan(row["score"])]
        for number, group in groups.items()
    }
    return {number for number, some in earned.items() if some and max(some) > min(some)}


def lessons(groups: Groups, mixed: Collection[int], batch: "Batch") -> Iterator[str]:
    """How many groups are mixed, and in how many there is no advantage to learn from."""
    from menon.ragged import sequence_sum

    yield f"mixed: {len(mixed)} of {counted(len(groups), 'group')}, whose answers earned different rewards"
    if batch.advantage is None:
        return
    taught = sequence_sum(((batch.advantage != 0) & batch.trained).long(), batch.offset).tolist()
    silent = sum(not any(taught[row["place"]] for row in group) for group in groups.values())
    if silent:
        yield f"nothing to learn: in {counted(silent, 'group')} every advantage is 0"


def told_apart(prompts: Sequence[str], width: int) -> list[str]:
    """The prompts in `width` columns. Where they do not fit, what all of them begin with or end with (a
    template) is left out first."""
    lines = [one_line(prompt.strip()) for prompt in prompts]
    different = sorted(set(lines))
    if max(map(len, lines)) > width and len(different) > 1:
        begin = whole_words(shared_start(different))
        end = whole_words(shared_start([line[begin:][::-1] for line in different]))
        lines = [line[begin : len(line) - end] for line in lines]
    return [cropped(line, width) for line in lines]


def shared_start(texts: Sequence[str]) -> str:
    """What all texts begin with.

    >>> shared_start(["User: 3+4", "User: 35", "User: 2"])
    'User: '
    """
    low, high = min(texts), max(texts)  # every text lies between these two
    same = [one == other for one, other in zip(low, high, strict=False)]
    return low[: [*same, False].index(False)]


def whole_words(text: str) -> int:
    """Length of the text up to its last word, which might go on; 0 for one word.

    >>> whole_words("What is 1")
    8
    """
    return max((found.end() for found in re.finditer(r"[\s↵]+", text)), default=0)
