"""What a model writes before its answer: its thought, in `<think>` tags or those of other models.

Everything that grades text asks here where the thought ends, so that a draft in it never counts.
"""

import re

OPENING = "<think>"
CLOSING = "</think>"
"""Ends a thought, whichever tag opened it."""
_TAG = re.compile(
    r"(?i:<\s?(?P<end>/?)\s?(?:think|thinking|thought|seed:think|reasoning|scratchpad)\s?>)|\[(?P<stop>/?)THINK\]"
    r"|◁(?P<close>/?)think▷|<\|(?:begin|(?P<last>end))_of_thought\|>|<\|channel\|>(?:(?P<final>final)|analysis|commentary)<\|message\|>"
)


def after_thinking(prompt: str, completion: str) -> str | None:
    """The text after the last thought; None where one was opened, by the prompt or in the text, and never
    closed. Without a thought it is the whole completion.

    >>> after_thinking("", "<think>7</think>\\n8"), after_thinking("Q: <think>", "7"), after_thinking("", "7")
    ('8', None, '7')
    """
    is_open, end = opens_thought(prompt), 0
    for tag in _TAG.finditer(completion):
        is_open = not _closes(tag)
        end = end if is_open else tag.end()
    if is_open:
        return None
    return completion[end:].lstrip() if end else completion


def opens_thought(prompt: str) -> bool:
    """Whether the policy goes on in a thought: the prompt's last tag opens one and ends the prompt, or it is
    at the start of a line or after a speaker's name, and at most one line of a thought follows it.

    >>> opens_thought("Write <think> and </think>."), opens_thought("Assistant: <think>\\nFirst,")
    (False, True)
    """
    return len(before_thinking(prompt)) < len(prompt)


def before_thinking(prompt: str) -> str:
    """The prompt without a thought that it opens."""
    tag = None
    for tag in _TAG.finditer(prompt):  # noqa: B007 - the last one counts
        pass
    if tag is None or _closes(tag):
        return prompt
    before, begun = prompt[: tag.start()].rstrip(" \t"), prompt[tag.end() :].strip()
    speaks = "\n" not in begun and (not before or before[-1] in "\n:>")
    return prompt[: tag.start()] if speaks or not begun else prompt


def _closes(tag: re.Match[str]) -> bool:
    return bool(tag["end"] or tag["stop"] or tag["close"] or tag["last"] or tag["final"])
