"""Text to learn from as it stands: examples to imitate, preference pairs, answers with a label.

The columns of the common data sets are known by their names:

| form | columns |
|---|---|
| answers | `messages`; a question and one of `completion`, `response`, `solution`, `answer`; or `text` |
| pairs | `chosen` and `rejected`, with `prompt` or with the prompt as their common beginning |
| labelled | as answers, and `label`: true for an answer that is wanted |

Pairs may also be `response_0` and `response_1`, with a column that says which is preferred, as in SafeRLHF
(`prompts/safety.py`).

A question is `prompt`, `question` or `problem`. Questions and answers may be text or chat messages. A
transcript in which each turn begins with `Human:` or `Assistant:`, as in HH-RLHF, is read as messages where
the run uses a chat template.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from menon.errors import Fault, OnBad, UserError, at_least, refuse_rows
from menon.prompts.reader import QUESTIONS, at, check_text, reaches
from menon.prompts.safety import (
    DROPPED,
    NUMBERED,
    Drop,
    are_safe,
    check_drop,
    in_order,
    is_numbered,
    reason_to_drop,
)
from menon.prompts.sources import BadRow, raw_rows

Form = Literal["answers", "pairs", "labelled"]
NAMES: dict[Form, str] = {"answers": "examples", "pairs": "pairs", "labelled": "labelled answers"}
"""What the rows of each form are called."""
Negatives = Literal["none", "reference", "chains"]
Learned = Literal["answers", "last_answer", "everything"]
Messages = list[dict[str, Any]]

ANSWERS = ("completion", "response", "solution", "answer")
"""Columns of an answer to imitate, the best first."""
UNUSABLE = "rows that cannot be used"
"""What those with a fault are counted as."""
TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
ROLES = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True)
class GivenColumns:
    """The columns of given text, if their names do not say so. A dot names a field within a column."""

    question: str | None = None
    """Column of what is asked."""
    answer: str | None = None
    """Column of the answer that is learned."""
    chosen: str | None = None
    """Column of the preferred answer of a pair."""
    rejected: str | None = None
    """Column of the other answer of a pair."""
    label: str | None = None
    """Column that says whether an answer is wanted: true or false, 1 or 0."""
    preferred: str | None = None
    """Column that says which of `response_0` and `response_1` is preferred."""
    chosen_safe: str | None = None
    """Column that says whether the preferred answer is safe, for `drop`."""
    rejected_safe: str | None = None
    """The same of the other answer."""


@dataclass(frozen=True)
class GivenText:
    """Text that a run learns from as it stands, in place of answers that the policy writes."""

    data: str | None = None
    """Examples or pairs: a file or folder, or hub:NAME. Files and folders are those of `source.data`."""
    form: Form = "answers"
    """What a row holds. answers: one to imitate; pairs: a preferred answer and another; labelled: one that is
    wanted or not."""
    heldout_data: str | None = None
    """Rows that are measured and not learned; without it a tenth of `data`."""
    columns: GivenColumns = field(default_factory=GivenColumns)
    """Which columns of `data` hold what, where their names do not say so."""
    heldout: int = 200
    """Most held-out rows."""
    heldout_seed: int = 0
    """Seed that chooses the held-out rows."""
    rows_per_step: int = 32
    """Rows that a step learns from."""
    written_share: float = 0.0
    """Share of the steps that learn from what the policy writes. It answers the questions of `source` or, if
    that names none, those of the rows."""
    negatives: Negatives = "none"
    """Answers that are written beside the given ones, one to each. reference: new ones of the reference;
    chains: draws by the policy's score, by Markov chains that begin at the given answers and go on whenever
    their rows come again."""
    moves: int = 4
    """Moves of a chain before each step that learns from it."""
    train_on_prompt: bool = False
    """Learn the whole text, not only the answers."""
    last_turn_only: bool = False
    """Learn only the last answer of a conversation."""
    max_tokens: int | None = None
    """Most tokens of a row; null: as many as the context holds. Those of its question count."""
    truncate: bool = False
    """Cut the end off rows that are longer; false: leave them out."""
    on_bad: OnBad = "stop"
    """Rows that cannot be used: do not start, or leave them out."""
    drop: tuple[Drop, ...] = ()
    """What is left out of preference data by the safety of its answers. unsafe: with form=answers, each
    answer of a pair that is unsafe, so that the safe ones are learned; both_unsafe, both_safe: pairs of two
    such answers."""

    def __post_init__(self) -> None:
        check_drop(self.drop, self.form)
        at_least(1, "heldout", self.heldout)
        at_least(0, "heldout_seed", self.heldout_seed)
        at_least(1, "rows_per_step", self.rows_per_step)
        at_least(1, "moves", self.moves)
        if self.max_tokens is not None:
            at_least(2, "max_tokens", self.max_tokens)
        if self.train_on_prompt and self.last_turn_only:
            raise UserError(
                "train_on_prompt learns the whole text and last_turn_only a part of it; set one of them"
            )
        if not 0 <= self.written_share <= 1:
            raise UserError(f"written_share is {self.written_share:g}; it is a share of the steps, 0 to 1")
        if self.written_share and self.form != "answers":
            raise UserError(
                f"written_share mixes answers of the policy with given ones, and these rows are "
                f"{NAMES[self.form]}; set rows.form=answers, or leave it out"
            )
        if self.truncate and self.form != "answers":
            raise UserError("truncate cuts the ends that pairs and labels are about; leave it out")
        if self.negatives != "none" and (
            self.form != "answers" or self.truncate or self.train_on_prompt or self.written_share
        ):
            raise UserError(
                f"negatives={self.negatives} puts another answer beside each whole given one; set "
                "rows.form=answers, and leave truncate, train_on_prompt and written_share out"
            )

    @property
    def paired(self) -> bool:
        """Whether a step learns from pairs: of the file, or of given and written answers."""
        return self.form == "pairs" or self.negatives != "none"

    @property
    def step(self) -> str:
        """What a step learns from, in words."""
        beside = "" if self.negatives == "none" else ", each beside a written answer"
        return f"{self.rows_per_step:,} {NAMES[self.form]}{beside}"

    @property
    def learned(self) -> Learned:
        return "everything" if self.train_on_prompt else "last_answer" if self.last_turn_only else "answers"


@dataclass(frozen=True)
class Given:
    """One text: what is read, and what is learned after it."""

    question: str | Messages
    """"": the whole text is learned."""
    answer: str | Messages
    row: Mapping[str, Any]
    """The row's own columns, for templates that put them in."""


@dataclass(frozen=True)
class GivenRow:
    """What one row of a file holds: one text, or the preferred and the other of a pair."""

    texts: tuple[Given, ...]
    wanted: bool | None = None
    """The label of a labelled answer."""

    @property
    def question(self) -> str:
        """What the row asks, for comparisons; of a whole conversation or text, all of it."""
        return repr(self.texts[0].question or self.texts[0].answer)


def read_given(
    source: str,
    form: Form,
    columns: GivenColumns = GivenColumns(),
    on_bad: OnBad = "stop",
    drop: Sequence[Drop] = (),
) -> tuple[list[GivenRow], Counter[str]]:
    """The rows of a data set (`sources.raw_rows` says what it may be), and what is left out by reason.

    UserError: no such source, nothing usable in it, or bad rows that were not to be skipped.
    """
    rows: list[GivenRow] = []
    faults: list[Fault] = []
    left_out: Counter[str] = Counter()
    for place, raw in raw_rows(source):
        try:
            if isinstance(raw, BadRow):
                raise raw
            if not isinstance(raw, dict):
                raise BadRow("it is no object with columns")
            found, dropped = read_row(raw, form, columns, drop)
        except BadRow as fault:
            faults.append(Fault(place, str(fault)))
            continue
        rows += found
        left_out.update(DROPPED[why] for why in dropped)
    if not rows and not faults:
        raise UserError(
            f"drop leaves out all of {source} ({counted(left_out)}); take other rows, or leave drop out"
            if left_out
            else f"{source} is empty; give it rows to learn from"
        )
    if faults and (on_bad == "stop" or not rows):
        refuse_rows(str(source), faults, total=len(rows) + len(faults))
    if form == "labelled" and len({row.wanted for row in rows}) == 1:
        only = str(rows[0].wanted).lower()
        raise UserError(f"every label of {source} is {only}; labelled answers need some of both kinds")
    left_out[UNUSABLE] += len(faults)
    return rows, +left_out


def counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())


def read_row(
    raw: Mapping[str, Any], form: Form, columns: GivenColumns, drop: Sequence[Drop]
) -> tuple[list[GivenRow], list[Drop]]:
    """What one row holds, and why something of it is left out."""
    if form == "labelled":
        return [read_labelled(raw, columns)], []
    if form == "answers" and not drop:
        return [read_answer(raw, columns)], []
    any_order = form == "answers" and is_numbered(raw)
    names = NUMBERED if any_order else names_of_pair(raw, columns)
    row = read_pair(raw, columns, names)
    if not drop:
        return [row], []
    safe = are_safe(raw, names, (columns.chosen_safe, columns.rejected_safe))
    if form == "answers":
        kept = [GivenRow((text,)) for text, good in zip(row.texts, safe, strict=True) if good]
        return kept, ["unsafe"] * (2 - len(kept))
    why = reason_to_drop(safe, drop)
    return ([row], []) if why is None else ([], [why])


def read_answer(raw: Mapping[str, Any], columns: GivenColumns) -> GivenRow:
    if columns.question is None and columns.answer is None:
        if isinstance(raw.get("messages"), list):
            return GivenRow((Given([], conversation("messages", raw["messages"]), raw),))
        if "text" in raw and not any(name in raw for name in QUESTIONS):
            return GivenRow((Given("", filled_text("text", raw["text"]), raw),))
    question = columns.question or first_of(raw, QUESTIONS, "question")
    answer = columns.answer or first_of(raw, ANSWERS, "answer")
    asked = part(question, value_of(raw, question, "question"))
    return GivenRow((Given(asked, part(answer, value_of(raw, answer, "answer")), raw),))


def read_labelled(raw: Mapping[str, Any], columns: GivenColumns) -> GivenRow:
    name = columns.label or first_of(raw, ("label",), "label")
    label = value_of(raw, name, "label")
    if label not in (True, False):  # 1 and 0 are equal to them
        raise BadRow(f"'{name}' is {label!r}; a label is true or false")
    return GivenRow(read_answer(raw, columns).texts, bool(label))


def names_of_pair(raw: Mapping[str, Any], columns: GivenColumns) -> tuple[str, str]:
    """The columns of the preferred answer and of the other."""
    if columns.chosen is None and columns.rejected is None and "chosen" not in raw and is_numbered(raw):
        return in_order(raw, columns.preferred)
    return (
        columns.chosen or first_of(raw, ("chosen",), "chosen"),
        columns.rejected or first_of(raw, ("rejected",), "rejected"),
    )


def read_pair(raw: Mapping[str, Any], columns: GivenColumns, names: tuple[str, str]) -> GivenRow:
    chosen, rejected = (
        part(name, value_of(raw, name, what))
        for name, what in zip(names, ("chosen", "rejected"), strict=True)
    )
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise BadRow(f"'{names[0]}' and '{names[1]}' are text and chat messages; make them alike")
    asked = next((name for name in (columns.question, *QUESTIONS) if name and reaches(raw, name)), None)
    if asked is None:
        question, chosen, rejected = apart(chosen, rejected)
    else:
        question = part(asked, value_of(raw, asked, "question"))
        chosen, rejected = (without(question, answer) for answer in (chosen, rejected))
    if chosen == rejected:
        raise BadRow("the two answers of the pair are the same")
    for name, answer in zip(names, (chosen, rejected), strict=True):
        if not answer or (isinstance(answer, str) and not answer.strip()):
            raise BadRow(f"'{name}' holds no answer after the prompt")
    return GivenRow((Given(question, chosen, raw), Given(question, rejected, raw)))


# Where the prompt of a pair ends


def without(question: str | Messages, answer: str | Messages) -> Any:
    """The answer without the prompt, where the column repeats it. BadRow: it repeats another prompt."""
    if isinstance(answer, str):
        if isinstance(question, str) and question and answer.startswith(question):
            return answer.removeprefix(question)
        return answer
    if isinstance(question, list) and answer[: len(question)] == question:
        return answer[len(question) :]
    if isinstance(question, str) and len(answer) > 1 and answer[0].get("content") == question:
        return answer[1:]
    if any(message["role"] != "assistant" for message in answer[:1]):
        raise BadRow("an answer does not begin with the row's prompt; leave the prompt out of it")
    return answer


def apart(chosen: Any, rejected: Any) -> tuple[Any, Any, Any]:
    """The common beginning of two whole texts, and what follows in each. The prompt of a transcript ends at
    the last `Assistant:` that both have; chat messages differ from some message on."""
    if isinstance(chosen, list):
        same = 0
        while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
            same += 1
        if not same:
            raise BadRow("'chosen' and 'rejected' begin with different messages; a pair answers one prompt")
        return chosen[:same], chosen[same:], rejected[same:]
    ends = [turn.end() for turn in TURN.finditer(chosen) if turn[1] == "Assistant"]
    shared = [end for end in ends if rejected[:end].rstrip(" ") == chosen[:end].rstrip(" ")]
    if not shared:
        raise BadRow("there is no prompt, and 'chosen' and 'rejected' are no transcripts of the same turns")
    end = len(chosen[: shared[-1]].rstrip(" "))
    return chosen[:end], chosen[end:], rejected[end:]


# Columns


def value_of(raw: Mapping[str, Any], name: str, what: str) -> Any:
    try:
        return at(raw, name)
    except KeyError:
        raise BadRow(f"no column '{name}' for columns.{what} ({there_are(raw)})") from None


def there_are(raw: Mapping[str, Any]) -> str:
    names = [repr(name) for name, value in raw.items() if value is not None]
    return (
        f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}" if names else "the object is empty"
    )


def first_of(raw: Mapping[str, Any], names: Sequence[str], what: str) -> str:
    """The first of these columns that the row fills."""
    found = [name for name in names if raw.get(name) is not None]
    if not found:
        raise BadRow(f"no {what} column ({there_are(raw)}); set columns.{what}=NAME")
    return found[0]


def part(name: str, value: Any) -> str | Messages:
    return conversation(name, value) if isinstance(value, list) else filled_text(name, value)


def filled_text(name: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadRow(f"'{name}' is {type(value).__name__}, not text or chat messages")
    return check_text(name, value)


def conversation(name: str, messages: Sequence[Any]) -> Messages:
    """Chat messages; fields that a table filled with null are left out."""
    good = all(isinstance(m, Mapping) and isinstance(m.get("role"), str) for m in messages)
    if not messages or not good:
        raise BadRow(f"'{name}' is a list, but not of chat messages with 'role' and 'content'")
    return [{field: value for field, value in m.items() if value is not None} for m in messages]


# Transcripts


def as_messages(text: str) -> Messages | None:
    """The messages of a transcript whose turns begin with `Human:` and `Assistant:`; None for other text. A
    last turn without text is where the answer begins, and is left out."""
    turns = list(TURN.finditer(text))
    if not turns or text[: turns[0].start()].strip():
        return None
    ends = [turn.start() for turn in turns[1:]] + [len(text)]
    messages: Messages = [
        {"role": ROLES[turn[1]], "content": text[turn.end() : end].strip()}
        for turn, end in zip(turns, ends, strict=True)
    ]
    if messages[-1] == {"role": "assistant", "content": ""}:
        messages.pop()
    return messages
