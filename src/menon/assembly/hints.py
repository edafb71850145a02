"""A teacher that reads a hint beside each question: a demonstration, the answer, or what the answers of the
step show (a right one to the same question, the reward's feedback)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from menon.assembly.answer_length import least_room
from menon.assembly.chat_template import chat_with
from menon.assembly.models import models_here
from menon.assembly.placement import Placed
from menon.assembly.questions import rendered
from menon.config import OnlineSource
from menon.engines.reprompted import Reprompted, key_of
from menon.engines.tokens import tokenize_with
from menon.errors import UserError
from menon.prompts.reader import Row
from menon.prompts.render import prompt_of
from menon.prompts.sources import BadRow
from menon.prompts.template import Template, fill, find_template
from menon.source.protocols import Gathered
from menon.thought import after_thinking
from menon.types import Graded, Mean, Metric, Prompt, Sum, Tokens
from menon.update.teacher_settings import FROM_STEP, fields_of, fields_of_step

Tell = Callable[[Gathered], Gathered]


def hints_of(
    questions: Sequence[str],
    prompts: Sequence[Prompt],
    source: OnlineSource,
    placed: Placed,
    notify: Callable[[str], None],
) -> Tell | None:
    """Lets the teacher read the texts `questions` in place of the questions of the prompts. The returned
    function tells it the hints of a step; None where all are known before the run, or there are none.
    UserError: a column that rows lack, or two hints for one prompt."""
    if not questions:
        return None
    models = models_here(placed.host, "teacher_question")
    teacher = models["teacher"] = Reprompted(models["teacher"], {})
    if not any(map(fields_of_step, questions)):
        teacher.prompts = fixed(questions[0], prompts, source, placed, notify)
        return None
    for prompt in prompts:  # a column that is missing is said before the run, not in its middle
        for text in questions:
            hinted(prompt, text, dict.fromkeys(FROM_STEP, ""))
    context = placed.context or 2**31
    form, tokenize = find_template(source.template), tokenize_with(placed.tokenizer)
    chat = chat_with(placed.tokenizer, source.template_arguments)
    return StepHints(
        tuple(questions), teacher, lambda row: prompt_of(0, row, form, tokenize, chat)[1], context
    )


def fixed(
    question: str,
    prompts: Sequence[Prompt],
    source: OnlineSource,
    placed: Placed,
    notify: Callable[[str], None],
) -> dict[bytes, Tokens]:
    """The tokens of each prompt -> those that the teacher reads."""
    with_hint = rendered(
        [hinted(prompt, question) for prompt in prompts],
        source.template,
        placed.context,
        placed.tokenizer,
        least_room(source.max_new_tokens),
        "stop",
        notify,
        source.template_arguments,
        source.few_shot,
    )
    read: dict[bytes, Tokens] = {}
    for prompt, other in zip(prompts, with_hint, strict=True):
        if not np.array_equal(read.setdefault(key_of(prompt.tokens), other.tokens), other.tokens):
            raise UserError(
                f"two rows ask the same ({prompt.text[:60]!r}) and give the teacher different hints; keep "
                "one of them, or take the column out of teacher_question"
            )
    return read


def hinted(
    prompt: Prompt, question: str, known: Mapping[str, str] = {}, setting: str = "teacher_question"
) -> Row:
    """The row of a prompt with `question`, a text with {q}, columns of the row and fields that are `known` of
    an answer, in place of its question; of chat messages the last one changes. UserError, which names the
    setting that the text is from: a column that the row lacks."""
    row: dict[str, Any] = {**prompt.columns, "answer": prompt.answer, **known}
    asked = row["question"]
    text = asked if isinstance(asked, str) else asked[-1]["content"]
    names = fields_of(question)
    missing = [name for name in names if name != "q" and row.get(name) is None]
    if missing:
        raise UserError(
            f"{setting} puts in {{{missing[0]}}}, and the row of {prompt.text[:60]!r} has no such "
            "column; name one that every row has"
        )
    filled = fill(Template(question, names), {**row, "question": text})
    return {
        **row,
        "question": filled if isinstance(asked, str) else [*asked[:-1], {**asked[-1], "content": filled}],
    }


# Hints of a step


@dataclass(frozen=True)
class StepHints:
    """Tells the teacher what it reads of each answer of a step, once the answers are graded: the first of
    `texts` for which everything is there."""

    texts: tuple[str, ...]
    teacher: Reprompted
    encode: Callable[[Row], Tokens]
    """A row -> the tokens of its prompt. BadRow: the template cannot take it."""
    context: int
    """Most tokens of a hint and an answer together. A longer hint is not given, and counted."""

    def __call__(self, gathered: Gathered) -> Gathered:
        """The step with the column `hinted`."""
        answers: dict[bytes, Tokens] = {}
        has_hint, too_long = [], 0
        right = right_answers(gathered.graded)
        for graded in gathered.graded:
            rollout, hint = graded.rollout, self.hint(graded, right)
            start = len(rollout.prompt.tokens)
            if hint is not None and len(hint) + len(rollout.tokens) - start > self.context:
                hint, too_long = None, too_long + 1
            has_hint.append(hint is not None)
            read = rollout.prompt.tokens if hint is None else hint
            given = rollout.tokens[start : first_action(rollout.is_action)]  # a prefix that was continued
            answers[key_of(rollout.tokens)] = np.concatenate([read, given]).astype(np.int32)
        self.teacher.answers = answers
        share = Mean(sum(has_hint), len(has_hint))
        counts: dict[str, Metric] = {"teacher/hinted": share, "teacher/no_room": Sum(too_long)}
        return replace(
            gathered,
            batch=replace(gathered.batch, hinted=torch.tensor(has_hint, dtype=torch.bool)),
            metrics={**gathered.metrics, **counts},
        )

    def hint(self, graded: Graded, right: Mapping[int, Sequence[str]]) -> Tokens | None:
        """What the teacher reads of one answer; None: no text has all its fields, or the template cannot take
        it."""
        prompt, own = graded.rollout.prompt, graded.rollout.graded_text
        others = (text for text in right.get(prompt.index, ()) if text != own)
        demonstration = after_thinking("", next(others, "")) or ""
        known = {"right_answer": demonstration.strip(), "feedback": graded.verdict.feedback.strip()}
        for text in self.texts:
            if all(known[name] for name in fields_of_step(text)):
                with suppress(BadRow):
                    return self.encode(hinted(prompt, text, known))
        return None


def right_answers(graded: Iterable[Graded]) -> dict[int, list[str]]:
    """The right answers to each prompt of a step, by the prompt's index, in their order."""
    found: dict[int, list[str]] = {}
    for each in graded:
        if each.verdict.acc == 1:
            found.setdefault(each.rollout.prompt.index, []).append(each.rollout.graded_text)
    return found


def first_action(is_action: np.ndarray) -> int:
    """The place of the first token that the policy wrote; the end where it wrote none."""
    return int(is_action.argmax()) if is_action.any() else len(is_action)
