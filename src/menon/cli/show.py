"""`menon show RUN --tree STEP`: a tree of a step's answers, drawn in the terminal."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.cli.words import understand
from menon.errors import UserError

READ = [
    "group",
    "prompt",
    "answer",
    "completion",
    "finish",
    "score",
    "acc",
    "node",
    "parent",
    "depth",
    "standard_error",
    "learn",
    "age",
]
Row = Mapping[str, Any]
WIDTH = 60
"""Width of a node's text, in characters."""


def show(words: Sequence[str]) -> int:
    """Draws a tree of a step's answers (--tree STEP), node by node with its value; --question 2 takes the
    tree of the second question. For runs of the recipe spo_tree."""
    run, step, question = asked_by(words)
    rows = tree_rows(run, step, question)
    for line in drawn(rows):
        print(line)
    return 0


def asked_by(words: Sequence[str]) -> tuple[Path, int, int]:
    """The run's folder, the step, and the number of the question within the step, counted from 1."""
    usage = (
        "menon show takes a run's folder and a step, like menon show runs/mine --tree 12, and maybe "
        "--question 3"
    )
    found = understand(words, ("tree", "question"), no_option="there is no option '{option}'; " + usage)
    for name, value in found.options.items():
        if not value.isdecimal() or not int(value):
            raise UserError(f"--{name} takes a number from 1 on, not '{value}'; {usage}")
    if len(found.plain) != 1 or found.overrides or "tree" not in found.options:
        raise UserError(usage)
    return Path(found.plain[0]), int(found.options["tree"]), int(found.options.get("question", 1))


def tree_rows(run: Path, step: int, question: int) -> list[Row]:
    """The nodes of one tree, as the step's transcript has them."""
    from menon.record.reader import RunView

    transcripts = RunView.open(run).transcripts
    rows = [row for row in transcripts.rows(step, READ) if row["node"] >= 0 and not row["age"]]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    if not groups:
        raise UserError(f"step {step} of {run} grew no trees; runs of the recipe spo_tree do")
    if question > len(groups):
        raise UserError(
            f"step {step} of {run} has {len(groups)} questions; choose one of them with --question"
        )
    return [row for row in rows if row["group"] == groups[question - 1]]


def drawn(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of the prompt with its value, then of every node below its parent: value, standard error,
    difference from the parent's value, and its own text. A * marks nodes that were learned from in that
    step."""
    from menon.report.terminal import printable

    children: dict[int, list[Row]] = {}
    for row in rows:
        children.setdefault(row["parent"], []).append(row)
    value = {row["node"]: row["score"] for row in rows} | {0: mean([row["score"] for row in children[0]])}
    told = "" if rows[0]["answer"] is None else f"   answer {printable(rows[0]['answer'])}"
    yield f"{printable(rows[0]['prompt']).strip()}{told}"
    spread = [row["score"] for row in children[0] if not math.isnan(row["score"])]
    deviation = (
        (sum((score - value[0]) ** 2 for score in spread) / len(spread)) ** 0.5 if spread else math.nan
    )
    error = deviation / max(len(spread), 1) ** 0.5
    yield f"value {value[0]:.3f} ± {error:.3f}   {len(rows)} nodes   * learned from in this step"

    def below(node: int, lead: str, text: str) -> Iterator[str]:
        for i, row in enumerate(children.get(node, ())):
            end = i == len(children[node]) - 1
            error = "" if math.isnan(row["standard_error"]) else f" ± {row['standard_error']:.2f}"
            own = row["completion"].removeprefix(text)
            mark = "*" if row["learn"] else " "
            score = "failed" if math.isnan(row["score"]) else f"{row['score']:.2f}{error}"
            stem = lead + ("└ " if end else "├ ")
            credit = f"{row['score'] - value[node]:+.2f}"
            yield f"{mark} {stem}{score} ({credit})  {clipped(printable(own))}{ending(row)}"
            yield from below(row["node"], lead + ("  " if end else "│ "), row["completion"])

    yield from below(0, "", "")


def ending(row: Row) -> str:
    """How a leaf ended; empty for an inner node, which has no raw correctness of its own."""
    if math.isnan(row["acc"]):
        return ""
    return "  right" if row["acc"] == 1 else "  cut" if row["finish"] == "length" else "  wrong"


def clipped(text: str) -> str:
    """A text shortened to `WIDTH` characters."""
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4]} ..."


def mean(values: Sequence[float]) -> float:
    """The mean of the values that are not NaN."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0
