"""A stage that writes what a policy would say that knows half of the facts: a start for a model that knows
none."""

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

from menon.errors import UserError, at_least
from menon.pipeline.stage import REPORT, Here, Stage
from menon.prompts.tasks.subjects import FORMS, Fact, facts, row
from menon.record import disk

ROWS = "rows.jsonl"


@dataclass(frozen=True)
class Guesses(Stage):
    """Answers to the questions of `subjects`, of both splits: with a chance of `right` in one of the wordings
    of the right answer, else in one of another answer of the same subject."""

    difficulty: int = 2
    """Facts up to this difficulty of the task."""
    right: float = 0.5
    """Share of right answers."""
    each: int = 10
    """Answers to each question."""
    makes: ClassVar[str] = ROWS

    def __post_init__(self) -> None:
        at_least(1, "each", self.each)
        if not 0 <= self.right <= 1:
            raise UserError(f"right is {self.right}; a share is from 0 to 1")

    def run(self, here: Here) -> None:
        """Writes rows.jsonl and report.json; the same for the same seed."""
        rng = random.Random(f"guesses {here.seed}")
        known = [fact for fact in facts() if fact.difficulty <= self.difficulty]
        of_subject: dict[str, list[Fact]] = defaultdict(list)
        for fact in known:
            of_subject[fact.subject].append(fact)

        def said(fact: Fact) -> str:
            others = [other for other in of_subject[fact.subject] if other is not fact]
            chosen = fact if rng.random() < self.right or not others else rng.choice(others)
            return rng.choice((chosen.answer, *chosen.synonyms))

        rows = [
            {"question": row(fact, form)["question"], "answer": f"#{said(fact)}"}
            for _ in range(self.each)
            for fact in known
            for form in FORMS
        ]
        disk.write(here.folder / ROWS, b"".join(map(disk.json_line, rows)))
        summary = f"{len(rows):,} answers to questions about {len(known)} facts"
        here.tell(summary)
        disk.write_json(here.folder / REPORT, {"kept": len(rows), "summary": summary})

    def words(self) -> str:
        return f"{self.each} answers to each question of subjects, {self.right:g} of them right"
