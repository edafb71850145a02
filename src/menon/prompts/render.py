"""Rows to prompts: template, tokens, length."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from menon.errors import OnBad, UserError, refuse_rows
from menon.prompts.template import CHAT, TEMPLATES, Template, fill, find_template
from menon.types import Limit, Prompt

Tokenize = Callable[[str], Sequence[int]]
"""Text -> ids, with the begin-of-text token that the model expects, but no second one if the text already
starts with it."""

Chat = Callable[[list[dict[str, str]]], str]
"""Chat messages -> text, up to where the assistant begins to write."""


def render(
    rows: Sequence[Mapping[str, Any]],
    template: str,
    tokenize: Tokenize,
    *,
    chat: Chat | None = None,
    context: int,
    max_new_tokens: int,
    on_bad: OnBad = "stop",
) -> tuple[list[Prompt], int]:
    """Prompts in the order of their rows, and the number of those left out for their length.

    A prompt and an answer of `max_new_tokens` must fit into the model's `context`, which is a `Limit` or a
    number of tokens. `Prompt.index` is the row's place in `rows`; the raw question stays as the column
    `question`. UserError: an unknown template, one that needs a column which a row lacks, chat messages
    without a chat template, a prompt that is too long or has no token (unless such rows are to be skipped
    and others remain).
    """
    form = find_template(template)
    if form.as_turn and chat is None:
        raise UserError(f"the tokenizer has no chat template; take another template than '{template}'")
    limit = Limit(context)
    if context <= max_new_tokens:
        raise UserError(
            f"the model's {limit.what} of {context} tokens leaves no room for a question before "
            f"{max_new_tokens} new tokens; "
            "lower max_new_tokens"
        )
    prompts: list[Prompt] = []
    faults: list[str] = []
    for index, row in enumerate(rows):
        rendered = render_one(index, row, form, chat)
        tokens = np.asarray(tokenize(rendered), dtype=np.int32).reshape(-1)
        if fault := _misfit(len(tokens), context - max_new_tokens):
            faults.append(f"row {index + 1} ({_begin(row['question'])}) {fault}")
            continue
        columns = {name: value for name, value in row.items() if name != "answer"}
        prompts.append(Prompt(index, tokens, rendered, row.get("answer"), columns))
    if faults and (on_bad == "stop" or not prompts):
        room = (
            f"prompts for a {limit.what} of {context} tokens with max_new_tokens={max_new_tokens} "
            f"(lower it, or take a model with a longer {limit.what})"
        )
        refuse_rows(room, faults, total=len(rows))
    return prompts, len(faults)


def render_one(index: int, row: Mapping[str, Any], template: Template, chat: Chat | None) -> str:
    question = row["question"]
    if isinstance(question, list):
        if chat is None or template != TEMPLATES[CHAT]:
            raise UserError(
                f"row {index + 1} ({_begin(question)}) holds chat messages, which need template={CHAT}"
            )
        return chat(question)
    try:
        text = fill(template, row)
    except KeyError as missing:
        raise UserError(
            f"row {index + 1} ({_begin(question)}) has no column {missing}, which this template puts in; "
            "take another template"
        ) from None
    return chat([{"role": "user", "content": text}]) if chat is not None and template.as_turn else text


def _misfit(length: int, room: int) -> str:
    if length > room:
        return f"has {length} tokens and there is room for {room}"
    return "" if length else "has no token at all"


def _begin(question: str | list[dict[str, str]]) -> str:
    text = question if isinstance(question, str) else question[-1]["content"]
    return repr(text if len(text) <= 40 else text[:37] + "...")
