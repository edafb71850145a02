"""The chat template of a model's tokenizer, with the arguments that a run gives it."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateSyntaxError
from transformers import PreTrainedTokenizerBase

from menon.errors import UserError, first_line
from menon.prompts.render import Chat
from menon.prompts.template import find_template

OURS = frozenset(inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters) - {
    *("self", "kwargs", "tools", "documents", "chat_template")
} | {"messages", "bos_token", "eos_token"}
"""Arguments that are not for a run to give: the messages, and how the text becomes tokens."""


def chat_with(tokenizer: PreTrainedTokenizerBase, arguments: Mapping[str, Any] = {}) -> Chat | None:
    """A function that applies the tokenizer's chat template; None if it has none.

    `arguments` are variables of the template (`enable_thinking`), the `documents` and `tools` of every row,
    or `chat_template`, the name of one of several templates. A row's own tools replace those of every row.
    UserError: a variable that the template does not use, or a template that cannot be read.
    """
    template = tokenizer.chat_template
    if not template:
        return None
    templates = template if isinstance(template, dict) else {"default": template}
    check_arguments(arguments, templates)
    shared_tools = arguments.get("tools")
    settings = {name: value for name, value in arguments.items() if name not in ("tools", "chat_template")}
    chosen = templates[arguments["chat_template"]] if "chat_template" in arguments else None

    def chat(messages: list[dict[str, Any]], tools: list[Any] | None = None, answered: bool = False) -> str:
        whole: Any = tokenizer
        try:
            return str(
                whole.apply_chat_template(
                    messages,
                    tools=tools or shared_tools,
                    chat_template=chosen,
                    tokenize=False,
                    add_generation_prompt=not answered,
                    **settings,
                )
            )
        except (TemplateSyntaxError, ImportError) as error:
            raise UserError(
                f"the chat template of the tokenizer cannot be read ({first_line(error)}); fix "
                "chat_template.jinja in the model's folder, or take another template than the model's"
            ) from error

    return chat


def check_arguments(arguments: Mapping[str, Any], templates: Mapping[str, str]) -> None:
    """UserError for arguments that a run cannot give, or that none of these templates uses."""
    text = "\n".join(templates.values())
    for name, value in arguments.items():
        if name in OURS:
            raise UserError(f"template_arguments cannot set {name}, which Menon sets itself; leave it out")
        if name == "chat_template":
            if not isinstance(value, str) or value not in templates:
                raise UserError(
                    f"the model has no chat template '{value}'; template_arguments.chat_template is one of "
                    f"{', '.join(templates)}"
                )
        elif not re.search(rf"\b{re.escape(name)}\b", text):
            raise UserError(
                f"template_arguments sets {name}, and the model's chat template uses no such variable; "
                "leave it out"
            )


def check_used(template: str, arguments: Mapping[str, Any]) -> None:
    """UserError for arguments of a chat template in a run that uses another template."""
    if arguments and not find_template(template).as_turn:
        raise UserError(
            f"template_arguments are for the model's chat template, and template={template} does not use it; "
            "set template=chat, or leave them out"
        )
