"""Which questions a run asks, and how they become prompts: from a task, an environment or data."""

import hashlib
import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from menon.assembly.answer_length import least_room
from menon.assembly.chat_template import chat_with, check_used
from menon.config import OnlineSource
from menon.engines.decoding.stop_strings import hidden_tags
from menon.engines.tokens import marker_for, tokenize_with
from menon.errors import OnBad, UserError
from menon.limit import Limit
from menon.parts import TASK
from menon.prompts.few_shot import FewShot
from menon.prompts.reader import Row, read_rows
from menon.prompts.render import render
from menon.prompts.tasks import ChainSum, Task, task_name
from menon.prompts.template import find_template
from menon.reward.grade import Grading
from menon.reward.prove import prove_golds
from menon.reward.rubric import Rubric
from menon.reward.rules import Mix
from menon.reward.ungraded import Ungraded
from menon.rollout.protocols import Grade
from menon.types import Prompt
from menon.user_code import blame, is_own, misuse

TASK_ROWS = 10_000
"""Questions of a built-in task that a run draws from."""


def questions(source: OnlineSource, seed: int, notify: Callable[[str], None]) -> tuple[list[Row], list[Row]]:
    """Rows to train on and held-out rows."""
    if source.data is None:
        train = rows_of_task(source, "train", TASK_ROWS, seed)
        heldout = heldout_questions(source, notify)
        asker = own_questions(source) or task_of(source)
        known = {str(row["question"]) for row in train} if is_own(asker) else set()
        if seen := sum(str(row["question"]) in known for row in heldout):
            notify(
                f"{seen} of the {len(heldout)} held-out questions of {task_name(asker)} are trained on too, "
                "so accuracy says little about new ones; keep the splits of its rows apart"
            )
        return train, heldout
    rows = rows_of(source.data, source, notify)
    heldout = [] if source.heldout_data is None else heldout_questions(source, notify)
    for notice in (*question_faults(rows, source), *parts_without_rows([*rows, *heldout], source)):
        notify(notice)
    if source.heldout_data is None:
        return apart(rows, source.heldout, source.data, source.heldout_seed)
    known = {str(row["question"]) for row in rows}
    if seen := sum(str(row["question"]) in known for row in heldout):
        notify(
            f"{seen} of the {len(heldout)} held-out questions of {source.heldout_data} are in {source.data} "
            "too and are trained on, so accuracy says little about new ones; name other questions, or leave "
            "heldout_data out, which holds a tenth of data apart"
        )
    return rows, heldout


def with_examples(
    source: OnlineSource, rows: Sequence[Row], heldout: Sequence[Row], notify: Callable[[str], None]
) -> tuple[OnlineSource, list[Row], list[Row]]:
    """The source with its worked examples chosen, and the rows that are not shown as examples."""
    few_shot = source.few_shot.chosen(None if source.data is None else rows, source.heldout_seed)
    train, held = few_shot.without(rows), few_shot.without(heldout)
    if few_shot.file is not None and (shown := len(rows) + len(heldout) - len(train) - len(held)):
        notify(f"{shown} questions are examples of few_shot and are not asked")
    if not train or not held:
        raise UserError("all questions are examples of few_shot; lower shots, or name more questions")
    return replace(source, few_shot=few_shot), train, held


def question_faults(rows: Sequence[Row], source: OnlineSource) -> Iterator[str]:
    """Sentences about questions that lack what tells them apart, or the choices to choose from. UserError
    where no run can learn from them."""
    asked: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        asked[str(row["question"])].add(str(row["answer"]))
    others = [name for name in rows[0] if name not in ("question", "answer")]
    there = f" (other columns: {', '.join(others)})" if others else ""
    column = f"name the column that tells them apart with columns.question={there}"
    if len(asked) == 1 and len(rows) > 1:
        raise UserError(
            f"all {len(rows)} rows of {source.data} ask the same question "
            f"({str(rows[0]['question'])[:40]!r}); {column}"
        )
    unclear = sum(len(asked[str(row["question"])]) > 1 for row in rows)
    if 2 * unclear > len(rows):
        yield (
            f"{unclear} of {len(rows)} rows of {source.data} ask what another row asks and have another "
            f"answer; {column}"
        )
    hidden = [name for name in map(hidden_choices, rows) if name]
    if 10 * len(hidden) >= 9 * len(rows):
        sentence = (
            f"{len(hidden)} of {len(rows)} questions of {source.data} do not show their choices, which are "
            f"in the column {hidden[0]}; write these into the question, as A. ... B. ..., and the answer as "
            "the letter (A for 0)"
        )
        if choice_is(source.reward):
            raise UserError(sentence)
        yield sentence


def parts_without_rows(rows: Sequence[Row], source: OnlineSource) -> Iterator[str]:
    """Sentences about parts of a mixed reward that are for rows of which there is none."""
    parts = source.reward.weighted if isinstance(source.reward, Mix) else {}
    for name, part in parts.items():
        if not any(map(part.is_for, rows)):
            asked = " and ".join(f"{column}={value}" for column, value in part.only.items())
            yield (
                f"the part {name} of the reward judges no answer: it is only for {asked}, which no question "
                f"of {source.data} has; give the rows that column, or change reward.parts.{name}.only"
            )


def hidden_choices(row: Row) -> str:
    """The column of choices of which the question shows none; "" if it shows one, or there is no such
    column."""
    for name in ("choices", "options", "endings"):
        value = row.get(name)
        texts = value.get("text") if isinstance(value, Mapping) else value
        if isinstance(texts, list) and texts:
            return "" if any(str(text) in str(row["question"]) for text in texts) else name
    return ""


def choice_is(reward: Any) -> bool:
    return "choice" in (reward, getattr(reward, "kind", None))


def heldout_questions(source: OnlineSource, notify: Callable[[str], None]) -> list[Row]:
    """The held-out rows of a run with this source."""
    if source.data is None:
        return rows_of_task(source, "heldout", source.heldout, source.heldout_seed)
    if source.heldout_data is None:
        return apart(rows_of(source.data, source, notify), source.heldout, source.data, source.heldout_seed)[
            1
        ]
    return rows_of(source.heldout_data, source, notify)[: source.heldout]


def rows_of_task(source: OnlineSource, split: str, most: int, seed: int) -> list[Row]:
    """At most `most` rows of a split of the source's task, or of its environment if that asks."""
    environment = own_questions(source)
    task: Questions = environment or task_of(source)
    rows = questions_of(task, "task" if environment is None else "environment", split, most, seed)
    if not rows:
        name = "training" if split == "train" else "held-out"
        raise UserError(f"{task} has no {name} question; give it settings that allow more questions")
    return rows


def questions_of(asker: Any, place: str, split: str, most: int, seed: int) -> list[Row]:
    """At most so many rows of a task or of an environment that asks questions; those of the user's are
    checked."""
    room = room_of(asker, place, split)
    if not is_own(asker):
        return list(asker.rows(split, min(most, room), seed))
    with blame(place, asker, TASK, "rows"):
        rows = asker.rows(split, min(most, room), seed)
    if not isinstance(rows, list | tuple):
        raise misuse(place, asker, f"returned a {type(rows).__name__} from rows, not a list", "rows")
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("question"), str | list):
            raise misuse(place, asker, f"returned the row {row!r}, not a dict with 'question'", "rows")
        if not isinstance(row.get("answer"), str | None):
            answer = f"the answer {row['answer']!r} of a row"
            raise misuse(place, asker, f"returned {answer}, not a text; write str(...)", "rows")
    return [dict(row) for row in rows]


def room_of(asker: Any, place: str, split: str) -> int:
    """The number of rows of a split."""
    with blame(place, asker, TASK, "room"):
        room = asker.room(split)
    try:
        return operator.index(room)
    except TypeError:
        what = f"returned {room!r} from room; return the number of rows of a split"
        raise misuse(place, asker, what, "room") from None


def rows_of(path: str, source: OnlineSource, notify: Callable[[str], None]) -> list[Row]:
    """The rows of a data set; `notify` gets the number of rows that are left out."""
    graded = not isinstance(source.reward, Rubric | Ungraded)
    rows, skipped = read_rows(path, source.on_bad, graded, source.columns)
    if skipped:
        notify(f"{skipped} rows of {path} cannot be used and are left out")
    return rows


def apart(rows: Sequence[Row], most: int, source: str, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """Holds out some of the questions (see `held_out`): (rows to train on, held-out rows)."""
    names = {str(row["question"]) for row in rows}
    if len(names) < 2:
        raise UserError(
            f"{source} holds one question only; a run needs one to train on and another to evaluate with"
        )
    held = held_out(names, most, seed)
    return [row for row in rows if str(row["question"]) not in held], [
        row for row in rows if str(row["question"]) in held
    ]


def held_out(names: Collection[str], most: int, seed: int = 0) -> set[str]:
    """The questions that are held out: a tenth of these, at most `most`. A hash of the question and the seed
    decides, so a question that stands twice in a file is always on one side, and the order of the file does
    not matter."""
    salt = seed.to_bytes(8, "little") if seed else b""

    def place(name: str) -> bytes:
        return hashlib.blake2b(name.encode(errors="replace"), salt=salt).digest()

    return set(sorted(names, key=place)[: max(1, min(most, len(names) // 10))])


def task_of(source: OnlineSource) -> Task:
    """The task of the source, or the default task."""
    return source.task or ChainSum()


def task_asked(source: OnlineSource) -> str:
    """The name of the task that asks; "" where an environment or data do."""
    asks = source.data is None and own_questions(source) is None
    return task_name(task_of(source)) if asks else ""


class Questions(Protocol):
    """What asks questions: a task, or an environment that has questions of its own."""

    def rows(self, split: str, n: int, seed: int) -> Sequence[Row]: ...

    def room(self, split: str) -> int: ...


def own_questions(source: OnlineSource) -> Any:
    """The environment, if it asks its own questions in this run, else None."""
    own = source.data is None and source.task is None and hasattr(source.environment, "rows")
    return source.environment if own else None


def prompts_to_train(
    rows: Sequence[Row],
    source: OnlineSource,
    context: int | None,
    tokenizer: PreTrainedTokenizerBase,
    grade: Grade,
    notify: Callable[[str], None],
) -> list[Prompt]:
    """The rendered questions. Where it is known how an answer is stated, each gold answer was graded and
    earned the full reward."""
    prompts = rendered(
        rows,
        source.template,
        context,
        tokenizer,
        least_room(source.max_new_tokens),
        source.on_bad,
        notify,
        source.template_arguments,
        source.few_shot,
    )
    return proved(prompts, grade, source.on_bad, notify) if isinstance(grade, Grading) else prompts


def proved(
    prompts: list[Prompt], grade: Grading, on_bad: OnBad, notify: Callable[[str], None]
) -> list[Prompt]:
    """The questions whose gold answer earns the full reward; all where it is not known how an answer is
    stated. UserError unless `on_bad` lets the others be left out."""
    spell = getattr(grade.reward, "spell", None)
    if spell is None:
        return prompts
    prompts, unproved = prove_golds(prompts, grade, spell, on_bad)
    if unproved:
        notify(f"{unproved} questions have an answer that earns no reward and are left out")
    return prompts


def rendered(
    rows: Sequence[Row],
    template: str,
    context: int | None,
    tokenizer: PreTrainedTokenizerBase,
    max_new_tokens: int,
    on_bad: OnBad,
    notify: Callable[[str], None],
    template_arguments: Mapping[str, Any] = {},
    few_shot: FewShot | None = None,
) -> list[Prompt]:
    """The questions as this model reads them; `notify` gets the number of those that do not fit into its
    context or that its chat template refuses."""
    check_used(template, template_arguments)
    prompts, unread = render(
        rows,
        template,
        tokenize_with(tokenizer),
        chat=chat_with(tokenizer, template_arguments),
        mark=marker_for(tokenizer),
        context=context or 2**31,
        max_new_tokens=max_new_tokens,
        on_bad=on_bad,
        few_shot=few_shot,
    )
    if unread:
        what = Limit(context or 0).what
        notify(
            f"{unread} questions are left out: they do not fit into the model's {what}, or the chat template "
            "refuses them"
        )
    return prompts


def check_tags(tokenizer: PreTrainedTokenizerBase, keep: bool, notify: Callable[[str], None]) -> None:
    """Tells the user of tags that a reward may look for and does not see."""
    if not keep and (tags := hidden_tags(tokenizer)):
        notify(
            f"{' and '.join(tags)} are special tokens of this model, which rewards and environments do not "
            "see; keep_special_tokens=true shows them"
        )


def stop_of(source: OnlineSource) -> tuple[str, ...]:
    """The strings that end an answer: those of the settings, or else those of the template."""
    return source.stop or find_template(source.template).stop
