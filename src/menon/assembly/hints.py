"""A teacher that reads each question with a hint: a demonstration, the answer, feedback."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from menon.assembly.answer_length import least_room
from menon.assembly.placement import Placed
from menon.assembly.questions import rendered
from menon.config import OnlineSource
from menon.engines.reprompted import Reprompted, key_of
from menon.errors import UserError
from menon.prompts.reader import Row
from menon.prompts.template import Template, fill
from menon.types import Prompt, Tokens


def give_hints(
    question: str,
    prompts: Sequence[Prompt],
    source: OnlineSource,
    placed: Placed,
    notify: Callable[[str], None],
) -> None:
    """Lets the teacher read `question`, a text with {q} and columns of the row, in place of the question of
    each prompt. UserError: a column that rows lack, or two hints for one prompt."""
    rows = [hinted(prompt, question) for prompt in prompts]
    with_hint = rendered(
        rows,
        source.template,
        placed.context,
        placed.tokenizer,
        least_room(source.max_new_tokens),
        "stop",
        notify,
        source.template_arguments,
    )
    read: dict[bytes, Tokens] = {}
    for prompt, other in zip(prompts, with_hint, strict=True):
        if not np.array_equal(read.setdefault(key_of(prompt.tokens), other.tokens), other.tokens):
            raise UserError(
                f"two rows ask the same ({prompt.text[:60]!r}) and give the teacher different hints; keep "
                "one of them, or take the column out of teacher_question"
            )
    placed.host.models["teacher"] = Reprompted(placed.host.models["teacher"], read)


def hinted(prompt: Prompt, question: str, setting: str = "teacher_question") -> Row:
    """The row of a prompt with `question`, a text with {q} and columns of the row, in place of its question;
    of chat messages the last one changes. UserError, which names the setting that the text is from: a column
    that the row lacks."""
    row: dict[str, Any] = {**prompt.columns, "answer": prompt.answer}
    asked = row["question"]
    text = asked if isinstance(asked, str) else asked[-1]["content"]
    names = tuple(dict.fromkeys(("q", *re.findall(r"\{(\w+)\}", question))))
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
