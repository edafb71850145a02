"""Answers that the policy writes in some steps of a run on given text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from menon.assembly.answer_length import length_for
from menon.assembly.build import online_of, with_tokenizer
from menon.assembly.placement import Placed
from menon.assembly.questions import prompts_to_train, questions, stop_of, task_asked
from menon.assembly.teachers import by_column, with_teachers
from menon.config import Models, OnlineSource
from menon.errors import UserError
from menon.parts import Around
from menon.prompts.given import Given, GivenRow, GivenText
from menon.prompts.reader import Row
from menon.reward.grade import Grading
from menon.reward.ungraded import Ungraded
from menon.rollout.protocols import Grade
from menon.source.mixed import Mixed
from menon.source.protocols import Source
from menon.source.queued import Queued


def with_written(
    given: Source,
    texts: Sequence[GivenRow],
    rows: GivenText,
    models: Models,
    source: OnlineSource,
    placed: Placed,
    grade: Grade | None,
    around: Around,
    notify: Callable[[str], None],
) -> Source:
    """The given rows in turn with answers that the policy writes. `grade` is that of the questions which the
    source names; without it the questions are those of the rows' `texts`, and their answers are not
    graded."""
    around = replace(around, sampling=replace(around.sampling, stop=stop_of(source)))
    around = with_tokenizer(around, source, placed)
    task = "" if grade is None else task_asked(source)
    if grade is None:
        asked, source, grade = list(questions_in(texts, rows)), asked_by_rows(source, rows), ungraded()
    else:
        asked, _ = questions(source, around.seed, notify)
    source = replace(source, few_shot=source.few_shot.chosen(None, source.heldout_seed))
    asked = source.few_shot.without(asked)
    prompts = prompts_to_train(asked, source, placed.context, placed.tokenizer, grade, notify)
    prompts = with_teachers(prompts, by_column(models, task))
    length = length_for(source.max_new_tokens, placed.context, prompts)
    around = replace(around, sampling=replace(around.sampling, max_new_tokens=length))
    mixed: Source = online_of(source, prompts, placed, grade, around)
    if rows.written_share < 1:
        shares = {"written": rows.written_share, "given": 1 - rows.written_share}
        mixed = Mixed({"written": mixed, "given": given}, shares)
    return Queued(mixed, source.staleness) if source.staleness else mixed


def ungraded() -> Grade:
    return Grading(Ungraded())


def asked_by_rows(source: OnlineSource, rows: GivenText) -> OnlineSource:
    """The source, whose questions are those of the rows. UserError for a reward, which would need gold
    answers."""
    if source.reward is not None:
        raise UserError(
            "reward judges answers to questions with a gold answer, and this run asks those of its rows; "
            "name questions with source.data=FILE or task=, or leave reward out"
        )
    return replace(source, on_bad=rows.on_bad)


def questions_in(rows: Sequence[GivenRow], given: GivenText) -> Iterator[Row]:
    """What each row asks, beside its other columns. UserError if no row asks anything."""
    asked = [(question_of(row.texts[0]), row.texts[0]) for row in rows]
    if not any(question for question, _ in asked):
        raise UserError(
            f"the rows of {given.data} ask no question that the policy could answer; set written_share=0, or "
            "name questions with source.data=FILE or task="
        )
    for question, text in asked:
        if question:
            columns = {name: value for name, value in text.row.items() if name not in ("question", "answer")}
            yield {"question": question, "answer": None} | columns


def question_of(text: Given) -> str | list[dict[str, str]]:
    """The question, or what leads to the last answer of a conversation; empty where there is none."""
    if text.question or isinstance(text.answer, str):
        return text.question
    ends = [place for place, message in enumerate(text.answer) if message["role"] == "assistant"]
    return text.answer[: ends[-1]] if ends else []
