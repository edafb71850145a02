"""Exponents are slopes of logarithms; the picture puts points where the axes say; a quick run is a part of
the whole one."""

import math
from dataclasses import asdict
from xml.etree import ElementTree

import pytest

import growth
from side_by_side.plot import log_log, share, ticks


def test_the_exponent_of_a_power_is_the_power():
    assert growth.exponent([(x, 3 * x**1.5) for x in (2.0, 8.0, 32.0)]) == pytest.approx(1.5)
    # By hand: logs to base 2 are (0, 0), (1, 2), (2, 2); slope (1 * 4/3 + 1 * 2/3) / 2 = 1.
    assert growth.exponent([(1.0, 1.0), (2.0, 4.0), (4.0, 4.0)]) == pytest.approx(1.0)


@pytest.mark.parametrize("quick", [True, False])
def test_a_series_changes_one_thing(quick):
    for name, sizes in growth.series(quick).items():
        others = [{key: value for key, value in asdict(size).items() if key != name} for size in sizes]
        assert all(other == others[0] for other in others)
        assert len({getattr(size, name) for size in sizes}) == len(sizes) >= 2
    assert set(growth.series(True)["length"]) < set(growth.series(False)["length"])


def test_points_are_where_logarithmic_axes_say():
    picture = ElementTree.fromstring(
        log_log("a < b", "tokens", {"one": [(1.0, 1.0), (10.0, 10.0), (100.0, 100.0)]})
    )
    name = "{http://www.w3.org/2000/svg}"
    [line] = picture.findall(f"{name}polyline")
    # From 52 to 340 across and from 226 up to 30; ten lies in the middle of 1 and 100.
    assert line.attrib["points"] == "52.0,226.0 196.0,128.0 340.0,30.0"
    assert picture.findall(f"{name}text")[0].text == "a < b"


def test_the_picture_starts_all_series_at_one():
    picture = ElementTree.fromstring(growth.picture({"length": [(2.0, 3.0), (4.0, 9.0)]}, {"length": 1.585}))
    texts = [text.text for text in picture.findall("{http://www.w3.org/2000/svg}text")]
    assert texts == [
        "time of a step, against what grows (exponent)",
        "times as large as the smallest",
        "1",
        "2",
        "1",
        "3",
        "length 1.58",
    ]


def test_marks_are_the_ends_and_powers_of_ten_between():
    assert ticks([0.5, 200.0]) == [0.5, 1.0, 10.0, 100.0, 200.0]
    # 1 would stand on top of 0.9.
    assert ticks([0.9, 200.0]) == [0.9, 10.0, 100.0, 200.0]
    assert ticks([9.0, 5000.0]) == [9.0, 100.0, 1000.0, 5000.0]
    assert ticks([3.0, 3.0]) == [3.0]
    assert share(math.sqrt(10), [1.0, 10.0]) == pytest.approx(0.5)
