"""Results to compare: files of `menon eval`, or evaluations of runs."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.errors import UserError
from menon.eval.config import read_result
from menon.eval.run import Item
from menon.record.layout import Layout
from menon.record.reader import RunView
from menon.settings import setting

COLUMNS = ("prompt_index", "prompt", "answer", "acc", "score", "finish", "is_action")


Result = tuple[Mapping[str, Any], list[Item]]
"""What was evaluated, and the answers to each question."""


def read_pair(places: Sequence[Path]) -> tuple[Result, Result]:
    """Two results, or the evaluations of one run before its first step and after its last. UserError as
    `read_items`, or there is one place and it is no run."""
    if len(places) == 1:
        (place,) = places
        if not Layout(place).about.exists():
            raise UserError(
                f"{place} holds no run, so there is nothing to compare it with; name two results of `menon "
                "eval`"
            )
        return read_items(place, before=True), read_items(place)
    a, b = places
    return read_items(a), read_items(b)


def read_items(place: Path, before: bool = False, step: int | None = None) -> Result:
    """Of a result of `menon eval`, or of a run's last evaluation; with `before` of that before its first
    step, with `step` of that after this one. UserError: neither, or the run has no such evaluation."""
    if not Layout(place).about.exists():
        if place.is_dir():
            raise UserError(f"{place} is no run; compare takes results of `menon eval`, or run folders")
        return read_result(place)
    view = RunView.open(place)
    steps = [one for one in view.answers.steps if (one == 0) == before and step in (None, one)]
    if not steps:
        raise UserError(
            f"{place} was not evaluated before its first step; name two results of `menon eval`"
            if before
            else f"{place} was not evaluated after a step yet; wait for it, or use `menon eval {place}`"
        )
    settings = view.settings
    about = {
        name: setting(settings, name)
        for name in ("samples", "temperature", "top_p", "max_new_tokens", "template", "reward")
    }
    model = f"{view.name} before step 1" if before else f"{view.name} after step {steps[-1]}"
    rows = view.answers.rows(steps[-1], COLUMNS)
    # The held-out questions of a run are answered at temperature 1, whatever it trains at.
    return {"settings": about | {"model": model, "temperature": 1.0, "top_p": 1.0}}, [*map(item_of_row, rows)]


def item_of_row(row: Mapping[str, Any]) -> Item:
    """A question of a run's evaluation with its answer. Its key is a hash of prompt and gold answer."""
    text = repr((row["prompt"], row["answer"]))
    return Item(
        question=int(row["prompt_index"]),
        key=hashlib.blake2b(text.encode(errors="replace"), digest_size=8).hexdigest(),
        answer=row["answer"],
        acc=(float(row["acc"]),),
        score=(float(row["score"]),),
        stated=(None,),
        kind=(),
        length=(int(sum(row["is_action"])),),
        finish=(str(row["finish"]),),
    )
