"""Where an answer states its result (spec 6.1). Each way gives the result as written, or None."""

import re
from collections.abc import Callable

Way = Callable[[str], str | None]

NEAR_END = 300
"""Characters at the end that are searched for a result without brackets around it."""

_LINE = re.compile(r"(?i)answer\s*:\s*([^\n]+)")
_HASH = re.compile(r"####\s*(\$?-?\$?[0-9.,]+)")
_BOX = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{|\\boxed ([^\s$]+)")


def answer_tag(text: str) -> str | None:
    """What the last `<answer>...</answer>` holds; of that the last box, if there is one."""
    before, closed, _ = text.rpartition("</answer>")
    _, opened, inside = before.rpartition("<answer>")
    if not closed or not opened:
        return None
    return boxed(inside) or inside


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{...}` or `\fbox{...}` holds, or `5` of `\boxed 5`; None where its braces do not balance."""
    found = list(_BOX.finditer(text))
    if not found:
        return None
    last = found[-1]
    return last[1] if last[1] is not None else balanced(text, last.end())


def balanced(text: str, start: int) -> str | None:
    """The text from `start` to the brace that closes the one before it. Escaped braces are text."""
    depth = 1
    place = start
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 1
        elif letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            if depth == 0:
                return text[start:place]
        place += 1
    return None


def answer_line(text: str) -> str | None:
    """`18` of the last line `Answer: 18` near the end."""
    found = _LINE.findall(text[-NEAR_END:])
    return found[-1] if found else None


def hash_marks(text: str) -> str | None:
    """`18` of the last `#### 18` near the end: how the solutions of GSM8K end."""
    found = _HASH.findall(text[-NEAR_END:])
    return found[-1] if found else None


WAYS: tuple[Way, ...] = (answer_tag, boxed, answer_line, hash_marks)
"""The first that finds something wins. There is no "last number": a policy would learn to end with numbers."""


def after_thinking(prompt: str, completion: str) -> str | None:
    """The text behind the last `</think>`; None where thinking was opened, by the prompt or in the text, and never closed."""
    _, closed, behind = completion.rpartition("</think>")
    if closed:
        return behind
    return None if "<think>" in completion or prompt.rstrip().endswith("<think>") else completion
