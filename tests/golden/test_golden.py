"""Law 8: every record of the golden vectors passes or is a named departure. `run.py FOLDER` is the same for
any folder. The records of `options` were made by the same peers' code as those beside the repository, for
settings that those do not have."""

import json
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden.adapters.table import ADAPTERS, WAITING
from golden.departures import DEPARTURES
from golden.harmless import HARMLESS
from golden.records import Noted, Record, load
from golden.verdicts import judge

FOLDER = Path(__file__).parents[3] / "shared" / "golden"
OPTIONS = Path(__file__).parent / "options"
RUN = Path(__file__).parent / "run.py"


def cases() -> list:
    records = load(OPTIONS) + (load(FOLDER) if FOLDER.is_dir() else [])
    return [pytest.param(record, id=f"{record.id}-{record.variant}") for record in records]


@pytest.mark.parametrize("record", cases())
def test_record(record):
    judgement = judge(record)
    if judgement.outcome == "not yet":
        pytest.skip(f"waits for {judgement.text}")
    assert judgement.outcome != "failed", judgement.text


def test_every_function_has_an_adapter_or_waits():
    if not FOLDER.is_dir():
        pytest.skip("no ../shared/golden beside this checkout")
    lines = (
        (FOLDER / "README.md").read_text(encoding="utf-8").split("## 6.")[1].split("## 7.")[0].splitlines()
    )
    named = {line.split("`")[1] for line in lines if line.startswith("| `")}
    assert len(named) == 142
    assert named == ADAPTERS.keys() | WAITING.keys()
    assert not ADAPTERS.keys() & WAITING.keys()


def record_of(
    given: float, function: str = "areal.reward.overlong", settings: Any = None, **inputs: Any
) -> Record:
    settings = {"max_response_length": 10, "overlong_buffer_len": 4, "penalty_factor": 1} | (settings or {})
    inputs = {"response_length": np.array([10]), "score": np.array([1.0])} | inputs
    tolerance = {"rtol": 1e-8, "atol": 1e-10}
    return Record(
        "a.1",
        function,
        "default",
        "float64",
        settings,
        inputs,
        {"reward": np.array([given])},
        {},
        {},
        tolerance,
    )


def test_a_wrong_number_fails_and_an_unknown_function_too():
    """A full penalty leaves 1 - 1 = 0."""
    assert judge(record_of(0.0)).outcome == "passed"
    wrong = judge(record_of(1e-6))
    assert wrong.outcome == "failed"
    assert wrong.text == "differs in reward by 1e-06"
    assert judge(record_of(float("nan"))).outcome == "failed"
    assert judge(record_of(0.0, "areal.reward.other")).text == "no adapter knows this function"


def test_a_departure_must_differ_as_stated(monkeypatch):
    stated = replace(DEPARTURES[0], function="areal.reward.*", low=0.1, high=0.3, when=lambda record: True)
    monkeypatch.setattr("golden.departures.DEPARTURES", (stated,))
    assert judge(record_of(0.2)).outcome == "departure"
    for off in (0.0, 0.5):
        judged = judge(record_of(off))
        assert judged.outcome == "failed"
        assert "between 0.1 and 0.3 was stated" in judged.text


@pytest.mark.parametrize(
    ("settings", "inputs", "names"),
    [
        ({"penalty_cap": 0.5}, {}, "penalty_cap"),
        ({"penalty_cap": None, "b": {"a": 1}}, {"mask": np.ones(1)}, "b, mask, penalty_cap"),
        ({}, {"truncated": np.ones(1)}, ""),  # harmless
    ],
)
def test_a_setting_or_input_that_no_adapter_reads_fails(settings, inputs, names):
    """Although the numbers agree."""
    judged = judge(record_of(0.0, settings=settings, **inputs))
    assert judged.text == (f"no adapter reads {names}" if names else "")
    assert judged.outcome == ("failed" if names else "passed")


def test_what_counts_as_read():
    noted = Noted({"a": {"b": 1, "c": 2}, "d": 3, "e": 4})
    assert "d" in noted
    assert noted.unread() == {"a", "d", "e"}
    assert noted["a"]["b"] == 1
    assert noted.get("f", 5) == 5
    assert noted.changed("d", 6)["d"] == 6
    assert noted.unread() == {"a.c", "e"}


@pytest.mark.parametrize(
    ("off", "outcome"), [(0.0, "passed"), (0.2, "departure"), (0.5, "failed"), (float("inf"), "failed")]
)
def test_a_departure_that_need_not_show(monkeypatch, off, outcome):
    stated = replace(DEPARTURES[0], function="areal.reward.*", low=0, high=0.3, when=lambda record: True)
    monkeypatch.setattr("golden.departures.DEPARTURES", (stated,))
    assert judge(record_of(off)).outcome == outcome


def test_one_of_two_departures_shows(monkeypatch):
    """A record may differ for one reason, or for the other, or, where neither must show, not at all."""
    small, large = (
        replace(DEPARTURES[0], function="areal.*", reason=name, low=low, high=high, when=lambda record: True)
        for name, low, high in (("small", 0, 0.1), ("large", 0.3, 0.6))
    )
    for stated, off, outcome in (
        ((small, large), 0.05, "departure"),
        ((small, large), 0.5, "departure"),
        ((small, large), 0.2, "failed"),
        ((small, large), 0.0, "failed"),
        ((small,), 0.0, "passed"),
    ):
        monkeypatch.setattr("golden.departures.DEPARTURES", stated)
        assert judge(record_of(off)).outcome == outcome


def test_every_harmless_name_is_of_a_known_function():
    names = ADAPTERS.keys()
    assert [pattern for pattern, _ in HARMLESS if not any(fnmatch(name, pattern) for name in names)] == []


@pytest.mark.parametrize(
    ("given", "last", "status"), [(0.0, "1 passed, 0 failed", 0), (0.5, "0 passed, 1 failed", 1)]
)
def test_the_runner_ends_with_its_counts(tmp_path, given, last, status):
    numbers = {"dtype": "float64", "shape": [1]}
    case = {
        "id": "areal.reward.overlong.900",
        "function": "areal.reward.overlong",
        "variant": "default",
        "precision": "float64",
        "tolerance": {"rtol": 1e-8, "atol": 1e-10},
        "settings": {"max_response_length": 10, "overlong_buffer_len": 4, "penalty_factor": 1},
        "inputs": {"response_length": numbers | {"data": [10]}, "score": numbers | {"data": [1]}},
        "outputs": {"reward": numbers | {"data": [given]}},
    }
    file = {"format": "golden-1", "function": case["function"], "cases": [case]}
    (tmp_path / "areal.reward.overlong.json").write_text(json.dumps(file))
    done = subprocess.run([sys.executable, str(RUN), str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["0 departures", last], done.stderr
    assert done.returncode == status
