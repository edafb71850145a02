"""The program in an answer (docs/numerics.md, 13.4)."""

import ast
import re

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([^\n`]*)$", re.MULTILINE)
LANGUAGES = ("", "python", "python3", "py", "py3", "python 3")


def last_block(completion: str) -> str | None:
    """The contents of the last closed fenced block marked as Python, else of the last one of any kind; None
    if there is none.

    >>> last_block("so:\\n```python\\nprint(1)\\n```\\nwhich prints 1")
    'print(1)\\n'
    """
    found: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in FENCE.finditer(completion):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[2].strip():
            found.append((opened[2].strip().lower(), completion[opened.end() + 1 : fence.start()]))
            opened = None
    python = [code for language, code in found if language in LANGUAGES]
    blocks = python or [code for _, code in found]
    return blocks[-1] if blocks else None


def completed(question: str, code: str, entry: str) -> str:
    """The program: where the question is the beginning of one (HumanEval), its imports and helpers go in
    front, and code that is only the body of its last function is put into it."""
    if not entry or not defines(question, entry) or not parses(question):
        return code
    if defines(code, entry):
        return question.rstrip() + "\n\n\n" + code
    body = code if code[:1] in " \t" else "    " + code
    return question.rstrip() + "\n" + body


def parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def defines(code: str, name: str) -> bool:
    """Whether code seems to define a function, class or variable of that name at its top; broken code is
    searched too."""
    name = re.escape(name)
    return re.search(rf"^(?:async\s+def|def|class)\s+{name}\b|^{name}\s*[:=]", code, re.MULTILINE) is not None
