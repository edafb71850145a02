"""The value of a tree: an exact fraction where that exists, else a complex number of 100 digits.  Two
expressions are the same if their values agree at several points, where variables have fixed, unusual values.
Fractions are compared exactly, other numbers to 75 digits. Checks bound the cost, but they may have gaps, so
this runs only in a worker.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath

from menon.reward.math.node import Node
from menon.reward.math.tokens import TooLarge

DIGITS = 100
AGREEMENT = 75
"""Digits that must agree between values that are no fractions."""
BITS = 50_000
"""Most bits of a fraction's numerator and denominator."""
MOST_TERMS = 500
"""Most terms of a sum."""
MAGNITUDE = 4096
"""Largest power of two of a value that is not a fraction."""
POINTS = 4

Value = Any
"""A Fraction or an mpmath number."""


class Undefined(Exception):
    """The expression has no value: 0/0, log 0."""


class Unknown(Exception):
    """The tree holds what is not read as a number here: integrals, sums, matrices, words."""


ctx = mpmath.MPContext()
ctx.dps = DIGITS


def same_values(left: Node, right: Node) -> bool:
    """Whether the values agree at every point. Unknown, TooLarge; Undefined if either is undefined at more
    than half of the points."""
    free = names(left) | names(right)
    missed = 0
    for point in range(POINTS if free else 1):
        try:
            one, other = worth(left, point), worth(right, point)
        except Undefined:
            missed += 1
            continue
        if not equal(one, other):
            return False
    if missed * 2 > (POINTS if free else 1):
        raise Undefined
    return True


def ratio_is_constant(left: Node, right: Node, positive: bool) -> bool:
    """Whether left = c * right with one real c at every point: the equations `left = 0` and `right = 0` are
    the same. `positive`: c must be positive, as for inequalities."""
    first: Value | None = None
    for point in range(POINTS):
        try:
            one, other = worth(left, point), worth(right, point)
        except Undefined:
            continue
        if is_zero(one) or is_zero(other):
            return False
        quotient = divide(one, other)
        if first is None:
            first = quotient
        elif not equal(first, quotient):
            return False
    if first is None:
        raise Undefined
    factor = real(first)
    return bool(
        abs(ctx.im(factor)) <= ctx.mpf(10) ** -AGREEMENT * abs(factor)
        and (not positive or ctx.re(factor) > 0)
    )


def constant(node: Node) -> Value | None:
    """The value of a tree without variables; None if it has some, or is no number."""
    if names(node):
        return None
    try:
        return worth(node, 0)
    except (Undefined, Unknown):
        return None


def names(node: Node) -> frozenset[str]:
    if node.head == "name":
        return frozenset() if node.value in ("pi", "e", "i", "infty") else frozenset({str(node.value)})
    found: frozenset[str] = frozenset({f"{node.value}()"}) if node.head == "call" else frozenset()
    for part in node.parts:
        found |= names(part)
    return found - {str(node.value)} if node.head in ("sum", "prod") else found


def equal(one: Value, other: Value) -> bool:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    one, other = real(one), real(other)
    size = max(abs(one), abs(other))
    return bool(abs(one - other) <= size * ctx.mpf(10) ** -AGREEMENT)


def is_zero(value: Value) -> bool:
    return bool(value == 0 if isinstance(value, Fraction) else abs(value) < ctx.mpf(10) ** -AGREEMENT)


def real(value: Value) -> Any:
    """The value as a real mpmath number."""
    return ctx.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def worth(node: Node, point: int) -> Value:
    if node.head == "number":
        return node.value
    if node.head == "name":
        return variable(str(node.value), point)
    if node.head == "call":
        return opaque(str(node.value), [worth(part, point) for part in node.parts], point)
    if node.head == "unit":
        if node.value not in ("percent", "degree"):
            raise Unknown(f"a unit, {node.value}")
        inner = worth(node.parts[0], point)
        return divide(inner, Fraction(100)) if node.value == "percent" else inner
    if node.head in ("sum", "prod"):
        return iterated(node, point)
    if node.head in ANGLES:
        return angle(node, point)
    if node.head not in RULES:
        raise Unknown(node.head)
    try:
        result = bounded(RULES[node.head](*[worth(part, point) for part in node.parts]))
    except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.ComplexResult) as error:
        raise Undefined from error
    return result


def bounded(value: Value) -> Value:
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS:
            raise TooLarge("a number with very many digits")
        return value
    if ctx.isnan(value) or ctx.isinf(value):
        raise Undefined
    if value != 0 and abs(ctx.mag(value)) > MAGNITUDE:
        raise TooLarge("a very large number")
    return value


def variable(name: str, point: int) -> Value:
    if name == "pi":
        return +ctx.pi
    if name == "e":
        return +ctx.e
    if name == "i":
        return ctx.mpc(0, 1)
    if name == "infty":
        raise Unknown(name)
    return hidden(name, point)


def hidden(name: str, point: int) -> Fraction:
    """The value of a variable at a point: a fixed fraction, small and positive, small and negative, around 1,
    or between 2 and 5. They are fractions so that polynomials of any size are compared exactly."""
    digest = int.from_bytes(hashlib.blake2b(f"{name}/{point}".encode(), digest_size=8).digest(), "big")
    share = Fraction(digest % 1009 + 1, 1013)
    return (share / 3, -share / 3, (share + 1) * Fraction(2, 3), 2 + 3 * share)[point]


def opaque(name: str, arguments: list[Value], point: int) -> Value:
    """The value of f(2) for an unknown f: a number that depends only on f and the values of its arguments."""
    spelt = ",".join(ctx.nstr(real(argument), AGREEMENT - 5) for argument in arguments)
    return hidden(f"{name}({spelt})", point)


def add(*terms: Value) -> Value:
    if all(isinstance(term, Fraction) for term in terms):
        return sum(terms, Fraction(0))
    numbers = [real(term) for term in terms]
    total = ctx.fsum(numbers)
    cancelled = abs(total) <= max(map(abs, numbers)) * ctx.mpf(10) ** -AGREEMENT  # the rest is rounding noise
    return Fraction(0) if cancelled else total


def times(one: Value, other: Value) -> Value:
    return (
        one * other if isinstance(one, Fraction) and isinstance(other, Fraction) else real(one) * real(other)
    )


def divide(one: Value, other: Value) -> Value:
    if is_zero(other):
        raise Undefined
    return (
        one / other if isinstance(one, Fraction) and isinstance(other, Fraction) else real(one) / real(other)
    )


def power(base: Value, exponent: Value) -> Value:
    if isinstance(exponent, Fraction) and exponent.denominator == 1 and isinstance(base, Fraction):
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if base == 0 and exponent <= 0:
            raise Undefined
        if abs(base) not in (0, 1) and abs(exponent) * size > BITS:
            raise TooLarge("a very large power")
        return base**exponent
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and base > 0:
        rooted = exact_root(base, exponent.denominator)
        if rooted is not None:
            return power(rooted, Fraction(exponent.numerator))
    if is_zero(base):
        raise Undefined
    if (
        isinstance(exponent, Fraction)
        and exponent.denominator % 2 == 1 < exponent.denominator
        and is_negative(base)
    ):
        result = power(-base, exponent)  # the real root, as in school
        return -result if exponent.numerator % 2 else result
    if abs(real(exponent)) * max(1, abs(ctx.log(abs(real(base)), 2))) > MAGNITUDE:
        raise TooLarge("a very large power")
    return ctx.power(real(base), real(exponent))


def root(inside: Value, degree: Value) -> Value:
    if isinstance(inside, Fraction) and inside == 0:
        return inside
    return power(inside, divide(Fraction(1), degree))


def is_negative(value: Value) -> bool:
    return bool(value < 0 if isinstance(value, Fraction) else ctx.im(value) == 0 and ctx.re(value) < 0)


def exact_root(value: Fraction, degree: int) -> Fraction | None:
    if not 1 <= degree <= 64:
        return None
    upper, lower = (whole_root(part, degree) for part in (value.numerator, value.denominator))
    return (
        Fraction(upper, lower)
        if upper**degree == value.numerator and lower**degree == value.denominator
        else None
    )


def whole_root(value: int, degree: int) -> int:
    if degree == 2:
        return math.isqrt(value)
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    return low


def factorial(value: Value) -> Value:
    if isinstance(value, Fraction) and value.denominator == 1:
        if value < 0:
            raise Undefined
        if value > 3000:
            raise TooLarge("a very large factorial")
        return Fraction(math.factorial(int(value)))
    return ctx.gamma(real(value) + 1)


def binomial(upper: Value, lower: Value) -> Value:
    if all(
        isinstance(part, Fraction) and part.denominator == 1 and 0 <= part <= 10_000
        for part in (upper, lower)
    ):
        return Fraction(math.comb(int(upper), int(lower)))
    return ctx.binomial(real(upper), real(lower))


def rounded(value: Value, way: Callable[[Any], Any]) -> Value:
    if not isinstance(value, Fraction):
        if abs(ctx.im(value)) > 0:
            raise Undefined
        value = ctx.re(value)
        near = ctx.nint(value)
        value = near if abs(value - near) < ctx.mpf(10) ** -AGREEMENT else value
        return Fraction(int(ctx.floor(value) if way is math.floor else ctx.ceil(value)))
    return Fraction(way(value))


def logarithm(value: Value, base: Value | None = None) -> Value:
    if is_zero(value):
        raise Undefined
    if (
        base is not None
        and isinstance(value, Fraction)
        and isinstance(base, Fraction)
        and base > 1
        and value > 0
    ):
        guess = Fraction(int(ctx.nint(ctx.log(real(value)) / ctx.log(real(base)))))
        if abs(guess) < 1000 and power(base, guess) == value:
            return guess
    result = ctx.log(real(value))
    return result if base is None else divide(result, ctx.log(real(base)))


def iterated(node: Node, point: int) -> Value:
    """A finite sum or product, term by term; one with variable bounds gets a number that depends only on its
    bounds and its body."""
    index, body = str(node.value), node.parts[2]
    start, end = (worth(part, point) for part in node.parts[:2])
    if names(node.parts[0]) | names(node.parts[1]):
        terms = [
            worth(put(body, index, Node("number", (), hidden("index", place))), point)
            for place in range(POINTS)
        ]
        return opaque(node.head, [start, end, *terms], point)
    if not all(isinstance(bound, Fraction) and bound.denominator == 1 for bound in (start, end)):
        raise Undefined
    if end - start > MOST_TERMS:
        raise TooLarge("a very long sum")
    total: Value = Fraction(node.head == "prod")
    for place in range(int(start), int(end) + 1):
        term = worth(put(body, index, Node("number", (), Fraction(place))), point)
        total = bounded(times(total, term) if node.head == "prod" else add(total, term))
    return total


def put(node: Node, name: str, value: Node) -> Node:
    """The tree with a value in place of a variable."""
    if node.head == "name":
        return value if node.value == name else node
    return replace(node, parts=tuple(put(part, name, value) for part in node.parts)) if node.parts else node


def extreme(way: Callable[..., Any]) -> Callable[..., Value]:
    return lambda *values: way(values, key=lambda value: ctx.re(real(value)))


def whole(way: Callable[..., int]) -> Callable[..., Value]:
    def result(*values: Value) -> Value:
        if not all(isinstance(value, Fraction) and value.denominator == 1 for value in values):
            raise Unknown("whole numbers")
        return Fraction(way(*[int(value) for value in values]))

    return result


def angle(node: Node, point: int) -> Value:
    inside = node.parts[0]
    value = worth(inside, point)
    if inside.head == "unit" and inside.value == "degree":
        value = times(value, divide(+ctx.pi, Fraction(180)))
    number = real(value)
    if abs(number) > 10**30:
        raise TooLarge("a very large angle")
    try:
        result = bounded(ANGLES[node.head](number))
    except (ZeroDivisionError, ValueError) as error:
        raise Undefined from error
    if abs(result) > ctx.mpf(10) ** (AGREEMENT - 5):  # tan(pi/2), whose pi is rounded
        raise Undefined
    return ctx.mpf(0) if abs(result) < ctx.mpf(10) ** -(AGREEMENT + 5) else result


ANGLES: dict[str, Callable[[Any], Any]] = {
    **{
        name: getattr(ctx, name)
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth")
    },
    **{f"ar{name}h": getattr(ctx, f"a{name}h") for name in ("sin", "cos", "tan")},
    **{"arc" + name: getattr(ctx, "a" + name) for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
}
RULES: dict[str, Callable[..., Value]] = {
    "+": add,
    "*": times,
    "/": divide,
    "^": power,
    "neg": lambda value: -value,
    "root": root,
    "factorial": factorial,
    "binom": binomial,
    "arrangements": lambda upper, lower: times(binomial(upper, lower), factorial(lower)),
    "mod": lambda value, base: whole(lambda one, other: one % other)(value, base),
    "abs": abs,
    "floor": lambda value: rounded(value, math.floor),
    "ceil": lambda value: rounded(value, math.ceil),
    "ln": logarithm,
    "log": lambda value, base=Fraction(10): logarithm(value, base),
    "lg": lambda value: logarithm(value, Fraction(10)),
    "exp": lambda value: power(+ctx.e, value),
    "max": extreme(max),
    "min": extreme(min),
    "gcd": whole(math.gcd),
    "lcm": whole(math.lcm),
}
