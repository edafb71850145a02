"""A stage that sets a policy's own answers beside the preferred ones of given pairs."""

from dataclasses import dataclass
from typing import ClassVar

from menon.errors import UserError
from menon.pipeline.join import usable
from menon.pipeline.stage import REPORT, Here, Stage
from menon.record import disk


@dataclass(frozen=True)
class OwnPairs(Stage):
    """Given pairs, and more to the same prompts: the preferred answer, and one that a policy wrote, which is
    taken to be worse (the pairs of SPIN, arXiv 2401.01335). A reward model that has learned from given
    answers alone says nothing reliable about others, and RL leads to those that it likes by chance."""

    given: str
    """Pairs: a file, or stage:NAME."""
    written: str
    """Rows of a stage that writes answers to their prompts, with the preferred answer as gold answer
    (columns.answer=chosen)."""
    makes: ClassVar[str] = "rows.jsonl"

    def run(self, here: Here) -> None:
        """Writes rows.jsonl and report.json. UserError: a row without a gold answer, or only own answers that
        are the preferred ones."""
        given, written = usable(self.given), usable(self.written)
        if any(row.get("gold") is None for row in written):
            raise UserError(
                f"{self.written} has an answer without a preferred one beside it; let the stage that writes "
                "ask the prompts of the pairs, with columns.answer=chosen"
            )
        own = [row for row in written if row["answer"].strip() != row["gold"].strip()]
        if not own:
            raise UserError(
                f"all {len(written):,} answers of {self.written} are the preferred ones, so there is nothing "
                "to add to the pairs; leave this stage out"
            )
        rows = [{**row, "from": "given"} for row in given] + [
            {"prompt": row["question"], "chosen": row["gold"], "rejected": row["answer"], "from": "own"}
            for row in own
        ]
        equal = len(written) - len(own)
        summary = (
            f"{len(given):,} given pairs and {len(own):,} with an own answer; {equal:,} own answers are the "
            "preferred ones"
        )
        disk.write(here.folder / self.makes, b"".join(map(disk.json_line, rows)))
        counts = {"given": len(given), "own": len(own), "equal": equal}
        disk.write_json(here.folder / REPORT, {"rows": counts, "kept": len(rows), "summary": summary})
        here.tell(summary)

    def words(self) -> str:
        return f"the pairs of {self.given}, and own answers of {self.written} beside their preferred ones"
