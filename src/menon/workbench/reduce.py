"""Fewer points for a screen: smoothing, and per pixel the smallest and the largest value of each line."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kept(columns: list[Floats], pixels: int) -> NDArray[np.int64]:
    """Places of the points to draw, in order: all of them if there are at most two for each pixel; else for
    each pixel the first and last place, and those of every column's smallest and largest value. The drawing
    is the same as that of all points.

    >>> kept([np.array([0.0, 1.0, 5.0, 2.0, 1.0, 1.0, 0.0, 3.0])], 2).tolist()
    [0, 2, 3, 4, 6, 7]
    """
    count = len(columns[0]) if columns else 0
    if count <= 2 * pixels:
        return np.arange(count)
    size = -(-count // pixels)
    starts = np.arange(0, count, size)
    found = [starts, np.minimum(starts + size, count) - 1]
    whole = count // size * size
    for column in columns:
        found.append(extremes(column[:whole].reshape(-1, size)))
        if whole < count:
            found.append(whole + extremes(column[None, whole:]))
    return np.unique(np.concatenate(found))


def extremes(table: Floats) -> NDArray[np.int64]:
    """The places in a table [R, S], counted row by row, of the first smallest and the first largest known
    value of each row; none of a row without known values.

    NumPy's argmin takes a NaN for the smallest value, so a row with one is looked at again: nothing is copied
    for the others, and 10 million values take about as long as their minimum and maximum alone.
    """
    rows, size = table.shape
    first = np.arange(rows) * size
    least, most = table.argmin(1), table.argmax(1)
    holes = np.isnan(table[np.arange(rows), least])
    found = [first[~holes] + least[~holes], first[~holes] + most[~holes]]
    for row in np.flatnonzero(holes):
        values = table[row]
        for value in (np.fmin.reduce(values), np.fmax.reduce(values)):
            found.append(first[row] + np.flatnonzero(values == value)[:1])
    return np.concatenate(found)


def smoothed(values: Floats, weight: float) -> Floats:
    """The exponential moving average of the known values, with the share of the missing past taken out:
    s_t = (1 - w) sum_k w^k x_{t-k} / (1 - w^(t+1)). NaN where a value is NaN. `weight` is w, from 0 to below
    1.

    >>> smoothed(np.array([1.0, np.nan, 4.0]), 0.5).tolist()
    [1.0, nan, 3.0]
    """
    found = np.full(len(values), np.nan)
    state, scale = 0.0, 0.0
    for place in np.flatnonzero(~np.isnan(values)):
        state = weight * state + (1 - weight) * float(values[place])
        scale = weight * scale + (1 - weight)
        found[place] = state / scale
    return found
