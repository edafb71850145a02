r"""Matrices and columns that are written in other ways: transposed, or in brackets as programs print them."""

import re

from menon.reward.math.node import Node

TRANSPOSES = frozenset({"T", "t", "'"})
_ENTRY = (
    r"[-+]? *(?:\d* *\\sqrt *(?:\{\d+\}|\d)|\d+(?:\.\d+)?(?: */ *\d+)?|\\frac *(?:\{-?\d+\} *\{\d+\}|\d\d)"
    r"|[a-z](?![a-z]))"
)
_ROW = rf"{_ENTRY}(?: *, *{_ENTRY}| +{_ENTRY})*"
_ROWS = re.compile(rf"(?<![\]\w]) *\[ *({_ROW}(?: *; *{_ROW})*) *\](?! *\[)")
_NESTED = re.compile(rf"\[ *(\[ *{_ROW} *\](?: *, *\[ *{_ROW} *\])*) *\]")
_ENTRIES = re.compile(rf" *(?:,|(?<=[\w}}]) +(?={_ENTRY})) *")
_LEFT = re.compile(r"^(?P<label>[^^{}\\]*=)? *\^ *\{? *[tT] *\}? *(?P<matrix>[\[(]? *\\begin.*)$", re.DOTALL)


def transposed(node: Node) -> Node:
    """A transposed matrix, row or tuple as the matrix that it is; anything else as it is."""
    if (
        node.head != "^"
        or node.parts[1].head not in ("name", "word")
        or str(node.parts[1].value) not in TRANSPOSES
    ):
        return node
    base = node.parts[0]
    if base.head == "pair":
        return Node("matrix", tuple(Node("row", (part,)) for part in base.parts))
    if base.head != "matrix":
        return node
    columns = zip(*(row.parts for row in base.parts), strict=True)
    return Node("matrix", tuple(Node("row", column) for column in columns))


def rows_as_matrix(text: str) -> str:
    r"""The rows `[1;2]`, `[1 2; 3 4]` and `[[1,2],[3,4]]` as matrices; a `^t` before one comes after it."""
    text = _LEFT.sub(r"\g<label>\g<matrix>^T", text)
    text = _NESTED.sub(lambda found: _matrix(re.split(r"\] *, *\[", found[1].strip(" []"))), text)
    return _ROWS.sub(lambda found: _matrix(found[1].split(";")), text)


def _matrix(rows: list[str]) -> str:
    cells = [" & ".join(_ENTRIES.split(row.strip())) for row in rows]
    return "\\begin{matrix}" + " \\\\ ".join(cells) + "\\end{matrix}"
