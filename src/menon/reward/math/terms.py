"""Reading sums, products and powers, and values with units."""

from fractions import Fraction

from menon.reward.math.atoms import CLOSERS, RELATIONS, SETS, Atoms
from menon.reward.math.node import Node, is_proper, is_whole, joined, literal, negated, number_node
from menon.reward.math.quantities import has_unit
from menon.reward.math.tokens import Token, Unreadable
from menon.reward.math.units import looks_like_unit, plain_name, same_unit


class Terms(Atoms):
    """The lower levels of a recursive descent; each method reads one level of binding, from sums down to
    powers."""

    def sum(self) -> Node:
        terms: list[Node] = []
        if self.next in ("\\pm", "\\mp"):
            head = self.take().text[1:]
            terms.append(Node(head, (self.product(),)))
        else:
            terms.append(self.product())
        while self.next in ("+", "-", "\\pm", "\\mp"):
            sign = self.take().text
            term = self.product()
            terms.append(term if sign == "+" else negated(term) if sign == "-" else Node(sign[1:], (term,)))
        if len(terms) == 1:
            return terms[0]
        last, others = terms[-1], terms[:-1]
        if last.head == "unit" and last.value not in ("degree", "percent") and not any(map(has_unit, others)):
            return Node("unit", (Node("+", (*others, last.parts[0])),), last.value)  # 4 + 4\\sqrt{3} cm
        return Node("+", tuple(terms))

    def product(self) -> Node:
        node = self.signed()
        while True:
            if self.next in ("*", "\\cdot"):
                self.take()
                factor = self.signed()
                unit = unit_of(factor) if node.head == "unit" else None
                node = joined("*", node, factor) if unit is None else self.with_unit(node, unit)
            elif self.next in ("/", "\\div"):
                self.take()
                node = (
                    self.per(node) if self.wordy or self.kind == "unit" else joined("/", node, self.signed())
                )
            elif self.next == "\\bmod":
                self.take()
                node = Node("mod", (node, self.signed()))
            elif self.next == "\\pmod":
                self.take()
                node = Node("unit", (node,), f"mod {self.argument(signed=True).value}")
            elif self.starts_factor():
                node = self.beside(node)
            else:
                return node

    def per(self, node: Node) -> Node:
        """km/h: a unit under a unit. A word under a word names two things."""
        if node.head == "word":
            return joined("/", node, self.atom())
        return self.with_unit(node, "/" + self.unit_name())

    def with_unit(self, node: Node, name: str) -> Node:
        """The value in this unit, or in its product with the one that it has."""
        if node.head == "unit" and name.startswith("of ") and looks_like_unit(name):
            return node  # 25% of the students
        if node.head == "unit":
            name = f"{node.value}{name}" if name.startswith("/") else f"{node.value} {name}"
            node = node.parts[0]
        if not looks_like_unit(name):
            raise Unreadable(f"says {name!r} beside a value")
        return Node("unit", (node,), plain_name(name))

    def unit_name(self) -> str:
        """The name of a unit, with its powers."""
        name = self.take().text
        while self.next == "^":
            self.take()
            power = self.argument(signed=True)
            sign, power = (-1, power.parts[0]) if power.head == "neg" else (1, power)
            if not is_whole(power) or not isinstance(power.value, Fraction):
                raise Unreadable("has an odd power of a unit")
            name += f"^{sign * int(power.value)}"
        return name

    def signed(self) -> Node:
        if self.kind == "currency":
            name = self.take().text
            return self.with_unit(self.product(), name)
        if self.next == "-":
            self.take()
            return negated(self.signed())
        if self.next == "+":
            self.take()
            return self.signed()
        return self.power()

    def starts_factor(self) -> bool:
        if self.kind in ("number", "letter", "word", "unit", "half", "currency", "based"):
            return True
        if self.kind == "command":
            return self.next not in RELATIONS and self.next not in SETS and self.next[1:] not in CLOSERS
        return self.next in ("(", "[", "{") or (self.next == "|" and self.bars == 0 and not self.describes)

    def beside(self, node: Node) -> Node:
        """Two factors side by side: a product, a number with its unit, or a mixed number."""
        token = self.tokens[self.place]
        if token.kind in ("unit", "currency"):
            return self.with_unit(node, self.unit_name())
        if token.kind == "half":
            return self.and_a_half(node)
        if token.kind == "number":
            return self.compound(node) if has_unit(node) else self.mixed(node, token)
        factor = self.power()
        if (unit := unit_of(factor)) is not None:
            return self.with_unit(node, unit)
        if is_whole(node) and is_proper(factor) and token.text == "\\frac":
            return Node("+", (node, factor))
        if node.head == "neg" and is_whole(node.parts[0]) and is_proper(factor) and token.text == "\\frac":
            return Node("neg", (Node("+", (node.parts[0], factor)),))
        return joined("*", node, factor)

    def mixed(self, node: Node, token: Token) -> Node:
        """`1 1/2`; any other two numbers side by side are no answer."""
        if self.place and self.tokens[self.place - 1].text == ")":  # (n - 2) 2^n
            return joined("*", node, self.power())
        ahead = self.tokens[self.place + 1 : self.place + 3]
        inner = node.parts[0] if node.head == "neg" else node
        if not (
            is_whole(inner)
            and token.gap
            and [t.text for t in ahead[:1]] == ["/"]
            and ahead[1:]
            and ahead[1].kind == "number"
        ):
            raise Unreadable("has two numbers side by side")
        upper, _, lower = self.take(), self.take(), self.take()
        part = Node("/", (literal(upper.text), literal(lower.text)))
        whole = Node("+", (inner, part))
        return Node("neg", (whole,)) if node.head == "neg" else whole

    def compound(self, node: Node) -> Node:
        """2 hours 30 minutes: the sum of amounts in units of one kind."""
        last = node.parts[-1] if node.head == "+" else node
        amount = self.power()
        if self.kind != "unit":
            raise Unreadable("has two numbers side by side")
        other = self.with_unit(amount, self.unit_name())
        if last.head != "unit" or (same_unit(str(last.value), str(other.value)) or 0) <= 1:
            raise Unreadable("has two values side by side")
        return Node("+", (*(node.parts if node.head == "+" else (node,)), other))

    def and_a_half(self, node: Node) -> Node:
        """7 and a half."""
        if node.head == "unit":
            return Node("unit", (self.and_a_half(node.parts[0]),), node.value)
        upper, _, lower = self.take().text.partition("/")
        whole = node.parts[0] if node.head == "neg" else node
        if not is_whole(whole):
            raise Unreadable("adds a half to what is no whole number")
        mixed = Node("+", (whole, number_node(Fraction(int(upper), int(lower)))))
        return Node("neg", (mixed,)) if node.head == "neg" else mixed

    def power(self) -> Node:
        node = self.postfix(self.atom())
        if node.head == "matrix" and self.next == "'":
            return self.primed(node)
        if self.next == "^":
            self.take()
            if self.next in ("\\prime", "'"):
                return self.primed(node)
            exponent = self.argument(signed=True)
            if exponent.head == "word" and node.head not in ("matrix", "pair"):  # 11^{th}
                return self.with_unit(node, str(exponent.value))
            node = self.postfix(Node("^", (node, exponent)))
        return node

    def primed(self, node: Node) -> Node:
        """A matrix is transposed, a name is another name, and a number is one in minutes of arc."""
        self.take()
        if node.head == "name":
            return Node("name", (), f"{node.value}'")
        return Node("^", (node, Node("name", (), "'"))) if node.head == "matrix" else node

    def postfix(self, node: Node) -> Node:
        while True:
            if self.next == "!":
                self.take()
                node = Node("factorial", (node,))
            elif self.next == "%":
                self.take()
                node = Node("unit", (node,), "percent")
            elif self.next == "°":
                self.take()
                node = Node("unit", (node,), "degree")
            else:
                return node


def unit_of(node: Node) -> str | None:
    """The unit that words with powers and fractions spell: \\frac{m}{s^2}; None if there is anything else."""
    if node.head == "word":
        return str(node.value)
    if node.head == "^" and (base := unit_of(node.parts[0])) is not None:
        sign, power = ("-", node.parts[1].parts[0]) if node.parts[1].head == "neg" else ("", node.parts[1])
        return f"{base}^{sign}{power.value}" if is_whole(power) else None
    if node.head in ("*", "/"):
        left, right = map(unit_of, node.parts)
        if left is not None and right is not None:
            return f"{left}{'/' if node.head == '/' else ' '}{right}"
    return None
