"""Scans choose the fastest, sides take turns, ratios are of medians against the best of the others."""

import math

import pytest

from menon.errors import UserError
from side_by_side.crew import Process
from side_by_side.report import Scan, Setting, alternate, last_line, spread, times_faster

SLOW, FAST, COLD = (Setting(label, Process("nobody")) for label in ("slow", "fast", "cold"))


def test_a_scan_takes_the_fastest_after_a_warm_up_and_gives_up_early_on_the_hopeless(capsys):
    tries = {"fast": iter([5.0, 1.0]), "slow": iter([9.0]), "cold": iter([1.5, 0.5])}
    scan = Scan("side", lambda setting: next(tries[setting.label]), lambda seconds: f"{seconds} s")
    # fast is warm at 1.0; slow is 9 times as slow on its first try and gets no second one; cold was 1.5 times
    # as slow and does.
    assert scan([FAST, SLOW]) is FAST
    assert scan([COLD]) is COLD
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-2] for line in lines] == ["1.0", "9.0", "0.5"]


def test_a_setting_that_ends_its_worker_is_passed_over_aloud(capsys):
    def measure(setting):
        if setting is SLOW:
            raise UserError("it has ended; the last lines:\nno memory")
        return 1.0

    assert Scan("side", measure, str)([SLOW, FAST]) is FAST
    assert "slow" in (line := capsys.readouterr().out.splitlines()[0])
    assert line.endswith("ended: no memory")
    with pytest.raises(UserError, match="no memory"):
        Scan("side", measure, str)([SLOW])


def test_sides_take_turns_in_changing_order():
    asked = []

    def measure(setting):
        asked.append(setting.label)
        return float(len(asked))

    seconds = alternate({"ours": FAST, "theirs": SLOW}, measure, repeats=3)
    assert asked == ["fast", "slow", "slow", "fast", "fast", "slow"]
    assert seconds == {"ours": [1.0, 4.0, 5.0], "theirs": [2.0, 3.0, 6.0]}


def test_ratios_are_of_medians_against_the_best_of_the_others():
    seconds = {"ours": [1.0, 2.0, 9.0], "a": [8.0, 6.0, 7.0], "b": [5.0, 4.0, 100.0]}
    assert times_faster(seconds, "ours", ["a"]) == 3.5
    assert times_faster(seconds, "ours", ["a", "b"]) == 2.5
    assert math.isnan(times_faster(seconds, "ours", ["absent"]))


@pytest.mark.parametrize(
    ("ratios", "line"),
    [
        ({"vs_hf": 3.14159, "vs_vllm": math.nan}, "vs_hf=3.14 vs_vllm=nan"),
        ({"ratio": 2.0}, "ratio=2.00"),
        ({"tokens_exponent": 1.046}, "tokens_exponent=1.05"),
    ],
)
def test_the_last_line(ratios, line):
    assert last_line(**ratios) == line


def test_a_median_is_shown_with_its_range():
    assert spread([3.0, 1000.0, 2000.4], ",.0f") == "1,000 (3 to 2,000)"
