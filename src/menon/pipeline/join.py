"""A stage that puts rows of several files into one."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from menon.errors import UserError, at_least
from menon.pipeline.stage import REPORT, Here, Stage
from menon.prompts.sources import BadRow, raw_rows
from menon.record import disk


@dataclass(frozen=True)
class Join(Stage):
    """Rows of several files in one, drawn at random where a number says how many. The rows stay as they are,
    with the name of their file in the column `from`."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Name -> a file of rows, or stage:NAME."""
    most: Mapping[str, int] = field(default_factory=dict)
    """Name -> most rows of that file; without a number all."""
    makes: ClassVar[str] = "rows.jsonl"

    def __post_init__(self) -> None:
        for name, number in self.most.items():
            at_least(1, f"most.{name}", number)
            if name not in self.files:
                raise UserError(f"most names '{name}', which is none of the files {', '.join(self.files)}")

    def run(self, here: Here) -> None:
        rows: list[dict[str, Any]] = []
        counts: dict[str, int] = {}
        for name, file in self.files.items():
            found = usable(file)
            chosen = drawn(found, self.most.get(name), f"join {name} {here.seed}")
            rows += [{**row, "from": name} for row in chosen]
            counts[name] = len(chosen)
        summary = " + ".join(f"{count:,} {name}" for name, count in counts.items()) + " rows"
        disk.write(here.folder / self.makes, b"".join(map(disk.json_line, rows)))
        disk.write_json(here.folder / REPORT, {"rows": counts, "kept": len(rows), "summary": summary})
        here.tell(summary)

    def words(self) -> str:
        return "one file of " + " and ".join(
            f"{f'{self.most[name]:,}' if name in self.most else 'all'} rows of {file}"
            for name, file in self.files.items()
        )


def usable(file: str) -> list[dict[str, Any]]:
    """The rows of a file. UserError: a row cannot be read, or there is none."""
    rows = []
    for place, row in raw_rows(file):
        if isinstance(row, BadRow):
            raise UserError(f"{file}, {place}: {row}")
        if not isinstance(row, dict):
            raise UserError(f"{file}, {place}: it is no object with columns")
        rows.append(row)
    if not rows:
        raise UserError(f"{file} is empty; give it rows to learn from")
    return rows


def drawn(rows: list[dict[str, Any]], most: int | None, name: str) -> list[dict[str, Any]]:
    """At most so many rows, drawn at random, in their order."""
    if most is None or most >= len(rows):
        return rows
    return [rows[place] for place in sorted(random.Random(name).sample(range(len(rows)), most))]
