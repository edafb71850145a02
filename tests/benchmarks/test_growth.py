"""Exponents are slopes of logarithms; a picture has all series from one start; a quick run is a part."""

from dataclasses import asdict
from xml.etree import ElementTree

import pytest

import growth
from menon.report.charts import picture


def test_the_exponent_of_a_power_is_the_power():
    assert growth.exponent([(x, 3 * x**1.5) for x in (2.0, 8.0, 32.0)]) == pytest.approx(1.5)
    # By hand: logs to base 2 are (0, 0), (1, 2), (2, 2); slope (1 * 4/3 + 1 * 2/3) / 2 = 1.
    assert growth.exponent([(1.0, 1.0), (2.0, 4.0), (4.0, 4.0)]) == pytest.approx(1.0)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("quick", [True, False])
def test_a_series_changes_one_thing(quick, real):
    for name, sizes in growth.series(quick, real).items():
        others = [{key: value for key, value in asdict(size).items() if key != name} for size in sizes]
        assert all(other == others[0] for other in others)
        assert len({getattr(size, name) for size in sizes}) == len(sizes) >= 2
    assert set(growth.series(True)["length"]) < set(growth.series(False)["length"])
    assert [size.model for size in growth.series(True, real=True)["model"]] == ["0.8M", "4.8M", "135M"]


def test_the_picture_starts_all_series_at_one():
    chart = growth.chart(
        {"length": [(2.0, 3.0), (4.0, 9.0)], "model": [(5.0, 1.0), (10.0, 2.0)]},
        {"length": 1.585, "model": 1},
    )
    assert [list(line.points) for line in chart.lines] == [[(1, 1), (2, 3)], [(1, 1), (2, 2)]]
    drawn = ElementTree.fromstring(picture(chart))
    texts = [text.text for text in drawn.findall("{http://www.w3.org/2000/svg}text")]
    assert texts == [
        "time of a step, against what grows (exponent)",
        "length 1.58",
        "model 1.00",
        "1",
        "3",
        "1",
        "2",
        "times as large as the smallest",
        "times as long",
    ]
