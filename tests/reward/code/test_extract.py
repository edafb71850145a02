import pytest

from menon.reward.code.extract import completed, last_block


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```python\nprint(1)\n```\nno, better:\n```python\nprint(2)\n```\ndone", "print(2)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```py\nprint(1)\n```\nIt prints\n```text\n1\n```", "print(1)\n"),
        ("```cpp\nint x;\n```", "int x;\n"),
        ("~~~python\nprint(1)\n~~~", "print(1)\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("  ```Python\nprint(1)\n  ```", "print(1)\n"),
        ("```python\n```", ""),
        ("print(1)", None),
        ("```python\nprint(1)", None),  # never closed: cut off
        ("inline ```print(1)``` only", None),
        ("", None),
    ],
)
def test_last_block(text, code):
    assert last_block(text) == code


QUESTION = 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef area(r):\n    """Of a circle."""\n'


def test_a_function_gets_the_questions_imports_and_helpers():
    space: dict = {}
    exec(completed(QUESTION, "def area(r):\n    return helper(math.pi * r * r)\n", "area"), space)
    assert space["area"](2) == pytest.approx(12.566370614)


@pytest.mark.parametrize(
    "body", ["    x = r * r\n    return math.pi * x\n", "x = r * r\n    return math.pi * x"]
)
def test_a_body_goes_into_the_questions_function(body):
    space: dict = {}
    exec(completed(QUESTION, body, "area"), space)
    assert space["area"](2) == pytest.approx(12.566370614)


def test_a_question_in_words_adds_nothing():
    assert completed("Write area(r).", "def area(r): pass", "area") == "def area(r): pass"
    assert completed(QUESTION, "print(1)", "") == "print(1)"
