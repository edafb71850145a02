"""The page of several runs: which points its lines and bands have, and that text is escaped."""

import pytest

from menon.report.charts import figure
from menon.report.differences import differences, value_text
from menon.report.several import CURVES, Arm, Several, Table, chart, write


def recorded(values, accuracy=()):
    lines = [{"step": step, "reward/mean": value, "time/step": 1.0} for step, value in enumerate(values, 1)]
    return lines, [{"step": step, "accuracy": value} for step, value in accuracy]


REWARD = next(curve for curve in CURVES if curve.title == "Reward in training")
HELD_OUT = next(curve for curve in CURVES if curve.title == "Accuracy, held out")


def test_a_line_is_the_mean_over_runs_at_steps_that_all_have():
    arms = [
        Arm("a", [recorded([1, 2, 3]), recorded([3, 6])]),
        Arm("b", [recorded([5], [(0, 0.25), (1, 0.5)])]),
    ]
    drawn = chart(REWARD, arms)
    assert [(line.name, line.points) for line in drawn.lines] == [
        ("a (2 runs)", [(1, 2), (2, 4)]),
        ("b", [(1, 5)]),
    ]
    assert [band.points for band in drawn.bands] == [[(1, 1, 3), (2, 2, 6)]]
    assert [line.points for line in chart(HELD_OUT, arms).lines] == [[], [(0, 0.25), (1, 0.5)]]
    assert figure(drawn).count('class="key') == 2  # a band has no line in the legend


def test_the_sixth_line_has_another_form_than_the_first():
    drawn = chart(REWARD, [Arm(str(n), [recorded([n, n])]) for n in range(6)])
    assert [(line.tone, line.dashed) for line in drawn.lines[::5]] == [(1, False), (1, True)]
    assert 'class="t1 dashed"' in figure(drawn)


def test_text_is_escaped(tmp_path):
    table = Table(("arm", "x|y"), [("<b>", "1\n2")])
    assert table.markdown() == ["| arm | x\\|y |", "| -- | --: |", "| <b> | 1 2 |"]
    content = Several("<i>", (Arm("<u>", [recorded([1, 2])]),), (("Arms", table, ""),), ("<s>",))
    write(tmp_path / "page.html", content)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not [tag for tag in ("<b>1", "<i>&", "<u>", "<s>") if tag in page]
    assert "&lt;i&gt;</h1>" in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    ("trees", "found"),
    [
        ([{"a": 1}, {"a": 1}], []),
        ([{"a": 1}, {"a": 2}], [("a", (1, 2))]),
        ([{"a": 1}, {}], [("a", (1, None))]),
        ([{"x": {"a": 1}}, {"x": {"a": 2}}, {"x": {"a": 2}}], [("a", (1, 2, 2))]),
        (
            [{"x": {"a": 1}, "y": {"a": 1}}, {"x": {"a": 2}, "y": {"a": 3}}],
            [("x.a", (1, 2)), ("y.a", (1, 3))],
        ),
        ([{"x": {"kind": "p", "a": 1}}, {"x": {"kind": "q", "b": 1}}], [("x", ("p", "q"))]),
        ([{"x": {"kind": "p", "a": 1}}, {"x": {"kind": "p", "a": 2}}], [("a", (1, 2))]),
        ([{"x": {"kind": "p", "a": 1}}, {"x": None}], [("x", ("p", None))]),
        ([{"x": {"credit": {"kind": "p"}}}, {"x": {}}], [("credit", ("p", None))]),
        ([{"control": {"seed": 1, "out": "a"}}, {"control": {"seed": 2, "out": "b"}}], []),
        ([{"own_code": {"m.py:A": "1"}}, {"own_code": {}}], []),
        ([{"own_code": {"m.py:A": "1"}}, {"own_code": {"m.py:A": "2"}}], [("m.py:A", ("1", "2"))]),
    ],
)
def test_settings_that_differ(trees, found):
    assert [(one.name, one.values) for one in differences(trees)] == found


def test_values_are_written_as_they_are_typed():
    values = [None, True, 1e-4, "x", [1, "a"], "/far/away/m.py:Mine", "0" * 64, ""]
    assert [*map(value_text, values)] == ["-", "true", "0.0001", "x", "[1, a]", "m.py:Mine", "00000000", "-"]
