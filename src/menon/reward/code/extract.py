"""The program in an answer (docs/numerics.md, 13.4)."""

import ast
import re
from collections.abc import Callable, Collection, Sequence

from menon.sandbox.fences import Block, blocks
from menon.sandbox.names import BUILTIN, free_names, read_code

SESSION = (">>>", "In [", "$ ", "C:\\")
"""How a block begins that shows a terminal."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def last_block(completion: str, asked: Callable[[], Collection[str]] = tuple) -> str | None:
    """The program in an answer: the contents of one of its closed fenced blocks, without their margin; None
    if there is none.

    `asked` gives the names that the tests ask for (it is called only where there is a choice). The last block
    that defines most of them is the program. Where none defines any, it is the last block that says Python,
    else the last without a language, else the last of any other. Blocks that only show how an earlier one is
    used, or what it prints, are passed over.

    >>> last_block("so:\\n```python\\nprint(1)\\n```\\nwhich prints\\n```\\n1\\n```")
    'print(1)\\n'
    """
    found = blocks(completion)
    if len(found) < 2:
        return found[0].code if found else None
    names = asked()
    most = max(sum(defines(block.code, name) for name in names) for block in found)
    if most:
        found = [b for b in found if sum(defines(b.code, name) for name in names) == most]
    return last_program(found).code


def last_program(found: Sequence[Block]) -> Block:
    """The last block that may be the program, of the best kind that there is: Python, no language, any
    other."""
    python = [block for block in found if block.is_python]
    plain = [block for block in found if not block.info]
    for kind in (python, plain):
        for block in reversed(kind):
            if is_program(block) and not shows_use(block, found[: found.index(block)]):
                return block
    return (python or plain or found)[-1]


def is_program(block: Block) -> bool:
    """Whether a block does something. Sample output (`7`, `yes`, `O(1)`, `n = 3`), a terminal and a signature
    (`def f(x): ...`) do not; code that is broken counts if it says Python, because the answer then gave a
    broken program."""
    if block.code.lstrip().startswith(SESSION):
        return False
    tree = tree_of(block.code)
    if tree is None:
        return block.is_python
    return any(map(acts, ast.walk(tree)))


def acts(node: ast.AST) -> bool:
    if isinstance(node, FUNCTIONS):
        last = node.body[-1]
        return not (isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant))
    if isinstance(node, ast.Call):
        return called(node) in BUILTIN or isinstance(node.func, ast.Attribute)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Return | ast.Assert | ast.Raise)


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def shows_use(block: Block, earlier: Sequence[Block]) -> bool:
    """Whether a block uses a function or class that only an earlier one defines, so that it cannot run
    alone."""
    code = "\n".join(before.code for before in earlier)
    used = read_code(free_names, block.code) if code else None
    return any(defines_callable(code, name) for name in used or ())


def completed(question: str, code: str, entry: str) -> str:
    """The program: where the question is the beginning of one (HumanEval), its imports and helpers go in
    front, and code that is only the body of its last function is put into it."""
    if not entry or not defines(question, entry) or not parses(question):
        return code
    if defines(code, entry):
        return question.rstrip() + "\n\n\n" + code
    whole = "".join(f"    {line}" if line.strip() else line for line in code.splitlines(keepends=True))
    first = "    " + code.lstrip(" \t")  # the margin of the first line alone was left out
    start = question.rstrip() + "\n"
    return next((start + body for body in (whole, first) if parses(start + body)), start + whole)


def parses(code: str) -> bool:
    return tree_of(code) is not None


def tree_of(code: str) -> ast.Module | None:
    """The syntax tree; None of what is no Python."""
    return read_code(ast.parse, code)


def defines(code: str, name: str) -> bool:
    """Whether code seems to define a function, class or variable of that name at its top, or a method of a
    class `Solution`; broken code is searched too."""
    if defines_callable(code, name) or re.search(rf"^{re.escape(name)}\s*[:=](?!=)", code, re.MULTILINE):
        return True
    method = rf"^[ \t]+(?:async\s+)?def\s+{re.escape(name)}\b"
    return re.search(r"^class\s+Solution\b", code, re.MULTILINE) is not None and (
        re.search(method, code, re.MULTILINE) is not None
    )


def defines_callable(code: str, name: str) -> bool:
    pattern = rf"^(?:async\s+def|def|class)\s+{re.escape(name)}\b"
    return re.search(pattern, code, re.MULTILINE) is not None
