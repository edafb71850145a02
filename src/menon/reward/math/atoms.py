"""Reading single values: numbers, names, groups, roots and functions."""

from fractions import Fraction

from menon.reward.math.lexicon import names_in
from menon.reward.math.node import Node, is_whole, literal, number_node
from menon.reward.math.tokens import Token, Unreadable

FUNCTIONS = names_in(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth arsinh "
    "arcosh artanh log ln lg exp max min gcd lcm abs floor ceil"
)
INVERSES = {name: "arc" + name for name in ("sin", "cos", "tan", "cot", "sec", "csc")}
INVERSES |= {name + "h": f"ar{name}h" for name in ("sin", "cos", "tan")}
OPAQUE = frozenset("fgh")
"""Letters that are read as functions where a bracket follows; any other letter is multiplied."""
CONSTANTS = names_in("pi infty")
LETTERS = names_in(
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon "
    "varphi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar"
)
WRAPPERS = names_in("vec overrightarrow bar hat tilde overline widehat widetilde underline angle triangle")
CLOSERS = names_in("rfloor rceil } pm mp cdot div bmod pmod \\ endmatrix")
"""Commands that begin no factor."""
_RELATIONS = (
    r"= =|\equiv =|< <|> >|\lt <|\gt >|\le <=|\ge >=|\ne !=|\in in|\notin notin|\subset subset|"
    r"\approx ~|\sim ~|\simeq ~"
)
RELATIONS = {pair.split()[0]: pair.split()[1] for pair in _RELATIONS.split("|")}
"""A relation as written -> as stored."""
SETS = {"\\cup": "cup", "\\cap": "cap", "\\setminus": "setminus"}


class Atoms:
    """The lowest levels of a recursive descent: single values, and what a command takes. The levels above are
    in `terms` and `tree`."""

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

    def product(self) -> Node:
        raise NotImplementedError

    def signed(self) -> Node:
        raise NotImplementedError

    def beside(self, node: Node) -> Node:
        raise NotImplementedError

    def power(self) -> Node:
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
            if not is_base(base) or not has_digits_of(base, token.text):
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
        if exponent is not None and exponent == Node("neg", (number_node(1),)) and name in INVERSES:
            return Node(INVERSES[name], arguments)
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


LARGEST_BASE = 36


def is_base(base: Node) -> bool:
    """Whether a numeral may have this base: a whole number from 2 to 36, or a name."""
    return base.head == "name" or (is_whole(base) and 2 <= (base.value or 0) <= LARGEST_BASE)  # type: ignore[operator]


def has_digits_of(base: Node, digits: str) -> bool:
    """Whether a numeral has only digits of its base, where the base is a number."""
    limit = base.value if is_whole(base) and isinstance(base.value, Fraction) else 10
    return all(int(digit) < limit for digit in digits if digit.isdigit())
