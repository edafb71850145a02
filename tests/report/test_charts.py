"""Charts: points land where they should, and long runs stay small."""

import re

import pytest

from menon.report.charts import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Line, drawn, number, thinned, ticks


def polyline(svg: str) -> list[tuple[float, float]]:
    found = re.search(r'<polyline class="t1" points="([^"]+)"', svg)
    assert found
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found[1].split())]


def test_points_land_on_the_frame():
    """Three steps over the whole width; 0 on the floor, 1 at the top, .5 in the middle."""
    places = polyline(drawn(Chart("a", (Line("x", [(1, 0.0), (2, 0.5), (3, 1.0)], 1),))))
    floor = HEIGHT - 24
    assert places == [
        (LEFT, floor),
        (pytest.approx((LEFT + WIDTH - RIGHT) / 2), pytest.approx((floor + TOP) / 2)),
        (WIDTH - RIGHT, TOP),
    ]


def test_bounds_widen_the_scale_and_never_cut_a_point():
    svg = drawn(Chart("a", (Line("x", [(1, 0.5), (2, 2.0)], 1),), low=0, high=1))
    (_, half), (_, two) = polyline(svg)
    assert two == TOP
    assert half == pytest.approx(HEIGHT - 24 - 0.25 * (HEIGHT - 24 - TOP), abs=0.1)


def test_areas_lie_on_top_of_each_other():
    lines = (Line("a", [(1, 0.25), (2, 0.5)], 1), Line("b", [(1, 0.75), (2, 0.5)], 2))
    svg = drawn(Chart("a", lines, stacked=True, low=0))
    lower, upper = re.findall(r'<polygon class="t\d" points="([^"]+)"', svg)
    floor, top = HEIGHT - 24, TOP
    quarter, half = floor - (floor - top) / 4, (floor + top) / 2
    assert lower == f"{LEFT},{quarter} {WIDTH - RIGHT},{half} {WIDTH - RIGHT}.0,{floor}.0 {LEFT}.0,{floor}.0".replace(
        f"{LEFT},", f"{LEFT}.0,", 1
    ).replace(f"{WIDTH - RIGHT},", f"{WIDTH - RIGHT}.0,", 1)
    assert upper.startswith(f"{LEFT}.0,{top}.0 {WIDTH - RIGHT}.0,{top}.0")


def test_one_point_is_a_dot_and_none_is_nothing():
    assert "<circle" in drawn(Chart("a", (Line("x", [(1, 3.0)], 1),)))
    assert drawn(Chart("a", (Line("x", [], 1),))) == ""


@pytest.mark.parametrize("value", [0.0, 0.7, 1 / 3, 18.9, -2.5, 3e-13, 1e9])
def test_equal_values_lie_within_a_scale(value):
    places = polyline(drawn(Chart("a", (Line("x", [(1, value), (2, value + abs(value) * 1e-15)], 1),))))
    assert places[0][1] == places[1][1]
    assert TOP <= places[0][1] <= HEIGHT - 24


@pytest.mark.parametrize(("low", "high"), [(10.1, 11.9), (0.986, 0.999), (0.0, 3e-13), (1000.0, 1001.0), (99.0, 101.0)])
def test_ticks_differ_in_what_they_say(low, high):
    svg = drawn(Chart("a", (Line("x", [(1, low), (2, high)], 1),)))
    labels = re.findall(r'text-anchor="end">([^<a-z]+(?:e-\d+)?)</text>', svg)
    assert len(labels) > 3
    assert len(set(labels)) == len(labels)
    assert [float(label.replace(",", "")) for label in labels] == ticks(low, high)


def test_long_lines_are_thinned_to_means():
    points = [(float(i), float(i % 2)) for i in range(10_000)]
    short = thinned(points)
    assert len(short) == 400
    assert short[0] == (12.0, pytest.approx(12 / 25))


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 1, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 0.0039, [0.0, 0.0005]), (-3, 5, [-4.0, -2.0, 0.0, 2.0, 4.0, 6.0])],
)
def test_ticks_are_round_and_cover(low, high, wanted):
    found = ticks(low, high)
    assert found[: len(wanted)] == wanted
    assert found[0] <= low
    assert found[-1] >= high


def test_names_are_escaped():
    svg = drawn(Chart("<b>", (Line('"><script>', [(1, 1.0), (2, 2.0)], 1),)))
    assert "<script>" not in svg
    assert "<b></b>" in svg.replace("&lt;b&gt;", "")
    assert number(1234.5) == "1,234"
