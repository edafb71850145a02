"""Rows to prompts: template, tokens, length."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from menon.errors import Fault, OnBad, UserError, first_line, refuse_rows
from menon.foreign import Marker, with_marks, without_marks
from menon.limit import Limit
from menon.prompts.few_shot import FewShot
from menon.prompts.sources import BadRow
from menon.prompts.template import CHAT, NONE, TEMPLATES, Template, fill, find_template
from menon.types import Prompt, Tokens


class Tokenize(Protocol):
    """Text -> ids. With `special` the tokens come in front that the model expects there, unless the text
    already starts with them; without it nothing is added."""

    def __call__(self, text: str, /, special: bool = True) -> Sequence[int]: ...


class NoRoom(UserError):
    """Prompts do not fit into the model's context."""


class Chat(Protocol):
    """(chat messages, the row's tools) -> text with all special tokens, up to where the assistant begins to
    write, or with `answered` up to the end of its last message. UserError for what concerns every row; any
    other error concerns the row."""

    def __call__(
        self, messages: list[dict[str, Any]], tools: list[Any] | None = None, answered: bool = False, /
    ) -> str: ...


def check_length(context: Limit, max_new_tokens: int) -> None:
    """NoRoom if the answers leave nothing of a model's context."""
    if context <= max_new_tokens:
        raise NoRoom(
            f"the model's {context.what} of {context} tokens leaves no room for a question before "
            f"{max_new_tokens} new tokens; lower max_new_tokens"
        )


def render(
    rows: Sequence[Mapping[str, Any]],
    template: str,
    tokenize: Tokenize,
    *,
    chat: Chat | None = None,
    mark: Marker = str,
    context: int,
    max_new_tokens: int,
    on_bad: OnBad = "stop",
    few_shot: FewShot | None = None,
) -> tuple[list[Prompt], int]:
    """Prompts in the order of their rows, and the number of those left out.

    A prompt and an answer of `max_new_tokens` must fit into the model's `context`, which is a `Limit` or a
    number of tokens. `Prompt.index` is the row's place in `rows`; the raw question stays as the column
    `question`. The chat template also gets the row's `tools`. `mark` marks special tokens that a row spells,
    but not with template=none, where the row is the prompt. UserError: an unknown template, a missing column
    or chat template; a row that cannot be read, is too long or empty (unless `on_bad` skips it).
    """
    form = find_template(template)
    if form.as_turn and chat is None:
        raise UserError(f"the tokenizer has no chat template; take another template than '{template}'")
    before = "" if few_shot is None else few_shot.before(form)
    limit = Limit(context)
    check_length(limit, max_new_tokens)
    prompts: list[Prompt] = []
    faults: list[Fault] = []
    room, too_long = context - max_new_tokens, 0
    for index, row in enumerate(rows):
        place, said = f"row {index + 1}", begin(row["question"])
        try:
            text, tokens = prompt_of(index, row, form, tokenize, chat, mark, before)
        except BadRow as error:
            faults.append(Fault(place, str(error), said))
            continue
        if len(tokens) > room:
            too_long += 1
            cause = f"longer than the {room} tokens that are left for a prompt"
            faults.append(Fault(place, cause, f"{said}, {len(tokens)} tokens"))
        elif not len(tokens):
            faults.append(Fault(place, "no token at all", said))
        else:
            columns = {name: value for name, value in row.items() if name != "answer"}
            prompts.append(Prompt(index, tokens, text, row.get("answer"), columns))
    if faults and (on_bad == "stop" or not prompts):
        if not too_long:
            refuse_rows(f"prompts of template={template}", faults, total=len(rows))
        refuse_rows(
            f"prompts for a {limit.what} of {context} tokens with max_new_tokens={max_new_tokens} "
            f"(lower it, or take a model with a longer {limit.what})",
            faults,
            len(rows),
            NoRoom,
        )
    return prompts, len(faults)


def prompt_of(
    index: int,
    row: Mapping[str, Any],
    template: Template,
    tokenize: Tokenize,
    chat: Chat | None,
    mark: Marker = str,
    before: str = "",
) -> tuple[str, Tokens]:
    """The prompt of a row, as text and as tokens; `before` stands in front of its question. BadRow: the chat
    template or the tokenizer cannot take the row."""
    what = "chat template" if template.as_turn else "template"
    try:
        if template != TEMPLATES[NONE]:
            row, before = with_marks(row, mark), mark(before)
        text = render_one(index, row, template, chat, before)
        what = "tokenizer"
        # A chat template writes the special tokens itself; those of the tokenizer would be second ones.
        ids = tokenize(text, special=not template.as_turn)
    except (UserError, BadRow, MemoryError):
        raise
    except Exception as error:  # a template is a program that raises what it likes
        raise BadRow(f"cannot be read by the {what} of the model ({first_line(error)})") from error
    return without_marks(text), np.asarray(ids, dtype=np.int32).reshape(-1)


def render_one(
    index: int, row: Mapping[str, Any], template: Template, chat: Chat | None, before: str = ""
) -> str:
    question = row["question"]
    if isinstance(question, list) and before:
        raise UserError(
            f"row {index + 1} ({begin(question)}) holds chat messages, and few_shot stands before a text; "
            "leave few_shot out, or write the examples into the messages"
        )
    if isinstance(question, list):
        if chat is None or template != TEMPLATES[CHAT]:
            raise UserError(
                f"row {index + 1} ({begin(question)}) holds chat messages, which need template={CHAT}"
            )
        return chat(question, tools_of(row))
    try:
        text = before + fill(template, row)
    except KeyError as missing:
        raise UserError(
            f"row {index + 1} ({begin(question)}) has no column {missing}, which this template puts in; "
            "take another template"
        ) from None
    if chat is None or not template.as_turn:
        return text
    return chat([{"role": "user", "content": text}], tools_of(row))


def tools_of(row: Mapping[str, Any]) -> list[Any] | None:
    """The tools that a row offers to the policy, for the chat template: a list of their JSON schemas, or the
    same as JSON text. BadRow for anything else."""
    tools = row.get("tools")
    if isinstance(tools, str):
        with suppress(ValueError, RecursionError):
            tools = json.loads(tools)
    if not tools:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise BadRow("has 'tools' that are no list of JSON schemas; fix them or rename the column")
    return [filled(tool) for tool in tools]


def filled(value: Any) -> Any:
    """A value without the fields that are null: tables fill missing fields with it, and a template would
    write it out."""
    if isinstance(value, Mapping):
        return {name: filled(item) for name, item in value.items() if item is not None}
    return [filled(item) for item in value] if isinstance(value, list) else value


def begin(question: str | list[dict[str, str]]) -> str:
    text = question if isinstance(question, str) else question[-1]["content"]
    return repr(text if len(text) <= 40 else text[:37] + "...")
