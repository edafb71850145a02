"""Files and key=value to typed settings; every mistake is one sentence that says what to change."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from menon.errors import UserError
from menon.settings import choice, merged, nested, override, plain_data, read, read_file


@dataclass(frozen=True)
class Circle:
    radius: float = 1.0
    kind: Literal["circle"] = "circle"


@dataclass(frozen=True)
class Square:
    side: int = 2
    filled: bool = False
    kind: Literal["square"] = "square"

    def __post_init__(self) -> None:
        if self.side < 0:
            raise UserError(f"side is {self.side}; it must not be negative")


Shape = Annotated[Circle | Square, choice(Circle | Square)]


@dataclass(frozen=True)
class Pen:
    width: float = 0.5
    colours: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Drawing:
    shapes: dict[str, Shape]
    pen: Pen = field(default_factory=Pen)
    title: str = ""
    size: int | None = None
    paper: Literal["a4", "a5"] = "a4"
    short: ClassVar[Mapping[str, str]] = {}


def drawing(**settings: Any) -> Drawing:
    return read(Drawing, nested({"shapes": {}, **settings}))


def test_a_tree_becomes_dataclasses():
    read_one = drawing(
        **{"shapes.a": "square", "shapes.b": {"kind": "circle", "radius": ".5"}, "pen.width": 2, "size": "7"}
    )
    assert read_one == Drawing({"a": Square(), "b": Circle(0.5)}, Pen(width=2.0), size=7)


def test_what_is_written_reads_back():
    one = Drawing({"a": Square(3, True), "b": Circle(1e-9)}, Pen(0.1, (1, 2, 3)), "t", 4, "a5")
    assert read(Drawing, plain_data(one)) == one
    assert plain_data(one)["shapes"]["a"] == {"side": 3, "filled": True, "kind": "square"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"titel": "x"}, "unknown setting 'titel'; did you mean 'title'?"),
        ({"zzz": "x"}, "unknown setting 'zzz'; there are shapes, pen, title, size, paper"),
        ({"pen.widht": 1}, "unknown setting 'pen.widht'; did you mean 'pen.width'?"),
        (
            {"shapes.a": {"kind": "circle", "radios": 1}},
            "in shapes.a: unknown setting 'radios'; did you mean 'radius'?",
        ),
        ({"shapes.a": "sqare"}, "in shapes.a: unknown kind 'sqare'; did you mean 'square'?"),
        ({"shapes.a": {"radius": 1}}, "in shapes.a: a part needs its kind (circle, square)"),
        ({"shapes.a": 3}, "in shapes.a: 3 is not a part; name its kind (circle, square)"),
        ({"shapes.a": {"kind": "square", "side": -1}}, "in shapes.a: side is -1; it must not be negative"),
        ({"shapes.a": {"kind": "square", "side": True}}, "in shapes.a: side is true; it takes a number"),
        ({"shapes.a": {"kind": "square", "filled": 1}}, "in shapes.a: filled is 1; it takes true or false"),
        ({"size": "many"}, "size is 'many'; it takes a whole number"),
        ({"size": 1.5}, "size is 1.5; it takes a whole number"),
        ({"size": True}, "size is true; it takes a number"),
        ({"pen.width": "nan"}, "pen.width is 'nan'; it takes a finite number"),
        ({"pen.width": None}, "pen.width is null; it takes a number"),
        ({"pen.colours": 3}, "pen.colours is 3; it takes a list"),
        ({"pen.colours": [1, 2]}, "pen.colours is [1, 2]; it takes a longer list"),
        ({"pen.colours": [1, 2, 3, 4]}, "pen.colours is [1, 2, 3, 4]; it takes a shorter list"),
        ({"pen": "thin"}, "pen is 'thin'; it takes a table of settings, like pen.width=..."),
        ({"paper": "a3"}, "paper is 'a3'; it takes 'a4' or 'a5'"),
        ({"title": {"de": "x"}}, "title is a table; it takes text"),
    ],
)
def test_a_mistake_is_one_sentence(settings, sentence):
    with pytest.raises(UserError) as error:
        drawing(**settings)
    assert str(error.value) == sentence


def test_a_missing_table_is_named():
    with pytest.raises(UserError, match=r"^'shapes' is missing$"):
        read(Drawing, {})


OWN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Star:
    points: int = 5

    def __call__(self):
        return self.points

class Plain:
    pass

@dataclass(frozen=True)
class Still:
    points: int = 5

@dataclass(frozen=True)
class Odd:
    points: "Points" = 5

@dataclass(frozen=True)
class Full:
    points: object = object()
    __call__ = print
"""


def test_an_own_part_comes_from_a_file_and_goes_back_to_its_name(tmp_path: Path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    one = drawing(**{"shapes.a": {"kind": f"{file}:Star", "points": "6"}})
    assert one.shapes["a"]() == 6
    assert plain_data(one)["shapes"]["a"] == {"kind": f"{file}:Star", "points": 6}
    assert read(Drawing, plain_data(one)) == one


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("{file}:Sta", "in shapes.a: {file} holds no 'Sta'"),
        (
            "{file}:Plain",
            "in shapes.a: {file}:Plain is not a dataclass; a part is a frozen dataclass whose",
        ),
        ("{file}:Still", "in shapes.a: {file}:Still lacks '__call__'; a part is a frozen dataclass whose"),
        (
            "own.py",
            "in shapes.a: 'own.py' is not a kind; your own part is named by its file and class, like own",
        ),
        (
            "Hexagon",
            "in shapes.a: 'Hexagon' is not a kind; your own part is named by its file and class, like my_fil",
        ),
        (
            "{file}:Odd",
            "in shapes.a: {file}:Odd: the types of its fields cannot be read: name 'Points' is not",
        ),
        (
            "{file}:Full",
            "in shapes.a: {file}:Full: its setting points is of type object; settings are numbers",
        ),
        ("{folder}/no.py:Star", "in shapes.a: there is no file {folder}/no.py"),
        (
            "{folder}/bad.py:Star",
            "in shapes.a: {folder}/bad.py cannot be loaded: ZeroDivisionError: division by zero (bad.py:2)",
        ),
        ("menon.nowhere:Star", "in shapes.a: the module menon.nowhere cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_an_own_part_that_is_none(tmp_path: Path, name, sentence):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "bad.py").write_text("\n1 / 0\n")
    places = {"file": tmp_path / "own.py", "folder": tmp_path}
    with pytest.raises(UserError) as error:
        drawing(**{"shapes.a": name.format(**places)})
    assert str(error.value).startswith(sentence.format(**places))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (Square, "Square is a class; give an object of it, like Square()"),
        (
            len,
            "len is not an object of a dataclass; a part is a frozen dataclass whose fields are its settings",
        ),
    ],
)
def test_an_object_that_is_no_part(value, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        drawing(shapes={"a": value})


def test_an_object_stays_what_it_is():
    square = Square(9)
    assert drawing(shapes={"a": square}).shapes["a"] is square


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("steps=20", ("steps", "20")),
        ("a.b=1e-3", ("a.b", "1e-3")),
        ("critic=null", ("critic", None)),
        ("data=", ("data", None)),
        ("template=Q: {q}", ("template", "Q: {q}")),
        ("template='a: b'", ("template", "a: b")),
        ("betas=[.9, 0.95]", ("betas", [0.9, 0.95])),
        ("kl={loss: kl, coef: 0.1}", ("kl", {"loss": "kl", "coef": 0.1})),
        ("out=a=b", ("out", "a=b")),
    ],
)
def test_one_override(text, parsed):
    assert override(text) == parsed


@pytest.mark.parametrize("text", ["steps", "=3", "steps =3", "betas=[1, 2"])
def test_no_override(text):
    with pytest.raises(UserError):
        override(text)


def test_another_kind_replaces_a_part_and_the_same_one_changes_it():
    below = {"shape": {"kind": "square", "side": 3, "filled": True}}
    assert merged(below, {"shape": {"side": 4}})["shape"] == {"kind": "square", "side": 4, "filled": True}
    assert merged(below, {"shape": {"kind": "square", "side": 4}})["shape"] == {
        "kind": "square",
        "side": 4,
        "filled": True,
    }
    assert merged(below, {"shape": {"kind": "circle"}})["shape"] == {"kind": "circle"}
    assert merged(below, {"shape": "circle"})["shape"] == {"kind": "circle"}
    assert merged({"shape": None}, {"shape": {"kind": "circle"}})["shape"] == {"kind": "circle"}
    assert merged({"shape": Square(3)}, {"shape": {"filled": True}})["shape"] == {
        "kind": "square",
        "side": 3,
        "filled": True,
    }


def test_order_of_overrides():
    assert nested({"s": "circle", "s.radius": 1}) == {"s": {"kind": "circle", "radius": 1}}
    assert nested({"s.radius": 1, "s": "circle"}) == {"s": "circle"}
    assert list(merged({"a": 1, "b": 2}, {"b": 3, "a": 4})) == ["b", "a"]
    assert list(merged({"a": 1, "b": 2}, {"c": 3, "a": 4})) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.yaml", "steps: 7\nobjective:\n  policy.loss: {kind: ppo_clip, clip_high: 0.28}\n"),
        ("run.toml", 'steps = 7\n[objective]\n"policy.loss" = { kind = "ppo_clip", clip_high = 0.28 }\n'),
    ],
)
def test_files(tmp_path: Path, name, text):
    (tmp_path / name).write_text(text)
    wanted = {"steps": 7, "objective": {"policy": {"loss": {"kind": "ppo_clip", "clip_high": 0.28}}}}
    assert read_file(tmp_path / name) == wanted


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.yaml", "steps: [", "is not valid YAML"),
        (
            "a.yaml",
            "data: a\nsource:\n  stop: [x]\n  heldout: 3\n  heldout: 4\n",
            "a.yaml gives heldout twice, the second time in line 5; leave one out",
        ),
        ("a.toml", "steps = ", "is not valid TOML"),
        ("a.yaml", "- steps\n", "should hold a table of settings"),
        ("a.ini", "steps=3", "should end in .yaml or .toml"),
    ],
)
def test_bad_files(tmp_path: Path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_file(tmp_path / name)


def test_no_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"there is no settings file .*none\.yaml"):
        read_file(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert read_file(tmp_path / "empty.yaml") == {}
