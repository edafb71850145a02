"""`menon show RUN --step STEP`: the answers to one question of a step, with reward and credit of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from menon.cli.words import understand
from menon.errors import UserError

if TYPE_CHECKING:
    from menon.report.answers import Row


def show(words: Sequence[str]) -> int:
    """Shows the answers to one question of a step (--step STEP): the reward of each, its advantage, and how
    probable it was. --question 2 takes the second question. Of a run of spo_tree it draws the tree of the
    answers, node by node with its value."""
    from menon.report import groups, trees

    run, step, question = asked_by(words)
    rows = rows_of(run, step, question)
    for line in trees.drawn(rows) if rows[0]["node"] >= 0 else groups.told(rows):
        print(line)
    return 0


def asked_by(words: Sequence[str]) -> tuple[Path, int, int]:
    """The run's folder, the step, and the number of the question within the step, counted from 1."""
    usage = (
        "menon show takes a run's folder and a step, like menon show runs/mine --step 12, and maybe "
        "--question 3"
    )
    found = understand(words, ("step", "question"), no_option="there is no option '{option}'; " + usage)
    for name, value in found.options.items():
        if not value.isdecimal() or not int(value):
            raise UserError(f"--{name} takes a number from 1 on, not '{value}'; {usage}")
    if len(found.plain) != 1 or found.overrides or "step" not in found.options:
        raise UserError(usage)
    return Path(found.plain[0]), int(found.options["step"]), int(found.options.get("question", 1))


def rows_of(run: Path, step: int, question: int) -> "list[Row]":
    """The answers to one question, or the nodes of its tree, as the step's transcript has them. Answers that
    a rollout kept from an earlier step are left out."""
    from menon.record.reader import RunView
    from menon.report.groups import READ

    transcripts = RunView.open(run).transcripts
    kept = [name for name in transcripts.columns(step) if name in READ]
    rows = [row for row in transcripts.rows(step, kept) if not row["age"]]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    if not groups:
        raise UserError(f"step {step} of {run} has no answers of its own; choose another one with --step")
    if question > len(groups):
        raise UserError(
            f"step {step} of {run} has {len(groups)} questions; choose one of them with --question"
        )
    return [row for row in rows if row["group"] == groups[question - 1]]
