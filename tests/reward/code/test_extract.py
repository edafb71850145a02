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
        # what follows a program
        ("```python\nprint(1)\n```\nIt prints\n```\n1\n```", "print(1)\n"),
        ("```\nprint(1)\n```\nIt takes\n```\nO(1)\n```", "print(1)\n"),
        ("```\nprint(1)\n```\nTry\n```\n3 4\n```", "print(1)\n"),
        ("```python\nprint(1)\n```\nIt prints\n```python\n1\n```", "print(1)\n"),
        ("```python\nprint(1)\n```\nTry\n```python\n>>> 1\n1\n```", "print(1)\n"),
        ("```python\ndef f():\n    print(1)\n```\nUse\n```python\nf()\n```", "def f():\n    print(1)\n"),
        ("```python\nprint(1)\n```\nno, better\n```python\nprint((\n```", "print((\n"),  # broken, but last
        # how a block is written
        ("```python\nprint(1)```\nIt prints\n```\n1\n```", "print(1)\n"),
        ("```python title=a.py\nprint(1)\n```\n```\n1\n```", "print(1)\n"),
        ("```{.python .numberLines}\nprint(1)\n```\n```\n1\n```", "print(1)\n"),
        ("``` python3.11\nprint(1)\n```\n```\n1\n```", "print(1)\n"),
        ("```pycon\n>>> 1\n```\n```\nprint(1)\n```", "print(1)\n"),
        ("```python\r\nif 1:\r\n    print(1)\r\n```\r\n", "if 1:\n    print(1)\n"),
        ("1. so\n\n   ```python\n   if 1:\n       print(1)\n   ```\n", "if 1:\n    print(1)\n"),
        ("- ```python\n  print(1)\n  ```", "print(1)\n"),
        ("<answer>```python\nprint(1)\n```</answer>", "print(1)\n"),
        ("So: ```python\nprint(1)\n```\n\n~~~\n1\n~~~", "print(1)\n"),
        ("> ```python\n> if 1:\n>     print(1)\n> ```", "if 1:\n    print(1)\n"),
        ("```markdown\nso:\n```python\nprint(1)\n```\n```", "print(1)\n"),
        ("```python\nprint(0)\n\nNo:\n```python\nprint(1)\n```", "print(1)\n"),  # the first was never closed
        ("```python\nprint(1)\n```\nOr\n```python\nprint(", "print(1)\n"),
        ("```python\nprint(1)\n``` which prints 1", "print(1)\n"),
        ('```python\ndef f():\n    """\n    ```\n    """\n```', 'def f():\n    """\n    ```\n    """\n'),
    ],
)
def test_last_block(text, code):
    assert last_block(text) == code


ADD, WRONG = "def add(a, b): return a + b\n", "def add(a, b): return 0\n"


@pytest.mark.parametrize(
    ("blocks", "program"),
    [
        ([("python", ADD), ("python", "from solution import add\nprint(add(1, 2))\n")], 0),
        ([("python", ADD), ("python", "assert add(1, 2) == 3\n")], 0),
        ([("", ADD), ("python", "print(add(1, 2))\n")], 0),
        ([("python", ADD), ("python", WRONG), ("python", "print(add(1, 2))\n")], 1),
        ([("python", WRONG), ("", ADD)], 0),  # what says Python comes first
        ([("python", "class Solution:\n    def add(self, a, b): return a + b\n"), ("python", "x = 1\n")], 0),
        ([("python", "print(1)\n"), ("python", "print(2)\n")], 1),
        ([("python", ADD), ("python", 'def add(a, b):\n    """The sum."""\n    ...\n')], 0),
        ([("python", ADD), ("python", "def add(a, b): pass\n")], 1),
    ],
)
def test_the_last_block_that_defines_what_is_asked_for(blocks, program):
    text = "\n".join(f"```{language}\n{code}```" for language, code in blocks)
    assert last_block(text, lambda: ["add"]) == blocks[program][1]


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
