"""Whether two single values are the same: words, numerals, decimals, expressions."""

from dataclasses import replace
from fractions import Fraction

from menon.reward.math import families
from menon.reward.math import value as math_value
from menon.reward.math.node import Node
from menon.reward.math.text import words
from menon.reward.math.value import Undefined, Unknown

FEWEST = 6
"""Significant digits that a decimal must have to stand for a number without a finite decimal."""
FLOAT = 15
"""Significant digits of a float that was printed in full; the last of them are rounding noise."""


def same_leaf(gold: Node, stated: Node) -> bool:
    if gold == stated:
        return True
    if "word" in (gold.head, stated.head):
        return spelling(gold) == spelling(stated)
    gold, stated = selections(gold), families.same_constant(gold, selections(stated))
    if "based" in (gold.head, stated.head):
        return same_numeral(gold, stated)
    if holds("infty", gold) or holds("infty", stated) or holds("matrix", gold) != holds("matrix", stated):
        if any(holds(head, node) for head in ("sum", "prod") for node in (gold, stated)):
            raise Unknown("an endless sum")
        return False
    if stands_for(stated, gold) or stands_for(gold, stated):
        return True
    try:
        return math_value.same_values(gold, stated)
    except Undefined:
        return False


def selections(node: Node) -> Node:
    """C(5,2) and P(5,2) as numbers of selections."""
    if node.head == "*" and len(node.parts) == 2 and node.parts[0].value in ("C", "P", "A"):
        chosen = node.parts[1]
        if chosen.head == "pair" and chosen.value == "()" and len(chosen.parts) == 2:
            return Node("binom" if node.parts[0].value == "C" else "arrangements", chosen.parts)
    return replace(node, parts=tuple(map(selections, node.parts))) if node.parts else node


def spelling(node: Node) -> str:
    """The spelling of a word, or of letters written side by side."""
    if node.head == "*":
        return "".join(spelling(part) for part in node.parts)
    if node.head in ("word", "name") and len(str(node.value)) == 1:
        return str(node.value)
    return words(str(node.value)).replace(" ", "") if node.head in ("word", "name") else "\0" + str(node)


def same_numeral(gold: Node, stated: Node) -> bool:
    """Whether two numerals in a base are equal: the base may be left out, because the question names it, but
    must not differ."""
    one, other = (node.value if node.head == "based" else whole_digits(node) for node in (gold, stated))
    bases = [node.parts for node in (gold, stated) if node.head == "based"]
    return one is not None and one == other and all(base == bases[0] for base in bases)


def whole_digits(node: Node) -> str | None:
    is_whole = node.head == "number" and isinstance(node.value, Fraction) and node.value.denominator == 1
    return str(node.value) if is_whole else None


def holds(what: str, node: Node) -> bool:
    """Whether a tree holds a head or a name."""
    if node.head in (what, "det"):
        return node.head == what
    return (node.head == "name" and node.value == what) or any(holds(what, part) for part in node.parts)


def stands_for(decimal: Node, other: Node) -> bool:
    """Whether a decimal approximates a number that has no finite decimal (rounded or cut at its last digit),
    or is a float with rounding noise."""
    negative = decimal.head == "neg"
    literal = decimal.parts[0] if negative else decimal
    if literal.head != "number" or not literal.places or not isinstance(literal.value, Fraction):
        return False
    value = math_value.constant(other)
    if value is None:
        return False
    written = -literal.value if negative else literal.value
    significant = len(str(abs(literal.value.numerator * 10**literal.places // literal.value.denominator)))
    if isinstance(value, Fraction):
        distance: Fraction | float = abs(value - written)
        if is_finite_decimal(value):
            return significant >= FLOAT and distance <= abs(value) / 10 ** (FLOAT - 1)
        return significant >= FEWEST and distance < Fraction(1, 10**literal.places)
    gap = abs(value - math_value.real(written))
    return significant >= FEWEST and bool(gap < math_value.real(Fraction(1, 10**literal.places)))


def is_finite_decimal(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1
