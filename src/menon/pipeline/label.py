"""A stage that makes a judge's lessons of what was said of the answers of a run."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from menon.errors import UserError, at_least
from menon.pipeline.stage import REPORT, Here, Stage
from menon.prompts.template import find_template
from menon.record import disk
from menon.record.reader import RunView, StepFiles
from menon.reward.code.signatures import Asked
from menon.reward.judge import check_prompt, fill, triple_of
from menon.settings import setting

ROWS, CASES, PROMPT = "rows.jsonl", "cases.jsonl", "prompt.txt"
FRESH = "fresh"
"""The kind of a case from the last steps."""
READ = ["prompt", "answer", "completion", "acc"]
Labels = dict[tuple[str, str, str], bool]
"""(question, stated result, gold answer) -> whether they agree, by the newest label."""


@dataclass(frozen=True)
class Label(Stage):
    """What the reward of a run said of its answers, right or wrong, as rows for a judge to imitate: its
    prompt with the question, the result that the answer states and the gold answer, and YES or NO.

    The answers of the last steps are kept apart as cases, those that are in no row; and with them the answers
    to the run's held-out questions.
    """

    explored: str
    """The folder of the run."""
    prompt: str
    """What the judge is asked: a text with {question}, {final_step} and {reference}."""
    fresh: int = 3
    """Steps whose answers are kept apart, the last ones."""
    makes: ClassVar[str] = ROWS

    def __post_init__(self) -> None:
        at_least(1, "fresh", self.fresh)
        check_prompt(self.prompt, "the judge's prompt")

    def run(self, here: Here) -> None:
        """Writes rows.jsonl, report.json, and for `menon check judge` cases.jsonl and prompt.txt. UserError:
        all labels are the same, or no case is left."""
        learned, cases = self.labelled(RunView.open(self.explored))
        disk.write(here.folder / PROMPT, self.prompt.encode())
        disk.write(here.folder / CASES, b"".join(map(disk.json_line, cases)))
        rows = [{"question": fill(self.prompt, one), "answer": word(label)} for one, label in learned.items()]
        disk.write(here.folder / ROWS, b"".join(map(disk.json_line, rows)))
        yes = sum(learned.values()) / len(learned)
        fresh = sum(case["kind"] == FRESH for case in cases)
        summary = (
            f"{len(rows):,} labels, {yes:.3f} of them YES; {len(cases):,} answers are kept apart, {fresh:,} "
            "of them to questions of the run"
        )
        here.tell(summary)
        report = {"kept": len(rows), "yes": yes, "cases": len(cases), "summary": summary}
        disk.write_json(here.folder / REPORT, report)

    def labelled(self, view: RunView) -> tuple[Labels, list[dict[str, Any]]]:
        """Labels to learn, and cases that are not among them."""
        steps = view.transcripts.require()
        if len(steps) <= self.fresh:
            raise UserError(
                f"the run has {len(steps)} steps, and the last {self.fresh} are kept apart; give it more, or "
                "set fresh lower"
            )
        template = str(setting(view.settings, "template") or "none")
        learned = labels(view.transcripts, steps[: -self.fresh], template)
        check_labels(learned)
        later = {
            FRESH: labels(view.transcripts, steps[-self.fresh :], template),
            "held out": labels(view.answers, view.answers.steps, template),
        }
        cases = [
            case_of(triple, label, kind)
            for kind, found in later.items()
            for triple, label in found.items()
            if triple not in learned
        ]
        if not cases:
            raise UserError(
                "the last steps of the run hold no answer that it has not given before; set fresh higher"
            )
        return learned, cases

    def words(self) -> str:
        return f"labels of the answers of {self.explored}, those of its last {self.fresh} steps apart"


def labels(files: StepFiles, steps: list[int], template: str) -> Labels:
    """What the run said of its answers, of those that a judge would be asked about."""
    found: Labels = {}
    for row in (row for step in steps for row in files.rows(step, READ)):
        asked = Asked(question_in(row["prompt"], template), row["completion"], row["answer"])
        triple = triple_of(asked)
        if isinstance(triple, tuple) and row["acc"] is not None and not math.isnan(row["acc"]):
            found[triple] = row["acc"] == 1
    return found


def question_in(prompt: str, template: str) -> str:
    """The question in a prompt; the prompt itself where its template is a chat's."""
    text = find_template(template).text
    before, found, after = text.partition("{q}")
    if found and "{" not in before + after and prompt.startswith(before) and prompt.endswith(after):
        return prompt[len(before) : len(prompt) - len(after)]
    return prompt


def check_labels(found: Labels) -> None:
    """UserError unless there are labels of both kinds."""
    if not found:
        raise UserError("the run says of no answer whether it is right; explore with a reward that does")
    if len(set(found.values())) == 1:
        raise UserError(
            f"all {len(found):,} labels are {word(next(iter(found.values())))}, so a judge would learn one "
            "word; let another policy explore, or other questions"
        )


def word(label: bool) -> str:
    return "YES" if label else "NO"


def case_of(triple: tuple[str, str, str], label: bool, kind: str) -> dict[str, Any]:
    """A line for `menon check judge`."""
    question, step, gold = triple
    return {"question": question, "gold": gold, "response": step, "expected": label, "kind": kind}
