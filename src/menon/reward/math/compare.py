"""Whether a stated answer equals the gold answer: rules compare the outer form, numbers compare the
expressions inside.  Order counts in tuples and intervals, not in sets and lists; round and square brackets
differ; a list is no single answer; `x = 3` answers `3`, but `y = 3` does not answer `x = 3`. Cases that the
rules do not cover go to Math-Verify. All this runs in a worker process.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from menon.reward.math import families
from menon.reward.math import symbolic as math_symbolic
from menon.reward.math import value as math_value
from menon.reward.math.layout import grouped_otherwise
from menon.reward.math.leaves import same_leaf
from menon.reward.math.matrices import rows_as_matrix, transposed
from menon.reward.math.node import Node, is_proper, is_whole
from menon.reward.math.nouns import nouns_marked
from menon.reward.math.quantities import amount, has_unit, same_amounts
from menon.reward.math.ranges import as_range, is_equation, is_symbolic
from menon.reward.math.tokens import TooLarge, Unreadable, bare_units
from menon.reward.math.tree import read
from menon.reward.math.value import Undefined, Unknown

Found = Literal["right", "wrong", "unparsable", "too costly"]


def compare_answers(gold: str, stated: str) -> Found:
    """Compares two tidied texts; this is the function that a worker calls. If they differ, letters after a
    number are taken for a unit (10 m) or a noun (72 eggs), and digits as they are grouped elsewhere
    (12,34,567)."""
    if "\\begin" in gold and stated.startswith("]"):  # an open interval is no column
        return "wrong"
    try:
        found = compare_readings(gold, stated)
        for other_gold, other_stated in (
            (bare_units(gold, gap_needed=True), bare_units(stated, gap_needed=False)),
            (nouns_marked(gold), nouns_marked(stated)),
            (gold, grouped_otherwise(stated)),
            (gold, rows_as_matrix(stated) if "\\begin" in gold else stated),
        ):
            if found != "right" and (other_gold, other_stated) != (gold, stated):
                found = compare_readings(other_gold, other_stated)
        return found
    except (TooLarge, RecursionError, MemoryError, OverflowError):
        return "too costly"


def compare_readings(gold: str, stated: str) -> Found:
    right = read_or_none(gold)
    left = read_or_none(stated)
    if right is not None and left is not None:
        try:
            return "right" if same(right, left) else "wrong"
        except Unknown:
            pass
    return math_symbolic.compare_symbolically(gold, stated, left is not None)


def read_or_none(text: str) -> Node | None:
    try:
        return read(text)
    except Unreadable:
        return None


def same(gold: Node, stated: Node) -> bool:
    if gold == stated:
        return True
    reconciled = families.reconciled(signs(gold), signs(stated))
    if reconciled is None:
        return False
    gold, stated, progression = reconciled
    if progression and families.same_progressions(gold, stated):
        return True
    gold, stated = aligned(gold, stated)
    if progression and families.same_progressions(gold, stated):
        return True
    gold, stated = residue(amount(gold), stated), residue(amount(stated), gold)
    if gold.head == "unit" or stated.head == "unit":
        return same_amounts(gold, stated, same)
    if gold.head == "relation" and stated.head == "relation":
        return same_relations(gold, stated)
    gold, stated = as_range(gold, stated), as_range(stated, gold)
    gold, stated = worked_out(as_range(gold, stated)), worked_out(as_range(stated, gold))
    if "relation" in (gold.head, stated.head):
        return False
    if gold.head == "pair":
        stated = without_letter(stated)
    return same_forms(gold, stated)


def same_forms(gold: Node, stated: Node) -> bool:
    """Compares what has no labels, conditions and units any more, by its outer form."""
    gold, stated = (
        replace(node, head="list") if node.head == "set" and distinct_labels(node.parts) else node
        for node in (gold, stated)
    )
    heads = {gold.head, stated.head}
    if heads == {"pair"}:
        return gold.value == stated.value and in_order(gold.parts, stated.parts)
    if heads == {"pair", "matrix"} and (rows := rows_of_brackets(gold, stated)):
        return in_order(*rows)
    if heads in ({"pair", "list"}, {"pair", "matrix"}):
        if "or" in (gold.value, stated.value):
            return False
        gold, stated = by_label(gold), by_label(stated)
        return round_brackets(gold) and round_brackets(stated) and in_order(entries(gold), entries(stated))
    if heads & {"cap", "setminus"}:
        if gold.head == stated.head and in_order(gold.parts, stated.parts):
            return True
        raise Unknown("a set that has to be worked out")
    if heads & {"list", "set", "cup"}:
        if gold == Node("set") and stated == Node("name", (), "varphi"):  # phi for the sign of the empty set
            return True
        if stated.head == "list" and gold.head not in ("list", "set", "cup") and is_mixed(stated):
            return same(gold, Node("+", stated.parts))
        if stated.head == "list" and gold.head not in ("list", "set", "cup"):  # 1.5 or 3/2
            return all(same(gold, part) for part in stated.parts)
        found = same_members(members(gold), members(stated))
        if not found and "cup" in heads and heads <= {"cup", "pair", "set"}:
            raise Unknown("intervals that may meet")
        return found
    if heads in ({"matrix"}, {"row"}):
        return in_order(gold.parts, stated.parts)
    if "ratio" in heads:
        return heads == {"ratio"} and same_ratios(gold, stated)
    return same_leaf(gold, stated)


def same_ratios(gold: Node, stated: Node) -> bool:
    """Whether two ratios of as many terms are proportional."""
    first, other = gold.parts[0], stated.parts[0]
    return len(gold.parts) == len(stated.parts) and all(
        same(Node("*", (one, other)), Node("*", (it, first)))
        for one, it in zip(gold.parts, stated.parts, strict=True)
    )


def by_label(node: Node) -> Node:
    """`y = 4, x = 3` in the order of its labels."""
    if node.head != "list" or not distinct_labels(node.parts):
        return node
    return replace(node, parts=tuple(sorted(node.parts, key=lambda part: str(part.parts[0].value))))


def is_mixed(node: Node) -> bool:
    """`2 and 1/3`: a whole number and a proper fraction."""
    return (
        node.value == "and" and len(node.parts) == 2 and is_whole(node.parts[0]) and is_proper(node.parts[1])
    )


def residue(node: Node, other: Node) -> Node:
    """`3 \\bmod 7` as a residue class where it is compared with one."""
    if node.head == "mod" and other.head == "unit" and str(other.value).startswith("mod "):
        return Node("unit", node.parts[:1], f"mod {node.parts[1].value}")
    return node


def without_letter(node: Node) -> Node:
    """A(3,4), a point with its letter, as (3,4)."""
    if node.head == "*" and len(node.parts) == 2 and node.parts[1].head == "pair":
        letter = node.parts[0]
        if letter.head == "name" and str(letter.value)[0].isupper():
            return node.parts[1]
    return node


def rows_of_brackets(gold: Node, stated: Node) -> tuple[tuple[Node, ...], tuple[Node, ...]] | None:
    """The rows of both where one is a matrix and the other [[1,2],[3,4]]."""
    pair = gold if gold.head == "pair" else stated
    if pair.value != "[]" or any(part.head != "pair" or part.value != "[]" for part in pair.parts):
        return None
    rows = tuple(Node("row", part.parts) for part in pair.parts)
    return (rows, stated.parts) if pair is gold else (gold.parts, rows)


def in_order(gold: Sequence[Node], stated: Sequence[Node]) -> bool:
    return len(gold) == len(stated) and all(same(one, other) for one, other in zip(gold, stated, strict=True))


def same_members(gold: Sequence[Node], stated: Sequence[Node]) -> bool:
    """Whether the members of one can be paired with equal members of the other, in any order."""
    if len(gold) != len(stated) or len(gold) > 100:
        return False
    if distinct_labels(gold) and not any(node.head == "relation" for node in stated):
        return in_order(gold, stated)
    left = list(stated)
    for one in gold:
        found = next((place for place, other in enumerate(left) if same(one, other)), None)
        if found is None:
            return False
        del left[found]
    return True


def distinct_labels(nodes: Sequence[Node]) -> bool:
    """`AB = 4, CD = 5` is an order; `x_1 = 1, x_2 = 2` and `x = 1, x = 2` are solutions of one thing."""
    if len(nodes) < 2 or not all(map(is_assignment, nodes)):
        return False
    labels = [node.parts[0] for node in nodes]
    return len(
        {str(label.value).partition("_")[0] if label.head == "name" else str(label) for label in labels}
    ) == len(nodes)


def members(node: Node) -> tuple[Node, ...]:
    """The members of a set, a list or a union; anything else is one member."""
    if node.head == "cup":
        return tuple(member for part in node.parts for member in members(part))
    if node.head in ("list", "set"):
        return tuple(
            variant
            for part in node.parts
            for variant in (members(signs(part)) if has_sign(part) else (part,))
        )
    return (node,)


def worked_out(node: Node) -> Node:
    """The intersection or difference of two finite sets, as a set; a transposed matrix or tuple."""
    node = transposed(node)
    if node.head not in ("cap", "setminus") or any(part.head != "set" for part in node.parts):
        return node
    left, right = (members(part) for part in node.parts)
    return Node(
        "set", tuple(one for one in left if any(same(one, other) for other in right) == (node.head == "cap"))
    )


def round_brackets(node: Node) -> bool:
    return node.value == "()" if node.head == "pair" else True


def entries(node: Node) -> tuple[Node, ...]:
    """The entries of a tuple, a list, or a column."""
    if node.head == "matrix":
        return tuple(row.parts[0] for row in node.parts) if len(node.parts[0].parts) == 1 else node.parts
    return node.parts


# Plus and minus


def has_sign(node: Node) -> bool:
    return node.head in ("pm", "mp") or any(has_sign(part) for part in node.parts)


def signs(node: Node) -> Node:
    """`a \\pm b` is the list of both."""
    if node.head in ("setminus", "cap") and has_sign(node):
        return replace(node, parts=tuple(map(signs, node.parts)))
    if node.head in ("list", "set", "cup") or not has_sign(node):
        return Node(node.head, members(node)) if node.head in ("list", "set") and has_sign(node) else node
    return Node("list", (signed(node, True), signed(node, False)))


def signed(node: Node, upper: bool) -> Node:
    parts = tuple(signed(part, upper) for part in node.parts)
    if node.head in ("pm", "mp"):
        return parts[0] if (node.head == "pm") == upper else Node("neg", parts)
    return replace(node, parts=parts)


# Labels


def aligned(gold: Node, stated: Node) -> tuple[Node, Node]:
    """Both without labels that only one of them has: `x = 3` and 3, `x \\in S` and S, `\\sqrt4 = 2` and 2."""
    gold, stated = exact_side(gold), exact_side(stated)
    gold_equation, stated_equation = is_equation(gold), is_equation(stated)
    if stated_equation and gold.head != "relation" and leads_to(stated):
        stated = stated.parts[-1]
    elif stated_equation and gold.head != "relation" and is_symbolic(stated.parts[-1]):  # 5 = x
        stated = stated.parts[0]
    elif gold_equation and stated.head != "relation" and is_symbolic(gold.parts[0]):
        gold = gold.parts[-1]
    return member_of(gold), member_of(stated)


def exact_side(node: Node) -> Node:
    """`70/9 \\approx 7.78` is 70/9; `x \\approx 7.78` is an equation."""
    if node.head != "relation" or "~" not in str(node.value).split():
        return node
    signs_ = str(node.value).split()
    place = signs_.index("~")
    if place == 0:
        return Node("relation", node.parts[:2], "=") if is_symbolic(node.parts[0]) else node.parts[0]
    return Node("relation", node.parts[: place + 1], " ".join(signs_[:place]))


def is_assignment(node: Node) -> bool:
    return is_equation(node) and is_symbolic(node.parts[0])


def leads_to(equation: Node) -> bool:
    """Whether an equation states its last member: it begins with a name, or it is a chain of constants that
    is true."""
    first, last = equation.parts[0], equation.parts[-1]
    if is_symbolic(first):
        return all(same(last, one) for one in equation.parts[1:-1] if not math_value.names(one))
    if math_value.names(first) or (first.head, last.head) == ("number", "pair"):
        return False
    try:
        return same(last, first) or same(first, last)
    except Unknown:
        return True


def member_of(node: Node) -> Node:
    if node.head == "relation" and node.value == "in" and is_symbolic(node.parts[0]):
        return node.parts[1]
    return node


# Relations


def same_relations(gold: Node, stated: Node) -> bool:
    """Whether each comparison of one is that of the other, multiplied by a number (a positive one for an
    inequality)."""
    if has_unit(gold) or has_unit(stated):
        return gold.value == stated.value and in_order(gold.parts, stated.parts)
    if is_assignment(gold) and is_assignment(stated):
        one, other = gold.parts[0], stated.parts[0]
        if one == other:
            return same(gold.parts[-1], stated.parts[-1])
        if is_y_of_x(one, other) or is_y_of_x(other, one):
            return same(gold.parts[-1], stated.parts[-1])
        if one.head == other.head == "name" and one.value not in math_value.names(stated):
            return False
    left = comparisons(stated)
    for sign, difference in comparisons(gold):
        found = next(
            (
                place
                for place, (other, it) in enumerate(left)
                if sign == other and same_side(sign, difference, it)
            ),
            None,
        )
        if found is None:
            return False
        del left[found]
    return not left


def is_y_of_x(one: Node, other: Node) -> bool:
    """y and f(x), but not f(2) or f(y)."""
    names = [part.value for part in other.parts if part.head == "name"]
    return (
        one == Node("name", (), "y")
        and other.head == "call"
        and len(other.parts) == len(names)
        and "y" not in names
    )


def comparisons(relation: Node) -> list[tuple[str, Node]]:
    """Two by two, as `difference < 0`, `difference = 0`, ..."""
    found = []
    for place, sign in enumerate(str(relation.value).split()):
        left, right = relation.parts[place], relation.parts[place + 1]
        if sign in (">", ">="):
            sign, left, right = sign.replace(">", "<"), right, left
        found.append((sign, Node("+", (left, Node("neg", (right,))))))
    return found


def same_side(sign: str, one: Node, other: Node) -> bool:
    try:
        if one == other:
            return True
        if not math_value.names(one) and not math_value.names(
            other
        ):  # 1 < 2 and 3 < 5 are both true, and not the same
            return in_order(one.parts, other.parts)
        return math_value.ratio_is_constant(one, other, positive=sign in ("<", "<="))
    except Undefined:
        return False
