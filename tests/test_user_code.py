"""A user's own code: names that are not there, and faults that are named with file and line."""

from dataclasses import make_dataclass
from pathlib import Path

import pytest

from menon.cli import sentence_for
from menon.errors import UserError
from menon.user_code import blame, line_of, load_object, own_fault

CODE = """
from dataclasses import dataclass

def score(prompt, completion, answer):
    return 1 / 0

@dataclass
class Careful:
    def __post_init__(self):
        raise TypeError("not so")

class Inherited(Careful, Exception):
    ...

def _hidden():
    ...
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("scor", "holds no 'scor'; did you mean 'score'?"),
        ("Carefull", "did you mean 'Careful'?"),
        ("zzzz", "holds no 'zzzz'; it holds Careful, Inherited, score"),
        ("Careful.run", "holds no 'Careful.run', nor any function or class of its own"),
    ],
)
def test_a_name_that_is_not_there(file, name, end):
    with pytest.raises(UserError) as error:
        load_object(f"{file}:{name}")
    assert str(error.value).endswith(end)


def test_a_fault_that_passed_through_a_file_of_the_users(file):
    with pytest.raises(TypeError) as error:
        load_object(f"{file}:Careful")()
    said = "your mine.py raised TypeError: not so (mine.py:10); --debug shows the whole trace"
    assert sentence_for(error.value) == own_fault(error.value) == said
    with pytest.raises(TypeError) as error:
        load_object(f"{file}:score")()
    assert own_fault(error.value) == ""  # never entered: the fault is the caller's


def test_blame_names_the_line_or_where_the_method_begins(file):
    score = load_object(f"{file}:score")
    part = make_dataclass("Part", [], namespace={"__module__": score.__module__, "__call__": score})()
    with (
        pytest.raises(
            UserError, match=r"^advantage.x=mine.py:Part raised ZeroDivisionError: .* \(mine.py:5\); so$"
        ),
        blame("advantage.x", part, "so"),
    ):
        part("", "")
    with (
        pytest.raises(UserError, match=r"positional arguments?: .* \(mine.py:4\) \(why\); so$"),
        blame("advantage.x", part, "so", hint=lambda error: " (why)"),
    ):
        part()


def test_blame_of_a_class_without_a_file_names_no_line_of_menon():
    namespace = {"__name__": "notebook"}
    exec("class Part:\n    def __call__(self):\n        return 1 / 0", namespace)
    with (
        pytest.raises(
            UserError, match=r"^advantage.x=notebook:Part raised ZeroDivisionError: division by zero; so$"
        ),
        blame("advantage.x", namespace["Part"](), "so"),
    ):
        namespace["Part"]()()


@pytest.mark.parametrize(
    ("cls", "method", "line"),
    [("Careful", "__post_init__", 9), ("Inherited", "__post_init__", 9), ("Inherited", "with_traceback", 12)],
)
def test_the_line_of_a_method_is_in_the_file_of_its_class(file, cls, method, line):
    assert line_of(load_object(f"{file}:{cls}"), method) == line


@pytest.mark.parametrize("error", [UserError("already clear"), MemoryError("full")])
def test_blame_leaves_what_is_clear(error):
    with pytest.raises(type(error), match=str(error)), blame("advantage.x", object(), "so"):
        raise error
