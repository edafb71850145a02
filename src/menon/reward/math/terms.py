"""Reading sums, products, powers and functions."""

from fractions import Fraction

from menon.reward.math.node import Node, is_proper, is_whole, joined, literal, negated, number_node
from menon.reward.math.quantities import has_unit
from menon.reward.math.tokens import Token, Unreadable
from menon.reward.math.units import looks_like_unit, same_unit


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = words(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh log ln lg exp max "
    "min gcd lcm"
)
OPAQUE = frozenset("fgh")
"""Letters that are read as functions where a bracket follows; any other letter is multiplied."""
CONSTANTS = words("pi infty")
LETTERS = words(
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon "
    "varphi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar"
)
WRAPPERS = words("vec overrightarrow bar hat tilde overline widehat widetilde underline angle triangle")
CLOSERS = words("rfloor rceil } pm mp cdot div bmod pmod \\ endmatrix")
"""Commands that begin no factor."""
_RELATIONS = (
    r"= =|\equiv =|< <|> >|\lt <|\gt >|\le <=|\ge >=|\ne !=|\in in|\notin notin|\subset subset|"
    r"\approx ~|\sim ~|\simeq ~"
)
RELATIONS = {pair.split()[0]: pair.split()[1] for pair in _RELATIONS.split("|")}
"""A relation as written -> as stored."""
PLAIN_UNITS = {
    **dict.fromkeys(
        ("degrees", "deg", "degré", "degrés", "grado", "grados", "градус", "градусов", "度"), "degree"
    ),
    **dict.fromkeys(("percentage", "pct", "prozent", "процент", "процентов"), "percent"),
    **dict.fromkeys(("per cent", "pour cent", "por ciento", "per cento", "por cento"), "percent"),
}
SETS = {"\\cup": "cup", "\\cap": "cap", "\\setminus": "setminus"}


class Terms:
    """The lower levels of a recursive descent; each method reads one level of binding, from sums down to
    single signs."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.place = 0
        self.bars = 0
        """Number of open absolute values; a bar closes the last one."""
        self.describes = False
        """Whether the position is before the bar or colon of {x | x > 0}."""

    # What the levels above read

    def items(self) -> Node:
        raise NotImplementedError

    def relation(self) -> Node:
        raise NotImplementedError

    def bracketed(self) -> Node:
        raise NotImplementedError

    def braces(self) -> Node:
        raise NotImplementedError

    def matrix(self) -> Node:
        raise NotImplementedError

    # Tokens

    @property
    def next(self) -> str:
        return self.tokens[self.place].text if self.place < len(self.tokens) and not self.wordy else ""

    @property
    def wordy(self) -> bool:
        return self.kind == "word"

    @property
    def kind(self) -> str:
        return self.tokens[self.place].kind if self.place < len(self.tokens) else ""

    def take(self) -> Token:
        if self.place >= len(self.tokens):
            raise Unreadable("ends too early")
        self.place += 1
        return self.tokens[self.place - 1]

    def expect(self, text: str) -> None:
        if self.take().text != text:
            raise Unreadable(f"lacks {text!r}")

    # Arithmetic

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
        if node.head == "unit":
            name = f"{node.value}{name}" if name.startswith("/") else f"{node.value} {name}"
            node = node.parts[0]
        if not looks_like_unit(name):
            raise Unreadable(f"says {name!r} beside a value")
        return Node("unit", (node,), PLAIN_UNITS.get(name.lower(), name))

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
        if self.next == "^":
            self.take()
            if self.next in ("\\prime", "'"):
                self.take()
                return node
            exponent = self.argument(signed=True)
            if exponent.head == "word":  # 11^{th}
                return self.with_unit(node, str(exponent.value))
            node = self.postfix(Node("^", (node, exponent)))
        return node

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

    # Atoms

    def argument(self, signed: bool = False) -> Node:
        """What a command or `^` takes: a group in braces, or the one sign that follows (a whole number where
        it stands alone)."""
        if self.next == "{":
            return self.group("{", "}")
        if signed and self.next in ("-", "+"):
            return self.signed()
        token = self.tokens[self.place] if self.place < len(self.tokens) else Token("", "", False)
        if token.text.isdigit() and len(token.text) > 1 and not signed:  # \frac12, \sqrt12
            self.tokens[self.place] = Token("number", token.text[1:], False)
            return literal(token.text[0])
        return self.atom()

    def group(self, opened: str, closed: str) -> Node:
        self.expect(opened)
        bars, self.bars = self.bars, 0
        node = self.items()
        self.bars = bars
        self.expect(closed)
        return node

    def atom(self) -> Node:
        kind, text = self.kind, self.next
        if kind == "number":
            return self.numeral()
        if kind == "letter":
            return self.name(self.take().text)
        if self.wordy:
            return self.words()
        if kind == "based":
            digits, _, base = self.take().text.partition(":")
            return Node("based", (number_node(int(base)),), digits)
        if text in ("(", "["):
            return self.bracketed()
        if text == "{":
            return self.group("{", "}")
        if text == "|":
            return self.absolute()
        if kind == "command":
            return self.command(self.take().text[1:])
        raise Unreadable(f"has {text!r} where a value should be" if text else "ends too early")

    def words(self) -> Node:
        """Words that stand beside no value."""
        words = [self.take().text]
        while self.wordy:
            words.append(self.take().text)
        return Node("word", (), " ".join(words))

    def numeral(self) -> Node:
        token = self.take()
        if self.next == "_":
            self.take()
            base = self.argument()
            if base.head == "word" or not has_digits_of(base, token.text):
                raise Unreadable("is no numeral of its base")
            return Node("based", (base,), token.text.lstrip("0") or "0")
        return literal(token.text)

    def name(self, letter: str) -> Node:
        subscript = self.subscript()
        while self.next == "'":
            letter += self.take().text
        name = letter + subscript
        if letter[0] in OPAQUE and self.next == "(":
            inside = self.bracketed()
            return Node("call", inside.parts if inside.head == "pair" else (inside,), name)
        return Node("name", (), name)

    def subscript(self) -> str:
        if self.next != "_":
            return ""
        self.take()
        start, depth = self.place, 0
        while True:  # any text in it is part of the name
            sign = self.take().text
            depth += (sign == "{") - (sign == "}")
            if depth <= 0:
                return "_" + "".join(
                    token.text for token in self.tokens[start : self.place] if token.text not in "{}"
                )

    def absolute(self) -> Node:
        self.expect("|")
        self.bars += 1
        node = self.relation()
        self.bars -= 1
        self.expect("|")
        return Node("abs", (node,))

    def command(self, name: str) -> Node:
        if name == "frac":
            return Node("/", (self.argument(), self.argument()))
        if name in ("binom", "arrangements"):
            return Node(name, (self.argument(), self.argument()))
        if name == "sqrt":
            return self.root()
        if name in FUNCTIONS:
            return self.function(name)
        if name in ("sum", "prod"):
            return self.iterated(name)
        if name in CONSTANTS:
            return Node("name", (), name)
        if name in LETTERS:
            return self.name(name)
        if name in ("lfloor", "lceil"):
            inside = self.items()
            self.expect("\\r" + name[1:])
            return Node(name[1:], (inside,))
        if name == "{":
            return self.braces()
        if name == "emptyset":
            return Node("set")
        if name in WRAPPERS:
            return self.wrapped(name)
        if name == "matrix":
            return self.matrix()
        if name == "det":
            return Node("det", (self.atom(),))
        raise Unreadable(f"holds the unknown command \\{name}")

    def wrapped(self, name: str) -> Node:
        """A vector's arrow, a line over a segment's ends: a name of its own."""
        start = self.place
        self.argument() if self.next == "{" else self.atom()
        letters = "".join(token.text for token in self.tokens[start : self.place] if token.text not in "{}")
        return Node("name", (), f"{name} {letters}")

    def root(self) -> Node:
        degree = number_node(2)
        if self.next == "[":
            self.take()
            degree = self.items()
            self.expect("]")
        inside = self.bracketed() if self.next == "(" else self.argument(signed=True)
        return Node("root", (inside, degree))

    def function(self, name: str) -> Node:
        """\\sin^2 x, \\log_2 8, \\sin(x), \\sin 2x: without brackets, the factors up to the next function."""
        base: tuple[Node, ...] = ()
        exponent: Node | None = None
        while self.next in ("_", "^"):
            if self.take().text == "_":
                base = (self.argument(),)
            else:
                exponent = self.argument(signed=True)
        if self.next == "(":
            inside = self.bracketed()
            arguments = inside.parts if inside.head == "pair" else (inside,)
        else:
            arguments = (self.operand(),)
        if (
            exponent is not None
            and exponent == Node("neg", (number_node(1),))
            and name in ("sin", "cos", "tan", "cot", "sec", "csc")
        ):
            return Node("arc" + name, arguments)
        node = Node(name, arguments + base)
        return node if exponent is None else Node("^", (node, exponent))

    def iterated(self, name: str) -> Node:
        """\\sum_{k=0}^{n} and its body, which reaches to the next plus or minus."""
        self.expect("_")
        start = self.group("{", "}")
        self.expect("^")
        end = self.argument(signed=True)
        if start.head != "relation" or start.value != "=" or start.parts[0].head != "name":
            raise Unreadable("is a sum over something else")
        return Node(name, (start.parts[1], end, self.product()), str(start.parts[0].value))

    def operand(self) -> Node:
        if self.next == "{":
            return self.group("{", "}")
        if self.next == "-":
            self.take()
            return Node("neg", (self.operand(),))
        node = self.power()
        while self.kind in ("number", "letter") or self.next[1:] in CONSTANTS | LETTERS | {"frac", "sqrt"}:
            node = self.beside(node)
        return node


def has_digits_of(base: Node, digits: str) -> bool:
    """Whether a numeral has only digits of its base, where the base is a number."""
    limit = base.value if is_whole(base) and isinstance(base.value, Fraction) else 10
    return all(int(digit) < limit for digit in digits if digit.isdigit())


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
