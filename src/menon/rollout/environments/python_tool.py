"""A Python tool: runs what the policy writes in `<python>` in the sandbox, and appends the output."""

import ast
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from menon.errors import UserError
from menon.sandbox.fences import blocks, dedented
from menon.sandbox.launch import Finished, Task
from menon.sandbox.layers import pool, require
from menon.sandbox.limits import Limits
from menon.sandbox.names import read_code
from menon.types import Prompt

OPEN, CLOSE = "<python>", "</python>"
IN_LINE = re.compile(r"(`{1,3})(?:(?:i?python|py)3?[ \t]+)?([^`\n]+)\1", re.IGNORECASE)
"""Code in backticks on one line."""
WHY = {
    "timeout": "the program took too long",
    "memory": "the program needed too much memory",
    "tasks": "too many processes",
    "disk": "too much was written",
}


@dataclass(frozen=True)
class PythonTool:
    """Ends a turn at `</python>`, runs the text since the last `<python>` as a separate script (calls share
    no state), and appends what it printed, or the last line of its error, between `<output>` and `</output>`.
    As in a notebook, the value of a last expression is printed too, unless it is None or a semicolon follows.
    A fenced block within the tags, and a margin that all lines share, are taken off.

    A turn without `</python>` is the answer, and the end. It gives no reward: the task's grader does.
    UserError where the machine lacks a layer of the sandbox; a sandbox that fails later gives a NaN verdict.
    """

    time_s: float = 6.0
    """CPU seconds of one call."""
    memory_mb: int = 512
    """Memory of one call, in MB."""
    most_output: int = 1000
    """The policy reads at most this many last characters of an output."""
    sandbox: str = "full"
    """Layers of the sandbox that must work: `sandbox.layers.LEVELS`."""
    kind: Literal["python"] = "python"
    stop: ClassVar[tuple[str, ...]] = (CLOSE,)

    def __post_init__(self) -> None:
        if self.most_output < 1:
            raise UserError(
                f"most_output is {self.most_output}; the policy must be able to read at least 1 character"
            )
        self.limits  # noqa: B018 - refuses what is out of range
        require(self.sandbox)

    @property
    def limits(self) -> Limits:
        return Limits(time_s=self.time_s, memory_mb=self.memory_mb)

    def reset(self, prompt: Prompt, seed: int) -> str:
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        before, close, _ = text.rpartition(CLOSE)
        if not close:
            return "", 0.0, True
        _, opened, code = before.rpartition(OPEN)
        output = self.run(code) if opened else f"there is no {OPEN} before {CLOSE}"
        return f"\n<output>\n{output}\n</output>\n", 0.0, False

    def run(self, code: str) -> str:
        """What a script prints, or why it does not."""
        task = Task("notebook", program(code).encode(errors="replace"))
        return shown(pool(self.sandbox).run([task], self.limits), self.most_output)


def program(text: str) -> str:
    """The code in a call: the last fenced block that says Python, else the last one, else all of the text;
    without a margin.

    >>> program(" ```py\\nx = 1\\nx + 1\\n```"), program(" print(1)\\nprint(2)")
    ('x = 1\\nx + 1', 'print(1)\\nprint(2)')
    """
    text = text.replace("\r\n", "\n").strip("\ufeff")
    if (in_line := IN_LINE.fullmatch(text.strip())) is not None:
        return in_line[2].strip()
    is_code = read_code(ast.parse, dedented(text)) is not None
    found = [] if is_code else blocks(text) or blocks(text.rstrip() + "\n" + unclosed(text))
    found = [block for block in found if block.is_python] or found
    code = found[-1].code if found else text
    return aligned(dedented(code).strip("\n")).rstrip()


def unclosed(text: str) -> str:
    """The fence that a text begins with, which would close it."""
    fence = re.match(r"\s*(`{3,}|~{3,})", text)
    return fence[1] if fence else ""


def aligned(code: str) -> str:
    """Code whose first line has another margin than the others, as after a tag: the first that is Python of
    the code itself, without the first line's margin, and without the others' margin too."""
    first, newline, rest = code.partition("\n")
    without = first.lstrip(" \t")
    every = (code, without + newline + rest, without + newline + dedented(rest))
    return next((one for one in every if read_code(ast.parse, one) is not None), every[1])


def shown(finished: Finished, most: int) -> str:
    if finished.why != "exit":
        return WHY.get(finished.why, finished.why)
    output = finished.output.decode(errors="replace").strip("\n")
    if finished.code:
        errors = finished.errors.decode(errors="replace").strip().splitlines()
        output += ("\n" if output else "") + (errors[-1] if errors else f"ended with code {finished.code}")
    # The policy must not mistake the program's text for the end of the output.
    output = output.replace("</output>", "< /output>")
    return output if len(output) <= most else "..." + output[-most:]
