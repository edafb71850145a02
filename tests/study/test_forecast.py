"""Two laws of where a run is going: planted curves are found, intervals hold what comes, the past is kept."""

import json
import math
import tracemalloc

import numpy as np
import pytest

from menon.errors import UserError
from menon.record.reader import RunView
from menon.study.forecast import (
    RESULT,
    by_entropy,
    forecast,
    inflation,
    line_designs,
    predict,
    risen,
    sigmoid,
    sigmoid_designs,
)
from menon.study.seeds import t_quantile

STEPS = np.arange(40.0)


def curve(a, r0, b, middle, steps=STEPS):
    return r0 + (a - r0) * risen(steps[None], np.array([[b, middle]]))[0]


def test_equation_1_by_hand():
    """C_mid = 8, B = 2: at C = 4 the share is 1 / (1 + 4) = .2, at C = 16 it is 1 / (1 + 1/4) = .8."""
    assert risen(np.array([[4.0, 8.0, 16.0]]), np.array([[2.0, 8.0]])).tolist() == [[0.2, 0.5, 0.8]]
    assert curve(0.9, 0.1, 2, 8, np.array([4.0])) == pytest.approx([0.26])


def test_a_planted_sigmoid_is_found():
    found = sigmoid(STEPS, curve(0.85, 0.2, 2.0, 9.0), 80, 1.0)
    assert found["value"] == pytest.approx(curve(0.85, 0.2, 2.0, 9.0, np.array([80.0]))[0], abs=0.01)
    assert found["asymptote"]["value"] == pytest.approx(0.85, abs=0.02)
    assert (found["start"], found["rmse"]) == (pytest.approx(0.2, abs=0.02), pytest.approx(0, abs=1e-2))
    assert (found["steepness"], found["middle"]) == (pytest.approx(2, rel=0.1), pytest.approx(9, rel=0.12))


def test_with_one_shape_the_interval_is_that_of_a_regression():
    """Points with residuals that alternate in sign, so neighbours correlate negatively and nothing is
    inflated: half = t s sqrt(1 + 1/n + (u - mean u)^2 / S_uu)."""
    h = np.linspace(1.0, 0.2, 20)
    r = 2 - 0.5 * np.exp(h) + 0.01 * np.tile([1, -1], 10)
    u, asked = np.exp(h), math.exp(0.1)
    slope = ((u - u.mean()) * (r - r.mean())).sum() / ((u - u.mean()) ** 2).sum()
    fitted = r.mean() + slope * (u - u.mean())
    s = math.sqrt(((r - fitted) ** 2).sum() / 18)
    spread = 1 + 1 / 20 + (asked - u.mean()) ** 2 / ((u - u.mean()) ** 2).sum()
    found = predict(line_designs(h, 0.1), r)
    assert found.value == pytest.approx(r.mean() + slope * (asked - u.mean()), abs=1e-6)
    assert found.high - found.value == pytest.approx(t_quantile(18) * s * math.sqrt(spread), rel=1e-4)


def test_a_long_run_needs_little_memory():
    """Of 4,000 points all designs together have 1,568 * 4,000 rows of 16 bytes, 100 MB; in blocks they find
    the planted curve with 20."""
    steps = np.arange(4000.0)
    tracemalloc.start()
    try:
        found = sigmoid(steps, curve(0.85, 0.2, 2.0, 900.0, steps), 8000, 1.0)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found["asymptote"]["value"] == pytest.approx(0.85, abs=0.02)
    assert most < 20e6


def test_residuals_that_remember_make_it_wider():
    assert inflation(np.tile([1.0, -1.0], 8), 0) == 1
    slow = np.repeat([1.0, -1.0, 1.0, -1.0], 4)  # 12 of 15 neighbours agree: r = (12 - 3) / 16
    assert inflation(slow, 0) == pytest.approx((1 + 9 / 16) / (1 - 9 / 16))
    assert inflation(np.ones(8), 4) == pytest.approx(1.8 / 0.2)  # at most .8 is believed


def test_accuracies_stay_below_1():
    noise = 0.02 * np.random.default_rng(0).normal(size=12)
    found = sigmoid(STEPS[:12], curve(1.0, 0.1, 2.0, 20.0)[:12] + noise, 200, 1.0)
    assert max(found["value"], found["high"], found["asymptote"]["high"]) <= 1
    assert found["low"] < 0.9  # a third of the way says little of the end


@pytest.mark.parametrize("share", [1 / 3, 1 / 2])
def test_intervals_hold_what_comes(share):
    """100 curves of accuracies over 256 answers; 95 % of the last points are expected in the interval."""
    rng = np.random.default_rng(2)
    steps = np.arange(60.0)
    held = []
    for _ in range(100):
        a, r0, b, middle = (rng.uniform(*ends) for ends in ((0.5, 0.98), (0.05, 0.3), (0.8, 4), (5, 30)))
        score = rng.binomial(256, curve(a, r0, b, middle, steps)) / 256
        n = math.ceil(share * 60)
        one = predict(sigmoid_designs(steps[:n], 59.0)[0], score[:n], 1.0)
        held.append(one.low <= score[-1] <= one.high)
    assert 0.87 <= np.mean(held) <= 1


def written(folder, scores, entropies, planned=None):
    steps = range(1, len(scores) + 1)
    control = {"seed": 0, "steps": planned or len(scores)}
    (folder / "run.json").write_text(json.dumps({"format": 2, "settings": {"control": control}}))
    lines = [
        {"step": k, "acc/mean": r, "entropy/mean": h}
        for k, r, h in zip(steps, scores, entropies, strict=True)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_of_a_run_with_its_past(tmp_path):
    rng = np.random.default_rng(0)
    scores = curve(0.9, 0.2, 2.0, 6.0) + 0.01 * rng.normal(size=40)
    entropies = np.log((1.0 - scores) / 0.2 + 0.5)  # scores fall with exp(entropy) on a line: a = .2, b = 1.1
    found = forecast(written(tmp_path, scores.tolist(), entropies.tolist(), planned=100))
    assert (found["steps"], found["end"], found["score"]) == (40, 100, "training questions")
    assert found["sigmoid"]["low"] < 0.9 < found["sigmoid"]["high"]
    assert (found["entropy"]["a"], found["entropy"]["b"]) == (pytest.approx(0.2), pytest.approx(1.1))
    third, half = found["past"]
    assert (third["points"], half["points"], third["measured"]) == (14, 20, pytest.approx(scores[-1]))
    for one in (third["sigmoid"], third["entropy"], half["sigmoid"], half["entropy"]):
        assert one["error"] == pytest.approx(one["value"] - scores[-1])
        assert one["held"] == (one["low"] <= scores[-1] <= one["high"])
    assert third["sigmoid"]["held"]
    assert json.loads((RunView(tmp_path).layout.study / RESULT).read_text())["end"] == 100


def test_what_a_run_cannot_give_is_said(tmp_path):
    found = forecast(written(tmp_path, [0.1 * k for k in range(5)], [0.5] * 5))
    assert found["sigmoid"] == {"missing": "a forecast needs 8 points and there are 5; let the run go on"}
    assert "missing" in found["past"][0]["entropy"]
    assert found["end"] == 10
    with pytest.raises(UserError, match="the score is the same at every point"):
        sigmoid(STEPS, np.ones(40), 80)
    with pytest.raises(UserError, match="does not fall as the entropy rises"):
        by_entropy(np.linspace(0.1, 1, 9), np.linspace(0.1, 1, 9), 0.0)
