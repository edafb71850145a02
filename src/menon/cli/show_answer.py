"""One answer token by token: text, probability, entropy, advantage, ratio."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from menon.cli.lines import QUIET, WRONG, Cell, cropped, folded_text, heat, table, visible
from menon.cli.show_group import (
    LABEL,
    Clip,
    advantage_text,
    asked,
    before_text,
    clip_of,
    clip_sentences,
    labelled,
    notes,
    remarks,
    reward_cell,
    without_ratios,
)
from menon.cli.show_step import counted
from menon.record.group import Answer
from menon.report.text_lines import printable

if TYPE_CHECKING:
    from rich.text import Text

    from menon.record.reader import RunView

TEXT = 24
"""Columns for the text of a token."""


def answer_lines(
    view: "RunView", step: int, group: int, answer: Answer, width: int
) -> "Iterator[Text | str]":
    """The lines about an answer: question, verdict, its text, a table of its tokens, what the columns are."""
    from rich.text import Text

    row = answer.row
    name = f"answer {row['sample']}" if row["node"] < 0 else f"node {row['node']}"
    yield Text(f"step {step}, group {group}, {name}", style="bold")
    yield ""
    yield from asked(answer, width)
    acc = "" if math.isnan(row["acc"]) else f", acc {row['acc']:g}"
    told = f"{reward_cell(answer)[0]}{acc}, {counted(answer.num_actions, 'token')}, finish {row['finish']}"
    yield from labelled("reward", told, width)
    yield from labelled("advantage", advantage_text(answer), width)
    yield from ("".join((" " * LABEL, remark)) for remark in remarks(answer, width - LABEL))
    yield ""
    for line in row["completion"].strip("\n").split("\n"):
        yield from (f"  | {piece}".rstrip() for piece in folded_text(printable(line), width - 4))
    yield ""
    clip = clip_of(view.settings)
    yield from token_table(answer, clip)
    yield ""
    yield from notes(*explained(view, step, answer, clip))


def token_table(answer: Answer, clip: Clip | None) -> "Iterator[Text]":
    """The lines of the table of tokens; columns that were not stored are left out."""
    ids, clipped = answer.row["tokens"][answer.begin :], np.zeros(len(answer.trained), dtype=bool)
    if answer.ratio is not None and clip is not None and len(answer.advantage):
        clipped = clip.clips(answer.ratio.before, answer.columns["advantage"]) & answer.trained
    pieces = answer.pieces
    texts = [f"id {token}" for token in ids] if pieces is None else [visible(piece) for piece in pieces]
    columns = number_columns(answer)
    rows: list[list[Cell]] = [
        [
            str(t),
            (cropped(text, TEXT), style),
            *(column[t] for column in columns.values()),
            ("clipped" if clipped[t] else "", WRONG),
        ]
        for t, (text, style) in enumerate(zip(texts, styles(answer), strict=True))
    ]
    return table(["token", "text", *columns, ""], rows, ["text", ""])


def number_columns(answer: Answer) -> dict[str, list[str]]:
    """Name -> the numbers of the tokens as words."""
    stored = {name: np.where(answer.is_action, column, np.nan) for name, column in answer.columns.items()}
    columns = {}
    if "behaviour_logp" in stored:
        columns["prob"] = cells(np.exp(stored["behaviour_logp"]), ".4f")
    columns |= {name: cells(stored[name], ".4f") for name in ("entropy", "value") if name in stored}
    if "advantage" in stored:
        columns["advantage"] = cells(np.where(answer.trained, stored["advantage"], np.nan), "+.3f")
    if answer.ratio is not None:
        columns["ratio"] = cells(answer.ratio.before, ".3f")
        columns["after"] = cells(answer.ratio.after, ".3f")
    return columns


def styles(answer: Answer) -> list[str]:
    """The style of each token's text: by its entropy, or quiet where the environment wrote it."""
    entropies = answer.columns.get("entropy", np.zeros(len(answer.trained)))
    return [heat(one) if acts else QUIET for one, acts in zip(entropies, answer.is_action, strict=True)]


def cells(values: NDArray[np.float64], form: str) -> list[str]:
    """The numbers as words, `-` for NaN."""
    return ["-" if np.isnan(value) else f"{value:{form}}" for value in values]


def explained(view: "RunView", step: int, answer: Answer, clip: Clip | None) -> Iterator[str]:
    """What the columns mean, and what would store those that are missing."""
    if "behaviour_logp" in answer.columns:
        yield "prob: of the token when it was written, at the sampling temperature"
    if "entropy" in answer.columns:
        yield "entropy: of the choice that it was drawn from, in nats; colours show it"
    else:
        yield "The sampler of this run gives no entropies."
    if not answer.is_action.all():
        yield "Tokens without numbers are the environment's."
    if answer.pieces is None:
        yield "A folder of format 1 has no text of each token; their numbers are shown."
    if answer.ratio is None:
        yield from without_ratios(view, step)
        return
    yield f"ratio: the probability in update {answer.ratio.update}, divided by that {before_text(view)}"
    yield "after: the same after that update"
    yield from clip_sentences(view, clip)
