"""A stage that makes the data of the small R1 (`menon.base.lessons`)."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from menon.base import lessons
from menon.errors import UserError, at_least
from menon.pipeline.stage import REPORT, Here, Stage
from menon.record import disk


@dataclass(frozen=True)
class Lessons(Stage):
    """Writes, by a program: sums worked in a format (worked.jsonl), sums to answer (reasoning.jsonl), the
    same beside remarks (questions.jsonl), remarks with replies (replies.jsonl) and with pairs of replies
    (pairs.jsonl), and questions of both kinds that no other file has (heldout.jsonl)."""

    worked: int = 2000
    """Sums that are worked out."""
    asked: int = 6000
    """Other sums, which are only asked."""
    replied: int = 600
    """Remarks with a reply."""
    compared: int = 1500
    """Remarks with two replies, a better and a worse one."""
    heldout: tuple[int, int] = (200, 100)
    """Held-out sums and remarks."""
    chinese: float = 0.3
    """Share of the worked sums that are not in the target language."""
    makes: ClassVar[str] = "questions.jsonl"

    def __post_init__(self) -> None:
        for name in ("worked", "asked", "replied", "compared"):
            at_least(1, name, getattr(self, name))
        if not 0 <= self.chinese <= 1:
            raise UserError(f"chinese is {self.chinese:g}; it is a share of the worked sums, 0 to 1")

    def run(self, here: Here) -> None:
        files = self.files(here.seed)
        for name, rows in files.items():
            disk.write(here.folder / f"{name}.jsonl", b"".join(disk.json_line(dict(row)) for row in rows))
        counts = {name: len(rows) for name, rows in files.items()}
        summary = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        disk.write_json(here.folder / REPORT, {"rows": counts, "summary": summary})
        here.tell(summary)

    def files(self, seed: int) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The rows of each file, the same for the same seed. The held-out rows do not depend on it."""
        rng = random.Random(f"lessons {seed}")
        sums = lessons.sums("train", self.worked + self.asked, seed)
        to_work, to_ask = sums[: self.worked], sums[self.worked :]
        said = lessons.remarks("train", max(self.asked, self.replied, self.compared), seed)
        held_out = [
            row
            for part, n in zip((lessons.sums, lessons.remarks), self.heldout, strict=True)
            for row in part("heldout", n, 0)
        ]
        random.Random("heldout").shuffle(held_out)  # so that the first ones are of both kinds too
        return {
            "worked": [lessons.worked(row, self.chinese, rng) for row in to_work],
            "reasoning": to_ask,
            "questions": lessons.turns(to_ask, said),
            "replies": [lessons.replied(row, rng) for row in said[: self.replied]],
            "pairs": [lessons.compared(row, rng) for row in said[: self.compared]],
            "heldout": held_out,
        }

    def words(self) -> str:
        return f"a program writes {self.worked:,} worked sums, {self.compared:,} pairs of replies and more"
