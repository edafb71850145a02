"""Answers with a parameter: `k pi` for every integer k, and antiderivatives up to a constant."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from menon.reward.math import value as math_value
from menon.reward.math.lexicon import names_in
from menon.reward.math.node import Node, is_whole, number_node
from menon.reward.math.ranges import is_bound, is_equation

MOST_TURNS = 60
"""Most residues by which families are compared."""
SETS = frozenset({"Z", "N", "R", "Q", "C"})
INDICES = names_in("n k m l j i p q t")
"""Letters that stand for a whole number where a bound is all that is said about them."""
CONSTANTS = names_in("C c K k D C_0 C_1 c_1")


def split(node: Node) -> tuple[Node, dict[str, str]]:
    """An answer without its conditions, and the set from which each parameter is: `k pi, k in Z`."""
    if node.head != "list":
        return node, {}
    sets: dict[str, str] = {}
    kept = []
    for part in node.parts:
        found = condition(part)
        if found is None:
            kept.append(part)
        else:
            sets |= found
    if not sets or not kept or not set(sets) <= occurring(kept):
        return node, {}
    return (kept[0] if len(kept) == 1 else replace(node, parts=tuple(kept))), sets


def occurring(nodes: list[Node]) -> frozenset[str]:
    return frozenset().union(*map(math_value.names, nodes))


def condition(node: Node) -> dict[str, str] | None:
    """The name and the set of `k in Z` or `n >= 1`; None for anything else."""
    if node.head != "relation" or len(node.parts) != 2 or node.parts[0].head not in ("name", "list"):
        return None
    if node.value == "in" and node.parts[1].head == "name" and node.parts[1].value in SETS:
        names = [node.parts[0]] if node.parts[0].head == "name" else node.parts[0].parts
        return {str(name.value): str(node.parts[1].value) for name in names}
    letter = node.parts[0].value
    if node.value in (">", ">=") and letter in INDICES and is_whole(node.parts[1]):
        return {str(letter): "N"}
    return None


def reconciled(gold: Node, stated: Node) -> tuple[Node, Node, bool] | None:
    """Both without conditions, the parameter of the stated one named as that of the gold one, and whether
    they are families over all integers. None where their conditions differ."""
    gold, gold_sets = split(gold)
    stated, stated_sets = split(stated)
    if not gold_sets and not stated_sets:
        return gold, stated, False
    gold_sets, stated_sets = without_labels(gold, gold_sets), without_labels(stated, stated_sets)
    if (restricts(gold, gold_sets) or restricts(stated, stated_sets)) and gold_sets != stated_sets:
        return None
    if not gold_sets and set(stated_sets.values()) & {"R", "Q", "C"}:
        return None
    if gold_sets and stated_sets and sorted(gold_sets.values()) != sorted(stated_sets.values()):
        return None
    gold_names, stated_names = math_value.names(gold), math_value.names(stated)
    mine = set(gold_sets or gold_names - stated_names)
    theirs = set(stated_sets or stated_names - gold_names)
    if not gold_sets and not mine:
        mine = theirs & gold_names
    if len(mine) == len(theirs) == 1 and mine != theirs:
        old, new = theirs.pop(), next(iter(mine))
        if new in stated_names or not (gold_sets or new in INDICES) or not (stated_sets or old in INDICES):
            return gold, stated, False
        stated = math_value.put(stated, old, Node("name", (), new))
    whole = "Z" in (*gold_sets.values(), *stated_sets.values()) and (
        bool(gold_sets) or any(holds_pi(node) for node in (gold,))
    )
    return gold, stated, whole and len(mine) == 1


def without_labels(node: Node, sets: dict[str, str]) -> dict[str, str]:
    """The sets without those that say nothing new: of what an equation solves for, and that the variable of
    an inequality is real."""
    nodes = node.parts if node.head == "list" else (node,)
    equations = {part.parts[0].value for part in nodes if is_equation(part) and part.parts[0].head == "name"}
    free = bounded(node) | {added_constant(node)}
    return {
        name: of for name, of in sets.items() if name not in equations and not (name in free and of == "R")
    }


def restricts(node: Node, sets: dict[str, str]) -> bool:
    """Whether a set leaves only some of the numbers between bounds: `x > 2, x in Z`."""
    return bool(bounded(node) & set(sets))


def bounded(node: Node) -> set[str]:
    """The names in inequalities."""
    nodes = node.parts if node.head == "list" else (node,)
    return {str(one.value) for part in nodes if is_bound(part) for one in part.parts if one.head == "name"}


def holds_pi(node: Node) -> bool:
    return node == Node("name", (), "pi") or any(map(holds_pi, node.parts))


def same_progressions(gold: Node, stated: Node) -> bool:
    """Whether the numbers a + b k, for all integers k, are the same, where each side is one such expression
    or several: k pi is also -k pi, and 2k pi together with pi + 2k pi.

    Each side is brought to its residues modulo the least common multiple of all steps; two sides with equal
    residues are the same.
    """
    sides = [progressions(node) for node in (gold, stated)]
    names = [occurring(list(side)) for side in sides]
    if len(names[0]) != 1 or names[0] != names[1] or len(solved_for(gold) | solved_for(stated)) > 1:
        return False
    try:
        lines = [[line(one, next(iter(names[0]))) for one in side] for side in sides]
        unit = lines[0][0][1]
        found = [[(ratio(start, unit), steps_in(step, unit)) for start, step in side] for side in lines]
        modulus = least_multiple([step for side in found for _, step in side])
        one, other = (
            [turn for start, step in side for turn in residues(start, step, modulus)] for side in found
        )
        return includes(one, other, modulus) and includes(other, one, modulus)
    except (math_value.Undefined, math_value.Unknown, ValueError):
        return False


def solved_for(node: Node) -> set[str]:
    """The names on the left of equations."""
    nodes = node.parts if node.head in ("list", "set") else (node,)
    return {str(part.parts[0].value) for part in nodes if is_equation(part) and part.parts[0].head == "name"}


def progressions(node: Node) -> tuple[Node, ...]:
    """The expressions of one side, without labels."""
    nodes = node.parts if node.head in ("list", "set") else (node,)
    return tuple(
        part.parts[-1] if is_equation(part) and part.parts[0].head == "name" else part for part in nodes
    )


def ratio(one: math_value.Value, other: math_value.Value) -> math_value.Value:
    if math_value.is_zero(other):
        raise ValueError("no step")
    return math_value.divide(one, other)


def steps_in(step: math_value.Value, unit: math_value.Value) -> Fraction:
    """A step in units of another one, without its sign; ValueError where that is no simple fraction."""
    exact = ratio(step, unit)
    number = math_value.ctx.re(math_value.real(exact))
    found = Fraction(str(math_value.ctx.nstr(number, 20))).limit_denominator(MOST_TURNS)
    if not found or not math_value.equal(exact, found):
        raise ValueError("steps that do not meet")
    return abs(found)


def least_multiple(steps: list[Fraction]) -> Fraction:
    """The smallest number that is a multiple of each; ValueError where it is too large to be compared."""
    below = math.lcm(*(step.denominator for step in steps))
    modulus = Fraction(math.lcm(*(int(step * below) for step in steps)), below)
    if sum(modulus / step for step in steps) > MOST_TURNS:
        raise ValueError("too many residues")
    return modulus


def residues(start: math_value.Value, step: Fraction, modulus: Fraction) -> list[math_value.Value]:
    return [math_value.add(start, step * turn) for turn in range(int(modulus / step))]


def includes(turns: list[math_value.Value], others: list[math_value.Value], modulus: Fraction) -> bool:
    """Whether every residue of `others` is one of `turns`."""
    return all(
        any(is_integer(math_value.divide(math_value.add(one, -other), modulus)) for one in turns)
        for other in others
    )


def is_integer(value: math_value.Value) -> bool:
    return math_value.equal(
        value, Fraction(int(math_value.ctx.nint(math_value.ctx.re(math_value.real(value)))))
    )


def line(node: Node, name: str) -> tuple[math_value.Value, math_value.Value]:
    """Start and step of an expression that is linear in the name; ValueError where it is not."""
    values = [math_value.worth(math_value.put(node, name, number_node(point)), 0) for point in range(4)]
    steps = [math_value.add(after, -before) for before, after in pairwise(values)]
    if not all(math_value.equal(step, steps[0]) for step in steps):
        raise ValueError("not linear")
    return values[0], steps[0]


def same_constant(gold: Node, stated: Node) -> Node:
    """The stated expression with its added constant named as that of the gold one: +C may be +c or +K."""
    mine, theirs = added_constant(gold), added_constant(stated)
    if mine is None or not mine.startswith("C") or theirs is None or theirs in math_value.names(gold):
        return stated
    return math_value.put(stated, theirs, Node("name", (), mine))


def added_constant(node: Node) -> str | None:
    """The name of the constant that a sum adds and that occurs nowhere else in it."""
    if node.head != "+":
        return None
    found = [part for part in node.parts if part.head == "name" and part.value in CONSTANTS]
    rest = [part for part in node.parts if part not in found]
    if len(found) != 1 or str(found[0].value) in occurring(rest):
        return None
    return str(found[0].value)
