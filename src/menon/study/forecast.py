"""Where a run is going: the sigmoid of score against compute, and the law of score against entropy, each
fitted to the run so far, with an interval, and with what it would have said earlier.

Sigmoid (The Art of Scaling Reinforcement Learning Compute, arXiv 2510.13786, equation 1):
R(C) = R_0 + (A - R_0) / (1 + (C_mid / C)^B), with C the steps done. For given B and C_mid it is linear in R_0
and A, so both laws are fits of straight lines.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from menon.errors import UserError
from menon.record import disk
from menon.record.reader import RunView
from menon.settings import setting
from menon.study import entropy_law
from menon.study.run_points import attempt, points
from menon.study.seeds import t_quantile

Floats = NDArray[np.float64]

RESULT = "forecast.json"
PARTS = {"third": 1 / 3, "half": 1 / 2}
"""Shares of the points from which the past forecasts are made."""
STEEPNESS = np.geomspace(0.5, 6, 28)
"""Values of B that are tried."""
MIDDLES = 56
"""How many values of C_mid are tried: from a quarter of the first step to twice the place asked for."""
BLOCK = 2**17
"""Rows of x of which the designs of the shapes are made at a time: 2 MiB, whatever the length of the run."""
LARGEST_MEMORY = 0.8
"""Largest correlation of neighbouring residuals that is believed."""


@dataclass(frozen=True)
class Prediction:
    """What a law says of one place."""

    value: float
    low: float
    """Ends of the 95 % interval: of one measurement at that place, or of the curve itself."""
    high: float


@dataclass(frozen=True)
class Designs:
    """Straight lines through the same points, one for each shape that is tried: y = x @ coefficients."""

    rows: Callable[[slice], Floats]
    """[g, K, 2] x of the points, of some of the shapes: those of a long run are never all there at once."""
    asked: Floats
    """[G, 2] of the place that is asked for."""
    parameters: int
    """Free numbers of the law, the shape's included."""

    def blocks(self, points: int) -> Iterator[slice]:
        """The shapes in blocks whose designs have about `BLOCK` rows of x together."""
        size = max(1, BLOCK // points)
        return (slice(begin, begin + size) for begin in range(0, len(self.asked), size))


def sigmoid_designs(compute: Floats, asked: float) -> tuple[Designs, Floats]:
    """The designs in (R_0, A) of all shapes that are tried, and their (B, C_mid) [G, 2]. `asked` may be
    infinite: then the asymptote A is asked for."""
    last = float(compute.max())
    upper = 2 * (last if math.isinf(asked) else max(asked, last))
    middles = np.geomspace(max(float(compute[compute > 0].min()) / 4, 1e-9), upper, MIDDLES)
    shapes = np.array([(b, middle) for b in STEEPNESS for middle in middles])
    end = np.ones(len(shapes)) if math.isinf(asked) else risen(np.array([[asked]]), shapes)[:, 0]

    def rows(some: slice) -> Floats:
        share = risen(compute[None, :], shapes[some])
        return np.stack([1 - share, share], -1)

    return Designs(rows, np.stack([1 - end, end], -1), 4), shapes


def risen(compute: Floats, shapes: Floats) -> Floats:
    """[G, K] the share 1 / (1 + (C_mid / C)^B) of the way from R_0 to A; 0 at C = 0.

    >>> risen(np.array([[0.0, 10.0]]), np.array([[2.0, 10.0]])).tolist()
    [[0.0, 0.5]]
    """
    with np.errstate(divide="ignore", over="ignore"):
        ratio = shapes[:, 1:] / np.maximum(compute, 0)
        return np.asarray(1 / (1 + ratio ** shapes[:, :1]), dtype=np.float64)


def line_designs(entropy: Floats, asked: float) -> Designs:
    """The one design of R = b - a exp(H), in (b, -a); `asked` is an entropy."""
    x = np.stack([np.ones_like(entropy), np.exp(entropy)], -1)[None]
    return Designs(lambda some: x[some], np.array([[1.0, math.exp(asked)]]), 2)


def predict(designs: Designs, score: Floats, most: float = math.inf, measured: bool = True) -> Prediction:
    """`fits`, and what they say of the place that is asked for."""
    return fits(designs, score, most).of(designs.asked, measured)


@dataclass(frozen=True)
class Fits:
    """The best line of each of G shapes through K points."""

    coefficient: Floats
    """[G, 2]; the second is at most `most`."""
    spread: Floats
    """[G, 2, 2] covariance of the coefficients, in units of the noise."""
    square_sums: Floats
    """[G] what the lines leave."""
    residuals: Floats
    """[K] what the best shape leaves."""
    parameters: int
    most: float

    @property
    def best(self) -> int:
        """The shape that leaves least."""
        return int(np.argmin(self.square_sums))

    def of(self, asked: Floats, measured: bool = True) -> Prediction:
        """The best fit's value at a place, of which `asked` [G, 2] is the row of x for each shape, with its
        profile interval.

        A value v is in the interval if some shape g has
        (SSE_g - SSE) / k + (v - f_g)^2 / (k V_g + m) <= t^2 s^2: SSE_g is the sum of squares left by the best
        line of that shape, SSE the least of them, f_g the line's value there and s^2 V_g its variance, s^2 =
        SSE / (K - parameters), and t is Student's. k = (1 + r) / (1 - r) makes up for residuals whose
        neighbours correlate by r > 0. m is 1 for the interval of one measurement, 0 for that of the curve.
        With one shape this is the usual interval of a regression. Coefficients and ends are at most `most`.
        """
        values = np.einsum("ga,ga->g", asked, self.coefficient)
        variances = np.einsum("ga,gab,gb->g", asked, self.spread, asked)
        freedom = len(self.residuals) - self.parameters
        noise = float(self.square_sums[self.best]) / freedom
        memory = inflation(self.residuals, self.parameters)
        room = t_quantile(freedom) ** 2 * noise - (self.square_sums - self.square_sums[self.best]) / memory
        inside = room >= 0
        half = np.sqrt(np.maximum(room, 0) * (memory * variances + float(measured)))
        low, high = float((values - half)[inside].min()), float((values + half)[inside].max())
        most = self.most
        return Prediction(min(float(values[self.best]), most), min(low, most), min(high, most))


def fits(designs: Designs, score: Floats, most: float) -> Fits:
    """The best line of each shape. Where its second coefficient would be above `most`, it is `most`."""
    parts = [lines_of(designs.rows(some), score, most) for some in designs.blocks(len(score))]
    coefficient, spread, square_sums = (np.concatenate(column) for column in zip(*parts, strict=True))
    best = int(np.argmin(square_sums))
    residuals = score - designs.rows(slice(best, best + 1))[0] @ coefficient[best]
    return Fits(coefficient, spread, square_sums, residuals, designs.parameters, most)


def lines_of(x: Floats, score: Floats, most: float) -> tuple[Floats, Floats, Floats]:
    """`coefficient`, `spread` and `square_sums` of some shapes, whose designs are x [g, K, 2]."""
    moment = np.einsum("gka,gkb->gab", x, x)
    scale = np.trace(moment, axis1=1, axis2=2)
    spread = np.linalg.inv(moment + 1e-9 * scale[:, None, None] * np.eye(2))
    coefficient = np.einsum("gab,gb->ga", spread, np.einsum("gkb,k->gb", x, score))
    held = coefficient[:, 1] > most
    if held.any():
        size = moment[:, 0, 0]
        first = (np.einsum("gk,k->g", x[:, :, 0], score) - most * moment[:, 0, 1]) / size
        coefficient = np.where(held[:, None], np.stack([first, np.full_like(first, most)], -1), coefficient)
        only = np.zeros_like(spread)
        only[:, 0, 0] = 1 / size
        spread = np.where(held[:, None, None], only, spread)
    residuals = score - np.einsum("gka,ga->gk", x, coefficient)
    return coefficient, spread, (residuals**2).sum(1)


def inflation(residuals: Floats, parameters: int) -> float:
    """(1 + r) / (1 - r) for the correlation r of neighbouring residuals, at least 1. A fit with p parameters
    makes r too small by about p / K, which is added."""
    size = float((residuals**2).sum())
    r = float((residuals[1:] * residuals[:-1]).sum()) / size + parameters / len(residuals) if size else 0.0
    r = min(max(r, 0.0), LARGEST_MEMORY)
    return (1 + r) / (1 - r)


# Of a run


def sigmoid(compute: ArrayLike, score: ArrayLike, asked: float, most: float = math.inf) -> dict[str, Any]:
    """The sigmoid through points (C_k, R_k): its parameters, and what it says of C = `asked`, as plain data.
    UserError: too few points."""
    c, r = checked(compute, score)
    designs, shapes = sigmoid_designs(c, asked)
    end, _ = sigmoid_designs(c, math.inf)
    found, of_end = fits(designs, r, most), fits(end, r, most)
    best, start = found.best, np.tile([1.0, 0.0], (len(shapes), 1))
    return {
        "asked": asked,
        **asdict(found.of(designs.asked)),
        "points": len(c),
        "start": found.of(start, measured=False).value,
        "asymptote": asdict(of_end.of(end.asked, measured=False)),
        "steepness": float(shapes[best, 0]),
        "middle": float(shapes[best, 1]),
        "rmse": math.sqrt(float(found.square_sums[best]) / len(c)),
    }


def by_entropy(entropy: ArrayLike, score: ArrayLike, asked: float, most: float = math.inf) -> dict[str, Any]:
    """The law of score and entropy through points (H_k, R_k), and what it says of the entropy `asked`.
    UserError: as of `entropy_law.fit`."""
    h, r = checked(entropy, score)
    law = entropy_law.fit(h, r)
    return {
        "asked": asked,
        **asdict(predict(line_designs(h, asked), r, most)),
        "points": len(h),
        "a": law.a,
        "b": law.b,
        "ceiling": {"value": law.ceiling, "low": law.low, "high": law.high},
        "rmse": math.sqrt(float(((r - law(h)) ** 2).mean())),
    }


def checked(places: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    x, y = (np.asarray(values, dtype=np.float64) for values in (places, score))
    if len(x) < entropy_law.LEAST_POINTS:
        raise UserError(
            f"a forecast needs {entropy_law.LEAST_POINTS} points and there are {len(x)}; let the run go on"
        )
    if np.ptp(y) == 0:
        raise UserError("the score is the same at every point, so there is nothing to fit; let the run go on")
    return x, y


def forecast(path: Path | str) -> dict[str, Any]:
    """`forecast_of` a run folder, stored as study/forecast.json. UserError: there is no run, or no step."""
    view = RunView.open(path)
    found = forecast_of(view)
    disk.own_folder(view.layout.study)
    disk.write_json(view.layout.study / RESULT, found)
    return found


def forecast_of(view: RunView) -> dict[str, Any]:
    """Both laws on a run that is done or running, and their past forecasts.

    A running run is asked about its last planned step, a finished one about twice its steps. Each past
    forecast is a fit to the first third or half of the points, asked about the last one. The law of entropy
    is told the entropy there, which the sigmoid is not. A part that the run cannot give is
    {"missing": why}. UserError: the run has not finished a step.
    """
    view.finished_steps()
    score, steps, entropies, scores = series(view)
    planned = int(setting(view.settings, "steps") or 0)
    end = planned if planned > view.steps else 2 * view.steps
    most = 1.0 if view.accuracy_known else math.inf
    return {
        "score": score,
        "steps": view.steps,
        "end": end,
        "sigmoid": attempt(lambda: sigmoid(steps, scores, end, most)),
        "entropy": attempt(lambda: by_entropy(entropies, scores, entropies[-1], most)),
        "past": [past(name, share, steps, entropies, scores, most) for name, share in PARTS.items()],
    }


def series(view: RunView) -> tuple[str, list[float], list[float], list[float]]:
    """What the scores are of, and for each point the steps done, the entropy and the score. Held-out scores
    if a third of them is enough for a fit, else those of the training questions of each step."""
    name, entropies, scores = points(view)
    known = {line["step"] for line in view.metrics if line.get("entropy/mean") is not None}
    if name == "held out" and len(scores) >= 3 * entropy_law.LEAST_POINTS:
        return name, [float(e["step"]) for e in view.evaluations if e["step"] + 1 in known], entropies, scores
    measure = "acc/mean" if view.accuracy_known else "reward/mean"
    lines = [line for line in view.metrics if None not in (line.get(measure), line.get("entropy/mean"))]
    if not lines:
        raise UserError(f"{view.path} records no {measure} and entropy of its steps, so there is no forecast")
    steps = [float(line["step"] - 1) for line in lines]
    return (
        "training questions",
        steps,
        [float(line["entropy/mean"]) for line in lines],
        [float(line[measure]) for line in lines],
    )


def past(
    name: str,
    share: float,
    steps: Sequence[float],
    entropies: Sequence[float],
    scores: Sequence[float],
    most: float,
) -> dict[str, Any]:
    """What both laws would have said of the last point after a share of the points, beside what was
    measured."""
    n = math.ceil(share * len(steps))
    fitted: dict[str, Any] = {
        "sigmoid": attempt(lambda: sigmoid(steps[:n], scores[:n], steps[-1], most)),
        "entropy": attempt(lambda: by_entropy(entropies[:n], scores[:n], entropies[-1], most)),
    }
    for one in fitted.values():
        if "missing" not in one:
            one["error"] = one["value"] - scores[-1]
            one["held"] = one["low"] <= scores[-1] <= one["high"]
    return {"part": name, "points": n, "step": steps[-1], "measured": scores[-1], **fitted}
