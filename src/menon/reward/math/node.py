"""The tree of an answer, and the small steps of building one."""

from dataclasses import dataclass
from fractions import Fraction

from menon.reward.math.tokens import TooLarge

LARGEST = 4000
"""Most digits of a number, and its largest power of ten."""


@dataclass(frozen=True)
class Node:
    """head: number, name, word, unit, based, a function's name, or one of

    + * / ^ neg pm mp        arithmetic
    pair (value: brackets)   (1, 2) and [0, 1): a tuple or an interval, which look alike
    set, list                {1, 2}; 1, 2: order does not matter
    relation (value: signs)  a < b = c: members in `parts`
    cup cap setminus         of sets
    ratio                    a : b : c
    sum prod (value: index)  start, end, body
    matrix, row
    """

    head: str
    parts: tuple["Node", ...] = ()
    value: Fraction | str | None = None
    places: int = 0
    """Digits after the decimal point of a number that is written with one."""


def number_node(value: Fraction | int, places: int = 0) -> Node:
    return Node("number", (), Fraction(value), places)


def joined(head: str, left: Node, right: Node) -> Node:
    """A product or quotient; a unit at its end belongs to all of it."""
    if right.head == "unit":
        return Node("unit", (Node(head, (left, right.parts[0])),), right.value)
    return Node(head, (left, right))


def negated(node: Node) -> Node:
    if node.head == "unit":
        return Node("unit", (negated(node.parts[0]),), node.value)
    return Node("neg", (node,))


def is_whole(node: Node) -> bool:
    return (
        node.head == "number"
        and node.places == 0
        and isinstance(node.value, Fraction)
        and node.value.denominator == 1
    )


def is_proper(node: Node) -> bool:
    """A fraction of two whole numbers, as in a mixed number."""
    return node.head == "/" and all(is_whole(part) for part in node.parts)


def literal(text: str) -> Node:
    mantissa, _, exponent = text.lower().partition("e")
    power = int(exponent or 0)
    if abs(power) > LARGEST or len(mantissa) > LARGEST:
        raise TooLarge("a very large number")
    places = len(mantissa.partition(".")[2])
    return number_node(Fraction(int(mantissa.replace(".", "")), 10**places) * Fraction(10) ** power, places)
