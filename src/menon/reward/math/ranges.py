"""Sets of real numbers that are written in several ways, as intervals."""

from itertools import pairwise

from menon.reward.math import value as math_value
from menon.reward.math.node import Node

INFINITE = Node("name", (), "infty")
BELOW = Node("neg", (INFINITE,))
REALS = Node("pair", (BELOW, INFINITE), "()")
RANGES = frozenset({"pair", "cup", "setminus"})


def is_symbolic(node: Node) -> bool:
    """A name, an application f(x), a product or ratio or tuple of names: what an answer may be labelled
    with."""
    if node.head in ("name", "word"):
        return node.value not in ("pi", "e", "i", "infty")
    if node.head == "call":
        return True
    if node.head == "abs" and node.parts[0].value in ("x", "y"):  # |x| = 5 says less than x = 5
        return False
    return node.head in ("*", "/", "pair", "abs", "list") and all(is_symbolic(part) for part in node.parts)


def labels(node: Node) -> bool:
    return is_symbolic(node) and node.head in ("name", "call", "*")


def is_equation(node: Node) -> bool:
    return node.head == "relation" and set(str(node.value).split()) == {"="}


def is_bound(node: Node) -> bool:
    return node.head == "relation" and set(str(node.value).split()) <= {"<", "<=", ">", ">=", "!="}


def as_range(node: Node, other: Node) -> Node:
    """The node as intervals where it is compared with a set of real numbers: `0 < x < 1` as (0, 1), several
    such as their union, R, and R without some numbers."""
    chain = other.head == "relation" and len(other.parts) == 3
    together = node.head == "list" and node.value == "and" and all(map(is_bound, node.parts))
    if together and (other.head in RANGES or chain or other.value == "and"):
        return both_bounds(node)
    if node.head == "relation" and other.head == "list" and other.value == "and" and is_bound(node):
        return interval_where(node)
    if other.head not in RANGES and not (other.head == "name" and other.value == "R"):
        return node
    if node.head == "name" and node.value == "R":
        return REALS
    if node.head == "setminus":
        return without_numbers(node)
    if node.head == "list" and all(map(is_bound, node.parts)):
        if all(part.value == "!=" for part in node.parts):
            excluded = Node("set", tuple(part.parts[1] for part in node.parts))
            return without_numbers(Node("setminus", (Node("name", (), "R"), excluded)))
        return Node("cup", tuple(interval_where(part) for part in node.parts))
    return interval_where(node)


def both_bounds(node: Node) -> Node:
    """`x > 3 and x < 5` as (3, 5)."""
    ranges = [interval_where(part) for part in node.parts]
    if len(ranges) != 2 or any(one.head != "pair" for one in ranges):
        return node
    if {one.head for part in node.parts for one in part.parts if labels(one)} != {"name"}:
        return node
    below = [one for one in ranges if one.parts[0] == BELOW]
    above = [one for one in ranges if one.parts[1] == INFINITE]
    names = {str(one.value) for part in node.parts for one in part.parts if labels(one)}
    if len(below) != 1 or len(above) != 1 or len(names) != 1:
        return node
    return Node(
        "pair", (above[0].parts[0], below[0].parts[1]), str(above[0].value)[0] + str(below[0].value)[1]
    )


def without_numbers(node: Node) -> Node:
    """R without finitely many numbers, as a union of intervals."""
    whole, excluded = node.parts
    if whole not in (Node("name", (), "R"), REALS) or excluded.head != "set" or not excluded.parts:
        return node
    values = {}
    for part in excluded.parts:
        value = math_value.constant(part)
        if value is None or math_value.ctx.im(math_value.real(value)) != 0:
            return node
        values[part] = math_value.ctx.re(math_value.real(value))
    ends = [BELOW, *sorted(values, key=lambda part: values[part]), INFINITE]
    return Node("cup", tuple(Node("pair", (low, high), "()") for low, high in pairwise(ends)))


def interval_where(node: Node) -> Node:
    """`0 < x < 1` as (0, 1); anything else as it is."""
    if node.head != "relation":
        return node
    parts, found = node.parts, str(node.value).split()
    if found == ["!="] and labels(parts[0]):
        return Node("cup", (Node("pair", (BELOW, parts[1]), "()"), Node("pair", (parts[1], INFINITE), "()")))
    if any(sign in (">", ">=") for sign in found):
        parts, found = parts[::-1], [sign.replace(">", "<") for sign in found[::-1]]
    if any(sign not in ("<", "<=") for sign in found):
        return node
    opened, closed = "(" if found[0] == "<" else "[", ")" if found[-1] == "<" else "]"
    if len(parts) == 3 and labels(parts[1]):
        return Node("pair", (parts[0], parts[2]), opened + closed)
    if len(parts) == 2 and labels(parts[0]):
        return Node("pair", (BELOW, parts[1]), "(" + closed)
    if len(parts) == 2 and labels(parts[1]):
        return Node("pair", (parts[0], INFINITE), opened + ")")
    return node
