"""Charts: points land where they should, and long runs stay small."""

import json
import math
import re
from dataclasses import asdict
from xml.etree import ElementTree

import pytest

from menon.report.charts import (
    PAGE,
    PICTURE,
    ROW,
    Axis,
    Band,
    Chart,
    Line,
    figure,
    in_words,
    log_ticks,
    number_text,
    picture,
    thinned,
    ticks,
)

LEFT, END = PAGE.left, PAGE.width - PAGE.right
TOP, FLOOR = PAGE.top, PAGE.height - PAGE.bottom
SVG = "{http://www.w3.org/2000/svg}"


def polyline(svg: str) -> list[tuple[float, float]]:
    found = re.search(r'<polyline class="t1" points="([^"]+)"', svg)
    assert found
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found[1].split())]


def test_points_land_on_the_frame():
    """Three steps over the whole width; 0 on the floor, 1 at the top, .5 in the middle."""
    places = polyline(figure(Chart("a", (Line("x", [(1, 0.0), (2, 0.5), (3, 1.0)], 1),))))
    assert places == [
        (LEFT, FLOOR),
        (pytest.approx((LEFT + END) / 2), pytest.approx((FLOOR + TOP) / 2)),
        (END, TOP),
    ]


def test_the_text_over_the_scale_has_a_row_of_its_own():
    svg = figure(Chart("a", (Line("x", [(1, 0.0), (2, 1.0)], 1),), up=Axis("KL", "nats")))
    assert polyline(svg) == [(LEFT, FLOOR), (END, TOP + ROW)]
    assert f'<text x="{LEFT}" y="{TOP + ROW - 8}">KL, nats</text>' in svg


def test_bounds_widen_the_scale_and_never_cut_a_point():
    svg = figure(Chart("a", (Line("x", [(1, 0.5), (2, 2.0)], 1),), up=Axis(low=0, high=1)))
    (_, half), (_, two) = polyline(svg)
    assert two == TOP
    assert half == pytest.approx(FLOOR - 0.25 * (FLOOR - TOP), abs=0.1)


def test_areas_lie_on_top_of_each_other():
    lines = (Line("a", [(1, 0.25), (2, 0.5)], 1), Line("b", [(1, 0.75), (2, 0.5)], 2))
    svg = figure(Chart("a", lines, up=Axis(low=0), stacked=True))
    lower, upper = re.findall(r'<polygon class="t\d" points="([^"]+)"', svg)
    quarter, half = FLOOR - (FLOOR - TOP) / 4, (FLOOR + TOP) / 2
    assert lower == f"{LEFT}.0,{quarter} {END}.0,{half} {END}.0,{FLOOR}.0 {LEFT}.0,{FLOOR}.0"
    assert upper == f"{LEFT}.0,{TOP}.0 {END}.0,{TOP}.0 {END}.0,{half} {LEFT}.0,{quarter}"


def test_one_point_is_a_dot_and_none_is_nothing():
    assert "<circle" in figure(Chart("a", (Line("x", [(1, 3.0)], 1),)))
    assert figure(Chart("a", (Line("x", [], 1),))) == ""


@pytest.mark.parametrize("value", [0.0, 0.7, 1 / 3, 18.9, -2.5, 3e-13, 1e9])
def test_equal_values_lie_within_a_scale(value):
    places = polyline(figure(Chart("a", (Line("x", [(1, value), (2, value + abs(value) * 1e-15)], 1),))))
    assert places[0][1] == places[1][1]
    assert TOP <= places[0][1] <= FLOOR


@pytest.mark.parametrize(
    ("low", "high"), [(10.1, 11.9), (0.986, 0.999), (0.0, 3e-13), (1000.0, 1001.0), (99.0, 101.0)]
)
def test_ticks_differ_in_what_they_say(low, high):
    svg = figure(Chart("a", (Line("x", [(1, low), (2, high)], 1),)))
    labels = re.findall(rf'<text x="{LEFT - 6}" [^>]+>([^<a-z]+(?:e-\d+)?)</text>', svg)
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
    [
        (0, 1, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 0.0039, [0.0, 0.001, 0.002, 0.003, 0.004]),
        (-3, 5, [-4.0, -2.0, 0.0, 2.0, 4.0, 6.0]),
    ],
)
def test_ticks_are_round_and_cover(low, high, wanted):
    found = ticks(low, high)
    assert found[: len(wanted)] == wanted
    assert found[0] <= low
    assert found[-1] >= high


def test_names_are_escaped():
    svg = figure(Chart("<b>", (Line('"><script>', [(1, 1.0), (2, 2.0)], 1),)))
    assert "<script>" not in svg
    assert "<b></b>" in svg.replace("&lt;b&gt;", "")
    assert number_text(1234.5) == "1,234"


def test_a_band_lies_around_its_line_and_widens_the_scale():
    line, band = Line("x", [(0, 0.5), (2, 0.5)], 1), Band("interval", [(0, 0.0, 0.5), (2, 0.25, 1.0)], 1)
    svg = figure(Chart("a", (line,), bands=(band,)))
    found = re.search(r'<polygon class="band t1" points="([^"]+)"', svg)
    assert found
    half, three_quarters = (FLOOR + TOP) / 2, FLOOR - (FLOOR - TOP) / 4
    assert found[1] == f"{LEFT}.0,{half} {END}.0,{TOP}.0 {END}.0,{three_quarters} {LEFT}.0,{FLOOR}.0"
    points = json.loads(re.search(r'data-points="([^"]+)"', svg)[1].replace("&quot;", '"'))
    assert points == [
        [[LEFT, 0, "0.5"], [END, 2, "0.5"]],
        [[LEFT, 0, "0 to 0.5"], [END, 2, "0.25 to 1"]],
    ]


def test_few_points_are_marked_where_no_dots_could_be_taken_for_them():
    few = Line("x", [(1, 1.0), (2, 2.0)], 1)
    assert figure(Chart("a", (few,))).count("<circle") == 2
    assert figure(Chart("a", (few, Line("y", [(1, 1.0)], 2, dots=True)))).count("<circle") == 1
    assert "<circle" not in figure(Chart("a", (Line("x", [(i, 1.0) for i in range(13)], 1),)))


def test_logarithmic_sides_put_points_where_their_logarithms_are():
    points = [(1.0, 2.0), (10.0, 20.0), (100.0, 2000.0)]
    sides = {"up": Axis("seconds", log=True), "across": Axis("tokens", log=True)}
    svg = figure(Chart("a", (Line("x", points, 1),), **sides))
    (x0, y0), (x1, y1), (x2, y2) = polyline(svg)
    assert (x0, x2, y0, y2) == (LEFT, END, FLOOR, TOP + ROW)
    assert x1 == (LEFT + END) / 2
    assert y1 == pytest.approx(FLOOR - (FLOOR - TOP - ROW) / 3, abs=0.1)
    labels = re.findall(r">([\d,.]+)</text>", svg)
    assert labels == ["2", "10", "100", "1,000", "2,000", "1", "10", "100"]


def test_marks_of_logarithms_are_the_ends_and_powers_of_ten_between():
    assert log_ticks(0.5, 200.0) == [0.5, 1.0, 10.0, 100.0, 200.0]
    # 1 would stand on top of 0.9.
    assert log_ticks(0.9, 200.0) == [0.9, 10.0, 100.0, 200.0]
    assert log_ticks(9.0, 5000.0) == [9.0, 100.0, 1000.0, 5000.0]
    assert log_ticks(3.0, 3.0) == [3.0]
    line = Line("x", [(1, 1.0), (math.sqrt(10), 2.0), (10, 3.0)], 1)
    assert polyline(figure(Chart("a", (line,), across=Axis(log=True))))[1][0] == (LEFT + END) / 2


def test_places_that_are_no_whole_numbers_have_their_middle():
    svg = figure(Chart("a", (Line("x", [(0.5, 1.0), (1.0, 2.0)], 1),)))
    assert re.findall(r'anchor="(?:middle|end)">(0\.75)</text>', svg) == ["0.75"]
    assert ">4</text>" in figure(Chart("a", (Line("x", [(1, 1.0), (6, 2.0)], 1),)))  # 3.5 is no step


def test_a_chart_is_plain_data():
    chart = Chart(
        "KL",
        (Line("x", [(1, 0.5)], 1),),
        "a note",
        Axis("KL", "nats", low=0),
        Axis("token"),
        (Band("interval", [(1, 0.25, 0.75)], 1),),
    )
    assert json.loads(json.dumps(asdict(chart))) == {
        "title": "KL",
        "lines": [{"name": "x", "points": [[1, 0.5]], "tone": 1, "dots": False, "dashed": False}],
        "note": "a note",
        "up": {"label": "KL", "unit": "nats", "low": 0, "high": None, "log": False},
        "across": {"label": "token", "unit": "", "low": None, "high": None, "log": False},
        "bands": [{"name": "interval", "points": [[1, 0.25, 0.75]], "tone": 1}],
        "stacked": False,
    }


def test_a_drawing_is_said_in_words():
    lines = (Line("training", [(1, 0.25), (60, 0.811)], 1), Line("held out", [(0, 0.2)], 2, dots=True))
    words = "Accuracy; training 0.25 at step 1, 0.811 at 60; held out 0.2 at step 0"
    assert in_words(Chart("Accuracy", lines)) == words
    assert f'role="img" aria-label="{words}"' in figure(Chart("Accuracy", lines))


def test_a_picture_is_a_file_of_its_own():
    names = [f"a rather long name {i}" for i in range(4)]
    lines = tuple(Line(name, [(0, 0.0), (2, 1.0)], 1 + i) for i, name in enumerate(names))
    chart = Chart("a < b", lines, bands=(Band("spread", [(0, 0.0, 0.0), (2, 0.0, 1.0)], 1),))
    svg = ElementTree.fromstring(picture(chart))
    texts = [text.text for text in svg.findall(f"{SVG}text")]
    assert texts[:6] == ["a < b", *names, "spread"]
    # Two long names fit in a row; the two rows of names make the picture higher, and the drawing no lower.
    rows = [float(text.attrib["y"]) for text in svg.findall(f"{SVG}text")[1:6]]
    assert rows == [PICTURE.top + 3.5 + ROW * row for row in (0, 0, 1, 1, 1)]
    assert int(svg.attrib["height"]) == PICTURE.height + 2 * ROW
    floor, top = PICTURE.height + 2 * ROW - PICTURE.bottom, PICTURE.top + 2 * ROW
    drawn = [line.attrib["points"] for line in svg.findall(f"{SVG}polyline")]
    end = f"{PICTURE.width - PICTURE.right}.0"
    assert drawn[4:] == [f"{PICTURE.left}.0,{floor}.0 {end},{top}.0"] * 4  # the first four are the legend's
    assert "prefers-color-scheme: dark" in svg.find(f"{SVG}style").text
    with pytest.raises(ValueError, match="the chart 'a' has no point to draw"):
        picture(Chart("a", (Line("x", [], 1),)))
