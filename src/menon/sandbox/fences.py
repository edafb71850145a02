"""Fenced blocks of Markdown (CommonMark 0.31, 4.5), read as models write them, and the margin of code."""

import re
from dataclasses import dataclass

FENCE = re.compile(r"^(?P<lead>[ \t]*(?:(?:[-*+]|\d+[.)]|>)[ \t]+|>)*)(?P<mark>`{3,}|~{3,})(?P<info>.*)$")
LATE = re.compile(r"^(?P<lead>)[^`~]+(?P<mark>`{3,}|~{3,})(?P<info>[^`~]+)$")
"""A fence that follows a sentence or a tag on its line; it counts if it says Python."""
PYTHON = re.compile(
    r"^[{.\s]*(?:i?python|py)[\d.]*(?![\w.-])(?!\s*(?:console|repl|traceback))", re.IGNORECASE
)
DEEPER = 3
"""Columns by which a closing fence may be indented more than its opening one."""


@dataclass(frozen=True)
class Block:
    info: str
    """What follows the opening fence: the language, mostly."""
    code: str
    """The contents without the margin that all lines share, each line ended by `\\n`."""

    @property
    def is_python(self) -> bool:
        return PYTHON.match(self.info) is not None


@dataclass
class Open:
    """A block whose closing fence has not been read yet."""

    lead: str
    mark: str
    info: str
    lines: list[str]

    def closes(self, fence: re.Match[str]) -> bool:
        """Whether a fence ends this block; a sentence may follow it on its line, a language may not."""
        deeper = width(fence["lead"]) - width(self.lead)
        says = not fence["info"].strip() or is_prose(fence["info"])
        return fence["mark"].startswith(self.mark) and says and deeper <= DEEPER

    def gives_way(self, fence: re.Match[str]) -> bool:
        """Whether a fence with a language begins another block: this one was never closed, or is a text in
        Markdown that holds the other. A shorter or indented fence in a program belongs to a string of it."""
        if not fence["info"].strip() or is_prose(fence["info"]):
            return False
        if PYTHON.match(self.info) is None:
            return True
        return fence["mark"].startswith(self.mark) and width(fence["lead"]) <= width(self.lead) + DEEPER

    def last_line(self, line: str) -> str | None:
        """The code of a line that ends in the closing fence; None where there is none, or where it closes
        code within the line."""
        line = line.rstrip(" \t")
        code = line.rstrip(self.mark[0])
        ends = len(line) - len(code) >= len(self.mark) and self.mark not in code
        return code if ends and code.strip() else None

    def block(self) -> Block:
        quoted = ">" in self.lead
        lines = [re.sub(r"^[ \t]*>[ \t]?", "", line) for line in self.lines] if quoted else self.lines
        return Block(self.info.strip(), dedented("".join(line + "\n" for line in lines)))


def blocks(text: str) -> list[Block]:
    """The closed fenced blocks of a text, in order. Fences are of backticks or tildes, in lists and
    quotations too, and the closing one may end the last line of code. A block that is never closed
    is left out.

    >>> [block.code for block in blocks("so:\\n```python\\nprint(1)\\n```\\nwhich prints 1")]
    ['print(1)\\n']
    """
    found: list[Block] = []
    now: Open | None = None
    for line in text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        fence = FENCE.match(line)
        if now is None and fence is None and (late := LATE.match(line)) and PYTHON.match(late["info"]):
            fence = late
        if now is None and fence is not None and fence["mark"][0] == "`" and "`" in fence["info"]:
            continue  # code within a line
        if now is None or (fence is not None and now.gives_way(fence)):
            now = Open(fence["lead"], fence["mark"], fence["info"], []) if fence is not None else None
        elif fence is not None and now.closes(fence):
            found.append(now.block())
            now = None
        elif (last := now.last_line(line)) is not None:
            now.lines.append(last)
            found.append(now.block())
            now = None
        else:
            now.lines.append(line)
    return found


def is_prose(info: str) -> bool:
    """Whether the text after a fence is a sentence or a tag and names no language."""
    words = info.split()
    is_language = len(words) == 1 and re.match(r"[\w{.#+-]", words[0]) is not None
    return "`" in info or (bool(words) and not is_language and PYTHON.match(info) is None)


def dedented(code: str) -> str:
    """Code without the margin that all its lines share; blank lines do not count."""
    lines = code.split("\n")
    margins = [line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line.strip()]
    shared = min(margins, key=len, default="")
    while not all(margin.startswith(shared) for margin in margins):
        shared = shared[:-1]
    return "\n".join(line.removeprefix(shared) for line in lines)


def width(lead: str) -> int:
    """The column at which a line with this beginning starts; a tab is four columns wide, as in Markdown."""
    return len(lead.expandtabs(4))
