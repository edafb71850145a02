"""Values with units: amounts in one unit, and whether two amounts are the same."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from menon.reward.math.node import Node, number_node
from menon.reward.math.units import same_unit

Same = Callable[[Node, Node], bool]


def has_unit(node: Node) -> bool:
    return node.head == "unit" or any(has_unit(part) for part in node.parts)


def amount(node: Node) -> Node:
    """2 hours 30 minutes as 150 minutes: a sum of amounts in the unit of the last one; anything else as it
    is."""
    if node.head == "neg" and (inner := amount(node.parts[0])).head == "unit":
        return Node("unit", (Node("neg", inner.parts),), inner.value)
    if node.head == "list" and node.value != "or" and falls(node):
        node = replace(node, head="+")
    if node.head != "+" or not all(amount(part).head == "unit" for part in node.parts):
        return node
    parts = [amount(part) for part in node.parts]
    last = str(parts[-1].value)
    terms = []
    for part in parts:
        factor = same_unit(str(part.value), last)
        if factor is None:
            return node
        terms.append(scaled(part.parts[0], factor))
    return Node("unit", (Node("+", tuple(terms)),), last)


def falls(node: Node) -> bool:
    """Whether a list is one amount in units that get smaller: 1 hour, 5 minutes."""
    if not all(part.head == "unit" for part in node.parts):
        return False
    factors = [same_unit(str(one.value), str(other.value)) for one, other in pairwise(node.parts)]
    return all(factor is not None and factor > 1 for factor in factors)


def scaled(node: Node, factor: Fraction) -> Node:
    return node if factor == 1 else Node("*", (number_node(factor), node))


def same_amounts(gold: Node, stated: Node, same: Same) -> bool:
    """Whether two amounts are the same. A unit that only one of them has does not count, unless the amount
    is a sum in several units; two units must measure the same. Percent may be meant as hundredths."""
    one, other = (str(node.value or "") if node.head == "unit" else "" for node in (gold, stated))
    gold, stated = (node.parts[0] if node.head == "unit" else node for node in (gold, stated))
    if "percent" in (one, other):
        return (one == other and same(gold, stated)) or same_percent(gold, stated, one, other, same)
    if one.startswith("mod ") and not other:
        return False
    if not one or not other or one == other:
        return same(gold, stated)
    if one.startswith("mod ") or other.startswith("mod "):
        return False
    factor = same_unit(other, one)
    return factor is not None and same(gold, scaled(stated, factor))


def same_percent(gold: Node, stated: Node, one: str, other: str, same: Same) -> bool:
    if one and other:
        return False
    hundredth = Node("/", (gold if one else stated, number_node(100)))
    return same(hundredth, stated if one else gold) or same(gold, stated)
