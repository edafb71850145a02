"""Trees of a step: their list, and one of them drawn node by node."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from menon.cli.lines import QUIET, RIGHT, WRONG, cropped, one_line, table

if TYPE_CHECKING:
    from rich.text import Text

Row = Mapping[str, Any]
"""One node as the transcript has it."""
SHORTEST = 12
"""Columns for the text of a node that lies deep in its tree; the line is then wider than the terminal."""


def tree_list(trees: Mapping[int, Sequence[Row]], questions: Sequence[str], gold: int) -> "Iterator[Text]":
    """The lines of a table of trees, by group; `questions` are their cells, `gold` is the width of the gold
    answers."""
    rows = [
        [
            str(group),
            question,
            cropped(one_line(nodes[0]["answer"] or "-"), gold),
            str(len(nodes)),
            "{:.3f} ± {:.3f}".format(*value_of(nodes)),
            str(sum(node["learn"] for node in nodes)),
        ]
        for (group, nodes), question in zip(trees.items(), questions, strict=True)
    ]
    return table(["group", "question", "gold", "nodes", "value", "learned from"], rows, ["question"])


def value_of(rows: Sequence[Row]) -> tuple[float, float]:
    """The value of a tree's question, the mean of its first children's, and its standard error."""
    scores = [row["score"] for row in rows if row["parent"] == 0 and not math.isnan(row["score"])]
    if not scores:
        return 0.0, math.nan
    value = math.fsum(scores) / len(scores)
    deviation = math.sqrt(math.fsum((score - value) ** 2 for score in scores) / len(scores))
    return value, deviation / math.sqrt(len(scores))


def drawn(rows: Sequence[Row], width: int) -> "Iterator[Text]":
    """A line about the tree, then its nodes, each below its parent: number, value, standard error, difference
    from the parent's value, and the text that it adds. A * marks nodes that were learned from in that
    step."""
    from rich.text import Text

    children: dict[int, list[Row]] = {}
    for row in rows:
        children.setdefault(row["parent"], []).append(row)
    value, error = value_of(rows)
    values = {row["node"]: row["score"] for row in rows} | {0: value}
    yield Text(
        f"value {value:.3f} ± {error:.3f}   {len(rows)} nodes   * learned from in this step", style=QUIET
    )
    digits = len(str(max(row["node"] for row in rows)))

    def below(node: int, lead: str, text: str) -> Iterator[Text]:
        for row in children.get(node, ()):
            end = row is children[node][-1]
            error = "" if math.isnan(row["standard_error"]) else f" ± {row['standard_error']:.2f}"
            score = "failed" if math.isnan(row["score"]) else f"{row['score']:.2f}{error}"
            mark = f"{'*' if row['learn'] else ' '} {row['node']:>{digits}} "
            line = f"{mark}{lead}{'└' if end else '├'} {score} ({row['score'] - values[node]:+.2f})  "
            word, style = ending(row)
            own = one_line(row["completion"].removeprefix(text))
            room = max(SHORTEST, width - len(line) - len(word) - 2)
            yield Text.assemble(line, cropped(own, room), ("  " + word if word else "", style))
            yield from below(row["node"], lead + ("  " if end else "│ "), row["completion"])

    yield from below(0, "", "")


def ending(row: Row) -> tuple[str, str]:
    """How a leaf ended, and its style; empty for an inner node, which has no raw correctness of its own."""
    if math.isnan(row["acc"]):
        return "", ""
    if row["acc"] == 1:
        return "right", RIGHT
    return ("cut" if row["finish"] == "length" else "wrong"), WRONG
