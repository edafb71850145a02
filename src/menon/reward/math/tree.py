r"""What a tidied answer says, as a tree: numbers, names, functions, tuples, intervals, sets, lists,
relations, matrices.

Menon has its own reader for two reasons: a model's text reaches no parser that could run it, and the outer
form (pairs, sets, units, chains of equations) is decided by rules rather than guessed. It raises `Unreadable`
for anything that it does not know.
"""

from menon.reward.math.atoms import RELATIONS, SETS
from menon.reward.math.layout import laid_out
from menon.reward.math.node import Node, joined
from menon.reward.math.terms import Terms
from menon.reward.math.tokens import LONGEST, Token, TooLarge, Unreadable, tokens_of
from menon.reward.math.wording import expanded

DEEPEST = 40
"""Most levels of nested groups."""
JOINTS = frozenset({",", ";", "or", "and", "\\\\"})
"""What separates the items of a list."""


def read(text: str) -> Node:
    """The tree of a tidied text. Raises `Unreadable` or `TooLarge`."""
    if len(text) > LONGEST:
        raise TooLarge(f"longer than {LONGEST} characters")
    text = laid_out(text)
    text = text.lstrip(" ,;:").rstrip(" .,;:") if "..." not in text else text
    reader = Reader(expanded(tokens_of(text)))
    node = reader.items()
    if reader.place < len(reader.tokens):
        raise Unreadable(f"stops at {reader.tokens[reader.place].text!r}")
    return node


def listed(nodes: list[Node], joints: set[str]) -> Node:
    """One item as it is, several as a list; in `x = 2, 3` the label is for all. The value of a list is the
    word that joins its items, if it is the same between all."""
    first, *rest = nodes
    if (
        rest
        and first.head == "relation"
        and first.value == "="
        and not any(node.head == "relation" for node in rest)
    ):
        return Node("relation", (first.parts[0], Node("list", (first.parts[1], *rest))), "=")
    joint = next(iter(joints)) if len(joints) == 1 else None
    return Node("list", tuple(nodes), joint if joint in ("and", "or") else None) if rest else first


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
        joints: set[str] = set()
        while self.next in JOINTS:
            signs = [self.take().text]
            while self.next in JOINTS - {";"}:  # "1, 2, or 3" is one group
                signs.append(self.take().text)
            if self.place == len(self.tokens):
                break
            joints |= set(signs)
            if ";" in signs or signs == ["or"]:
                groups.append([])
            groups[-1].append(self.relation())
        self.depth -= 1
        if len(groups) == 1 or len({len(group) for group in groups}) > 1 or len(groups[0]) == 1:
            return listed([node for group in groups for node in group], joints)
        return Node("list", tuple(Node("pair", tuple(group), "()") for group in groups))

    def relation(self) -> Node:
        members, signs = [self.union()], list[str]()
        while self.next in RELATIONS:
            signs.append(RELATIONS[self.take().text])
            members.append(self.union())
        return Node("relation", tuple(members), " ".join(signs)) if signs else members[0]

    def union(self) -> Node:
        node = self.ratio()
        while self.next in SETS:
            node = Node(SETS[self.take().text], (node, self.ratio()))
        return node

    def ratio(self) -> Node:
        """a : b as a quotient; a : b : c as the ratio that it is."""
        members = [self.sum()]
        while self.next == ":" and not self.describes:
            self.take()
            members.append(self.sum())
        if len(members) > 2:
            return Node("ratio", tuple(members))
        return joined("/", *members) if len(members) == 2 else members[0]

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
            condition = self.items()
            self.expect("\\}")
            if inside.head == "relation" and inside.parts[-1].value in ("Z", "N", "Q", "C"):
                return Node("list", (condition, inside))
            if inside.head in ("name", "relation", "pair", "list"):  # {x | x > 0} is read as its condition
                return condition
            return Node("list", (inside, *(condition.parts if condition.head == "list" else (condition,))))
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
