"""The curves of sets of runs as a chart."""

from collections.abc import Sequence
from statistics import mean

import numpy as np

from menon.report.charts import TONES_IN_TURN, Axis, Band, Chart, Line
from menon.study.run_curves import held_out_curve
from menon.study.seeds import Group, half_width
from menon.study.set_comparison import SetComparison

POINTS = 41
"""Places at which the curves of a set are averaged for a figure."""


def chart(found: SetComparison, groups: Sequence[Group]) -> Chart:
    """The mean curve of each set, with the 95 % interval over seeds, up to what the shortest run spent."""
    lines, bands = [], []
    for place, group in enumerate(groups):
        tone = TONES_IN_TURN[place % len(TONES_IN_TURN)]
        curves = [held_out_curve(run, found.at, found.measure) for run in group.runs]
        start = max(float(curve.spent[0]) for curve in curves)
        own = {float(x) for curve in curves for x in curve.spent if start <= x <= found.budget}
        places = sorted(own) if len(own) <= POINTS else np.linspace(start, found.budget, POINTS).tolist()
        values = [[curve.at(x) for curve in curves] for x in places]
        lines.append(Line(group.name, [(x, mean(of)) for x, of in zip(places, values, strict=True)], tone))
        if len(curves) > 1:
            halves = [(x, mean(of), half_width(of)) for x, of in zip(places, values, strict=True)]
            bands.append(Band("", [(x, middle - h, middle + h) for x, middle, h in halves], tone))
    return Chart(
        title=f"{found.measure}, held out",
        lines=tuple(lines),
        bands=tuple(bands),
        up=Axis(),
        across=Axis(found.at),
        note="Means over seeds with 95 % intervals.",
    )
