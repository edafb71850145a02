r"""What a tidied answer says, as a tree: numbers, names, functions, tuples, intervals, sets, lists,
relations, matrices.

Menon has its own reader for two reasons: a model's text reaches no parser that could run it, and the outer
form (pairs, sets, units, chains of equations) is decided by rules rather than guessed. It raises `Unreadable`
for anything that it does not know.
"""

from menon.reward.math.node import Node
from menon.reward.math.terms import RELATIONS, SETS, Terms
from menon.reward.math.tokens import Token, TooLarge, Unreadable, tokens_of

DEEPEST = 40
"""Most levels of nested groups."""


def read(text: str) -> Node:
    """The tree of a tidied text. Raises `Unreadable` or `TooLarge`."""
    reader = Reader(tokens_of(text.lstrip(" ,;:").rstrip(" .,;:") if "..." not in text else text))
    node = reader.items()
    if reader.place < len(reader.tokens):
        raise Unreadable(f"stops at {reader.tokens[reader.place].text!r}")
    return node


def listed(nodes: list[Node]) -> Node:
    """One item as it is, several as a list; in `x = 2, 3` the label is for all."""
    first, *rest = nodes
    if (
        rest
        and first.head == "relation"
        and first.value == "="
        and not any(node.head == "relation" for node in rest)
    ):
        return Node("relation", (first.parts[0], Node("list", (first.parts[1], *rest))), "=")
    return Node("list", tuple(nodes)) if rest else first


class Reader(Terms):
    """The upper levels: lists, relations, unions, brackets, matrices."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.depth = 0

    def items(self) -> Node:
        """`a, b; c`: one item as it is, several as a list; groups of several items between semicolons are
        tuples."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise TooLarge("nested too deeply")
        groups: list[list[Node]] = [[self.relation()]]
        while self.next in (",", ";", "or"):
            signs = [self.take().text]
            while self.next in (",", "or"):  # "1, 2, or 3" is one group
                signs.append(self.take().text)
            if self.place == len(self.tokens):
                break
            if ";" in signs or signs == ["or"]:
                groups.append([])
            groups[-1].append(self.relation())
        self.depth -= 1
        if len(groups) == 1 or len({len(group) for group in groups}) > 1 or len(groups[0]) == 1:
            return listed([node for group in groups for node in group])
        return Node("list", tuple(Node("pair", tuple(group), "()") for group in groups))

    def relation(self) -> Node:
        members, signs = [self.union()], []
        while self.next in RELATIONS:
            signs.append(RELATIONS[self.take().text])
            members.append(self.union())
        return Node("relation", tuple(members), " ".join(signs)) if signs else members[0]

    def union(self) -> Node:
        node = self.sum()
        while self.next in SETS:
            node = Node(SETS[self.take().text], (node, self.sum()))
        return node

    def bracketed(self) -> Node:
        """(1, 2), [0, 1), or brackets around one value."""
        opened = self.take().text
        bars, self.bars = self.bars, 0
        inside = self.items()
        self.bars = bars
        closed = self.take().text
        if closed not in (")", "]"):
            raise Unreadable(f"closes {opened} with {closed}")
        if inside.head == "list" and len(inside.parts) > 1:
            return Node("pair", inside.parts, opened + closed)
        if opened + closed in ("(]", "[)"):
            raise Unreadable("has odd brackets")
        if self.next == "_" and inside.head == "number":
            self.take()
            return Node("based", (self.argument(),), str(inside.value))
        return inside

    def braces(self) -> Node:
        if self.next == "\\}":
            self.take()
            return Node("set")
        outside, self.describes = self.describes, True
        inside = self.items()
        self.describes = outside
        if self.next in ("|", ":"):
            self.take()
            inside = self.items()  # {x | x > 0} is read as its condition
            self.expect("\\}")
            return inside
        self.expect("\\}")
        return Node("set", inside.parts if inside.head == "list" else (inside,))

    def matrix(self) -> Node:
        rows: list[list[Node]] = [[]]
        while self.next != "\\endmatrix":
            rows[-1].append(self.sum())
            if self.next == "&":
                self.take()
            elif self.next == "\\\\":
                self.take()
                if self.next != "\\endmatrix":
                    rows.append([])
            elif self.next != "\\endmatrix":
                raise Unreadable(f"has {self.next!r} in a matrix")
        self.take()
        if len({len(row) for row in rows}) != 1:
            raise Unreadable("is a matrix with uneven rows")
        return Node("matrix", tuple(Node("row", tuple(row)) for row in rows))
