"""A prompt with worked examples before the question: chain-of-thought prompting (Wei et al., arXiv
2201.11903)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from menon.errors import UserError
from menon.prompts.reader import Row, behind_marks, last_boxed, read_rows
from menon.prompts.template import Template, fill
from menon.streams import stream

MOST = 8
"""Most examples of a prompt."""
REASONING = ("solution", "reasoning", "rationale")
"""Columns of the working of an example, the best first."""
STATED = "The answer is {}."
"""How an example ends whose working does not state the answer."""


@dataclass(frozen=True)
class FewShot:
    """What stands before the question: an instruction, a rationale, and examples as the template asks and
    answers them, each followed by an empty line.

    >>> FewShot(instruction="Add.", examples=(("1+2=", "\\n1+2=3\\n#3"),)).before(Template("{q}"))
    'Add.\\n\\n1+2=\\n1+2=3\\n#3\\n\\n'
    """

    shots: int = 0
    """How many examples, 0 to 8. Their questions are not asked."""
    file: str | None = None
    """File of the examples, its first rows. Without it they are rows of the run's own data."""
    instruction: str = ""
    """The problem and the form of its answer, in front of everything."""
    rationale: str = ""
    """How to think, after the instruction."""
    examples: tuple[tuple[str, str], ...] = ()
    """Pairs of a question and a worked answer. A run writes those that it has chosen here."""

    def __post_init__(self) -> None:
        if not 0 <= self.shots <= MOST or len(self.examples) > MOST:
            raise UserError(
                f"shots is {max(self.shots, len(self.examples))}; a prompt has 0 to {MOST} worked examples"
            )
        if self.file is not None and not self.shots:
            raise UserError("few_shot.file has examples and shots is 0; set shots to 1 or more")

    @property
    def open(self) -> bool:
        """Whether examples are still to be chosen."""
        return len(self.examples) < self.shots

    @property
    def empty(self) -> bool:
        return not (self.shots or self.examples or self.instruction or self.rationale)

    def before(self, form: Template) -> str:
        """The text in front of a question that is asked by this template."""
        if form.fields != ("q",) and self.examples:
            raise UserError(
                f"this template puts in {', '.join(form.fields)}, which worked examples do not have; take a "
                "template with {q} alone, or shots=0"
            )
        told = [joined(fill(form, {"question": question}), answer) for question, answer in self.examples]
        said = [part for part in (self.instruction, self.rationale) if part]
        return "".join(f"{part}\n\n" for part in (*said, *told))

    def chosen(self, rows: Sequence[Row] | None, seed: int) -> "FewShot":
        """The same with its examples: the first rows of its file, or some of these rows, drawn by the seed.
        UserError where there are too few."""
        if not self.open:
            return self
        if self.file is not None:
            found, _ = read_rows(self.file)
            rows = found
        elif rows is None:
            raise UserError(f"shots={self.shots} needs examples; name their file with few_shot.file=FILE")
        else:
            order = stream(seed, "few_shot").permutation(len(rows))
            rows = [rows[place] for place in order]
        made = {str(row["question"]): worked(row) for row in rows if working_of(row)}
        if len(made) < self.shots:
            raise UserError(
                f"shots={self.shots} needs rows with their working in a column {', '.join(REASONING)}, and "
                f"{self.file or 'the data'} has {len(made)}; add some, or lower shots"
            )
        return replace(self, examples=tuple(made.items())[: self.shots])

    def without(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose question is no example."""
        shown = {question for question, _ in self.examples}
        return [row for row in rows if str(row["question"]) not in shown]


def joined(question: str, answer: str) -> str:
    """An answer after its question, with a space where neither brings one."""
    return question + ("" if question[-1:].isspace() or answer[:1].isspace() else " ") + answer


def working_of(row: Mapping[str, Any]) -> str:
    """The working of a row; "" where it has none."""
    if not isinstance(row["question"], str):
        return ""
    texts = (row.get(name) for name in REASONING)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def worked(row: Mapping[str, Any]) -> str:
    """The working and the answer of a row."""
    text, answer = working_of(row), row.get("answer")
    if answer is not None and answer not in (behind_marks(text), last_boxed(text)):
        text = f"{text.rstrip()} {STATED.format(answer)}"
    return text
