"""The calculator."""

import random
from fractions import Fraction

import pytest

from menon.rollout.environments.calculator import LONGEST, Calculator, Refused, evaluate, spelt
from menon.rollout.turns import Turns
from menon.types import Request, Sampling
from scripted import ScriptedSampler, is_gold, question


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("16+9", 25),
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("7-2-1", 4),
        ("8/4/2", 1),
        ("1/3+1/6", Fraction(1, 2)),
        ("-3+-2*-(1+1)", 1),
        (" 12 . 5", None),
        ("12.5*2", 25),
        ("0.1+0.2", Fraction(3, 10)),
        ("9" * 50 + "*" + "9" * 49, int("9" * 50) * int("9" * 49)),
        *(
            (bad, None)
            for bad in (
                "",
                " ",
                "1+",
                "*2",
                "(1",
                "1)",
                "()",
                "1 2",
                "1/0",
                "1/(2-2)",
                "2**3",
                "1.",
                ".5",
                "٣",
                "x",
            )
        ),
        ("1+" * (LONGEST // 2) + "1", None),
        ("(" * LONGEST, None),
        ("-" * 99 + "1", -1),
    ],
)
def test_values(expression, value):
    if value is None:
        with pytest.raises(Refused):
            evaluate(expression)
    else:
        assert evaluate(expression) == value


def test_random_expressions_are_what_python_says():
    rng = random.Random(0)

    def make(depth: int) -> str:
        if depth == 0 or rng.random() < 0.3:
            return str(rng.randint(0, 99))
        text = f"{make(depth - 1)}{rng.choice('+-*/')}{make(depth - 1)}"
        return f"({text})" if rng.random() < 0.5 else text

    compared = 0
    for _ in range(2000):
        text = make(3)
        try:
            expected = eval(text)  # our own text, of digits and signs
        except ZeroDivisionError:
            with pytest.raises(Refused):
                evaluate(text)
            continue
        if len(text) <= LONGEST:
            assert float(evaluate(text)) == pytest.approx(expected, rel=1e-9, abs=1e-9)
            compared += 1
    assert compared > 1500


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(5), "5"),
        (Fraction(-7, 2), "-3.5"),
        (Fraction(1, 3), "0.3333333333"),
        (Fraction(2, 3), "0.6666666667"),
        (Fraction(-1, 10**12), "0"),
        (Fraction(10**40), "1" + "0" * 40),
        (Fraction(199999999999, 10**11), "2"),
    ],
)
def test_spelling(value, text):
    assert spelt(value) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\n3+8=", ("11", 0.0, False)),
        (" ok\n11+5=", ("16", 0.0, False)),
        ("11+5=17 wait, 4*4=", ("16", 0.0, False)),
        ("so 2=", ("2", 0.0, False)),
        ("what is x=", ("error", 0.0, False)),
        ("1/0=", ("error", 0.0, False)),
        ("3+8=11", ("", 0.0, False)),
        ("\n#11", ("", 0.0, True)),
        ("", ("", 0.0, True)),
    ],
)
def test_turns(text, answer):
    assert Calculator().step(text) == answer


def test_an_answer_that_uses_it():
    says = {0: "\n3+8=", 1: "\n11+5=", 2: "\n#16"}

    class Stopping(ScriptedSampler):
        """Without the end token where a stop string ends the turn."""

        def write(self, requests):
            for completion in super().write(requests):
                if completion.text.endswith("="):
                    keep = slice(0, -1)
                    cut = {
                        name: getattr(completion, name)[keep]
                        for name in ("tokens", "logp", "log_kept", "entropy", "version")
                    }
                    completion = type(completion)(**{**vars(completion), **cut})
                yield completion

    def script(request):
        return says[bytes(request.prefix.astype("u1")).count(b"=")]

    def text_of(tokens):
        return "".join(chr(t) for t in tokens if t)

    turns = Turns(Calculator(), lambda text, before: [ord(c) for c in text], text_of)
    (graded,) = turns(
        [Request(question(0, answer="\n3+8=11\n11+5=16\n#16"), Sampling(64))], [0], Stopping(script), is_gold
    )
    assert graded.verdict.score == 1
    assert graded.verdict.parts == {"turns": 3.0, "observed": 1.0, "environment": 0.0}
    rollout = graded.rollout
    marked = "".join("^" if action else "." for action in rollout.is_action)
    assert text_of(rollout.tokens) == "q0=\n3+8=11\n11+5=16\n#16"
    assert marked == "...^^^^^..^^^^^^..^^^^^"
