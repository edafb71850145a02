"""Given text to examples: template, tokens, and which of them are learned."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from menon.errors import Fault, OnBad, UserError, first_line, refuse_rows
from menon.foreign import Marker, with_marks
from menon.prompts.given import Given, GivenRow, Learned, Messages, as_messages
from menon.prompts.render import Chat, Tokenize, begin, tools_of
from menon.prompts.sources import BadRow
from menon.prompts.template import CHAT, NONE, TEMPLATES, Template, fill
from menon.types import Example, Tokens

GoOn = Callable[[str, Sequence[int] | Tokens], Sequence[int]]
"""(text, the tokens before it) -> the tokens of the text."""
Piece = tuple[str, bool]
"""Text, and whether it is learned."""


@dataclass(frozen=True)
class Encoder:
    """How given text becomes the tokens that a model reads and learns."""

    template: Template
    tokenize: Tokenize
    go_on: GoOn
    chat: Chat | None
    ends: Collection[int]
    """The tokens that end an answer, the one that is put after plain text first."""
    learn: Learned = "answers"
    mark: Marker = str
    """Marks what spells special tokens in the row; with template=none a row spells them as it likes."""
    teacher_of: Callable[[Mapping[str, Any]], int] = lambda row: 0
    """Columns of a row -> the number of its teacher. BadRow: the row names none."""

    def __call__(self, given: Given, place: int) -> Example:
        """The example of one text. BadRow: the chat template or the tokenizer cannot take it, or nothing of
        it is learned."""
        ids: list[int] = []
        learned: list[bool] = []
        for text, is_answer in self.pieces(given, place):
            new = list(
                self.go_on(text, ids) if ids else self.tokenize(text, special=not self.template.as_turn)
            )
            kept = self.until_end(new) if is_answer else 0
            ids += new
            learned += [True] * kept + [False] * (len(new) - kept)
        if not self.template.as_turn or (learned[-1:] == [True] and ids[-1] not in self.ends):
            ids.append(next(iter(self.ends)))
            learned.append(True)
        if self.learn == "everything":
            learned = [True] * len(ids)
        learned[:1] = [False] * len(ids[:1])  # no token comes before it, so nothing predicts it
        if not any(learned):
            raise BadRow("holds nothing to learn")
        teacher = self.teacher_of(given.row)
        return Example(np.asarray(ids, dtype=np.int32), np.asarray(learned), teacher=teacher)

    def until_end(self, ids: Sequence[int]) -> int:
        """The number of tokens up to the first that ends an answer; the model never writes what
        a chat template puts after it."""
        return next((index + 1 for index, token in enumerate(ids) if token in self.ends), len(ids))

    def pieces(self, given: Given, place: int) -> Iterator[Piece]:
        """The text in pieces that are tokenised one after the other, as when the model wrote the answers."""
        if self.template != TEMPLATES[NONE]:
            given = self.marked(given)
        if self.template.as_turn:
            found = list(self.turns(*self.messages(given, place), given))
            last = max((index for index, (_, learned) in enumerate(found) if learned), default=-1)
            only_last = self.learn == "last_answer"
            yield from (
                (text, learned and (not only_last or i == last)) for i, (text, learned) in enumerate(found)
            )
            return
        if isinstance(given.question, list) or isinstance(given.answer, list):
            raise UserError(
                f"row {place + 1} ({begin(given.question or given.answer)}) holds chat messages, which need "
                f"template={CHAT}"
            )
        if given.question:
            yield fill(self.template, {**given.row, "question": given.question}), False
        yield given.answer, True

    def marked(self, given: Given) -> Given:
        question, answer, row = (with_marks(x, self.mark) for x in (given.question, given.answer, given.row))
        return replace(given, question=question, answer=answer, row=row)

    def messages(self, given: Given, place: int) -> tuple[Messages, int]:
        """The whole conversation, and the number of messages at its beginning that are not learned."""
        question, answer = given.question, given.answer
        if isinstance(question, str):
            turns = as_messages(question)
            if turns is None or self.template != TEMPLATES[CHAT]:
                text = fill(self.template, {**given.row, "question": question})
                turns = [{"role": "user", "content": text}] if question else []
            question = turns
        if isinstance(answer, str):
            answer = [
                {"role": "assistant", "content": answer.strip() if as_messages(answer) is None else answer}
            ]
        return [*question, *answer], len(question)

    def turns(self, messages: Messages, given: int, row: Given) -> Iterator[Piece]:
        """Between the answers the text that leads to the next one. Where a template shortens earlier turns
        once a later one follows (it drops their thoughts), only the answers after that are learned."""
        if self.chat is None:
            raise UserError("the tokenizer has no chat template; take another template")
        tools, written = tools_of(row.row), ""
        pieces: list[Piece] = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant" or index < given:
                continue
            before, after = self.chat(messages[:index], tools), self.chat(messages[: index + 1], tools, True)
            if not after.startswith(before):
                raise BadRow("is written by the chat template otherwise than the template asks for an answer")
            if not before.startswith(written):
                pieces, written = [], ""
            pieces += [(before.removeprefix(written), False), (after.removeprefix(before), True)]
            written = after
        yield from (piece for piece in pieces if piece[0])


@dataclass(frozen=True)
class Encoded:
    """Examples in the order of their rows: one, or the preferred and the other of a pair."""

    rows: list[tuple[Example, ...]]
    left_out: Counter[str]
    """Rows that are left out, by reason."""
    cut: int
    """Rows whose end was cut off."""


def encode(
    rows: Sequence[GivenRow], encoder: Encoder, longest: int, cut: bool = False, on_bad: OnBad = "stop"
) -> Encoded:
    """The examples of all rows; their group is the place of the first row with their question. Rows of more
    than `longest` tokens are cut, so that they do not teach where an answer ends, or left out. UserError: a
    row that cannot be read, unless those are to be skipped, or no row that is left."""
    found: list[tuple[Example, ...]] = []
    faults: list[Fault] = []
    left_out: Counter[str] = Counter()
    shortened = 0
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        group = first.setdefault(row.question, place)
        try:
            texts = [replace(read_one(encoder, text, place), group=group) for text in row.texts]
        except BadRow as fault:
            about = begin(row.texts[0].question or row.texts[0].answer)
            faults.append(Fault(f"row {place + 1}", str(fault), about))
            continue
        too_long = any(len(text.tokens) > longest for text in texts)
        texts = [until(text, longest) for text in texts]
        if too_long and not (cut and all(text.is_action.any() for text in texts)):
            left_out[f"longer than {longest} tokens"] += 1
            continue
        shortened += too_long
        found.append(marked(texts, row.wanted))
    if faults and (on_bad == "stop" or not found):
        refuse_rows("the rows", faults, total=len(rows))
    if not found:
        raise UserError(
            f"all {len(rows)} rows are longer than {longest} tokens; raise max_tokens, or take a model "
            "with a longer context"
        )
    left_out["unreadable"] += len(faults)
    return Encoded(found, +left_out, shortened)


def read_one(encoder: Encoder, text: Given, place: int) -> Example:
    try:
        return encoder(text, place)
    except (UserError, BadRow, MemoryError):
        raise
    except KeyError as missing:
        raise BadRow(f"has no column {missing}, which the template puts in") from None
    except Exception as error:  # a chat template is a program that raises what it likes
        raise BadRow(f"cannot be read by the template or the tokenizer ({first_line(error)})") from error


def until(example: Example, longest: int) -> Example:
    return replace(example, tokens=example.tokens[:longest], is_action=example.is_action[:longest])


def marked(texts: Sequence[Example], wanted: bool | None) -> tuple[Example, ...]:
    """The texts of a row with their marks: acc and score 1 for the preferred or wanted one, 0 for the
    other."""
    marks = [1.0, 0.0] if len(texts) == 2 else [float("nan") if wanted is None else float(wanted)]
    return tuple(
        replace(text, score=0.0 if mark != mark else mark, acc=mark)
        for text, mark in zip(texts, marks, strict=True)
    )
