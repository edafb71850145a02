"""A tree of a step's answers, drawn in the terminal."""

import math
from collections.abc import Iterator, Sequence

from menon.report.answers import Row
from menon.report.terminal import printable

WIDTH = 60
"""Width of a node's text, in characters."""


def drawn(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of the prompt with its value, then of every node below its parent: value, standard error,
    difference from the parent's value, and its own text. A * marks nodes that were learned from in that
    step."""
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
