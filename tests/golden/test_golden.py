"""Law 8: every record of the golden vectors passes or is a named departure. `run.py FOLDER` is the same for
any folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from golden.adapters.table import ADAPTERS, WAITING
from golden.departures import DEPARTURES
from golden.records import Record, load
from golden.verdicts import judge

FOLDER = Path(__file__).parents[3] / "shared" / "golden"
RUN = Path(__file__).parent / "run.py"


def cases() -> list:
    if not FOLDER.is_dir():
        return [
            pytest.param(
                None, marks=pytest.mark.skip(reason="no ../shared/golden beside this checkout"), id="none"
            )
        ]
    return [pytest.param(record, id=f"{record.id}-{record.variant}") for record in load(FOLDER)]


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


def record_of(given: float, function: str = "areal.reward.overlong", length: int = 10) -> Record:
    settings = {"max_response_length": 10, "overlong_buffer_len": 4, "penalty_factor": 1}
    import numpy as np

    inputs = {"response_length": np.array([length]), "score": np.array([1.0])}
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
    from dataclasses import replace

    stated = replace(DEPARTURES[0], function="areal.reward.*", low=0.1, high=0.3, when=lambda record: True)
    monkeypatch.setattr("golden.departures.DEPARTURES", (stated,))
    assert judge(record_of(0.2)).outcome == "departure"
    for off in (0.0, 0.5):
        judged = judge(record_of(off))
        assert judged.outcome == "failed"
        assert "between 0.1 and 0.3 was stated" in judged.text


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
