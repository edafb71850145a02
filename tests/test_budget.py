"""A run ends before the step that would exceed its minutes, whole and resumable."""

import json
import time
from dataclasses import replace

import pytest

from menon.assembly.run import in_words
from menon.cli import main
from menon.config import Control
from menon.errors import UserError
from menon.record.budget import Budget
from menon.record.reader import RunView
from tiny_run import drive, tiny_run, traces


def test_the_next_step_and_the_evaluation_must_fit():
    """Of 60 s, 40 have gone; the longest of the last three steps took 8 s and the evaluation 11: 59 s fit,
    and with an evaluation of 13 s they are 61."""
    budget = Budget(60.0, began=time.perf_counter() - 40)
    assert not budget.over  # a session makes one step at least
    for seconds in (30.0, 7.0, 8.0, 6.0):  # the first is no longer among the last three
        budget.stepped(seconds)
    budget.evaluated(11.0)
    assert not budget.over
    budget.evaluated(13.0)
    assert budget.over
    budget.evaluated(1.0)  # the longest counts
    assert budget.over
    assert not Budget(None, began=0.0, evaluation=1e9).over


class TwoSteps(Budget):
    """Two steps fit."""

    @property
    def over(self):
        return len(self.steps) >= 2


def test_it_ends_with_an_evaluation_and_goes_on_as_if_it_had_not(tmp_path, capsys):
    watch = drive(tmp_path / "cut", replace(tiny_run(), budget=TwoSteps(300.0)))
    assert watch.steps == [1, 2]
    assert watch.evaluations == [0, 2]
    assert watch.sentences == [
        "ends after step 2 of 4: another one and the evaluation after it would take longer than minutes=5"
    ]
    report = json.loads((tmp_path / "cut" / "report.json").read_text())
    assert (report["steps"], report["minutes"]) == (2, 5.0)
    assert report["after"] == RunView(tmp_path / "cut").evaluation(2)
    assert main(["report", str(tmp_path / "cut"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(tmp_path / "cut" / "report.html")
    assert [(one["step"], one["report"]["minutes"]) for one in said["runs"]] == [(2, 5.0)]
    assert drive(tmp_path / "cut").steps == [3, 4]
    drive(tmp_path / "whole")
    assert traces(tmp_path / "cut") == traces(tmp_path / "whole")


def test_the_setting():
    assert "at most 1 minute and 4 steps" in in_words(1, 4)["budget"]
    assert in_words(None, 4) == {}
    with pytest.raises(UserError, match="minutes is -1; give it a positive number"):
        Control(minutes=-1)
