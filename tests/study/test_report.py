"""The end of a run and `menon report`: the page is there, the report holds the distance, and nothing that
fails costs the run."""

import json

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.cli import main
from menon.cli.report import USAGE
from menon.engines.hf_models import export
from menon.loop import loop
from menon.record.folder import RunFolder
from menon.study import report as made
from menon.study.report import at_the_end
from tiny_run import VOCAB, Watching, tiny_run


@pytest.fixture
def run(tmp_path):
    export(tiny_model(vocab=VOCAB), tiny_tokenizer(VOCAB), tmp_path / "start")
    settings = {"model": str(tmp_path / "start"), "tokens_per_forward": 64, "device": "cpu", "threads": 1}
    with RunFolder.create(tmp_path / "run", settings) as folder:
        loop(tiny_run(steps=1), folder, Watching())
    return tmp_path / "run"


def test_report_writes_the_page_and_the_distance(run, capsys):
    before = json.loads((run / "report.json").read_text())
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"the report is in {run / 'report.html'}\n"
    after = json.loads((run / "report.json").read_text())
    assert {name: value for name, value in after.items() if name != "drift"} == before
    assert f"<b>{after['drift']['sequence_kl']:.2f} nats</b>" in (run / "report.html").read_text()
    assert after["drift"]["sequence_kl"] > 0


def test_the_end_of_a_run_adds_the_distance(run):
    stored = ("drift", "verdict")
    found = at_the_end(run, lambda sentence: None)
    report = json.loads((run / "report.json").read_text())
    assert found == {name: report[name] for name in stored}


def test_large_models_are_not_loaded_a_second_time(run, monkeypatch):
    monkeypatch.setattr(made, "AT_ONCE", 1000)
    told: list[str] = []
    assert at_the_end(run, told.append).keys() == {"verdict"}
    assert told == [
        f"the distance to the start is not measured yet; `menon report {run}` loads both models and does it"
    ]
    assert "Not measured" in (run / "report.html").read_text()


def test_a_page_that_cannot_be_made_costs_the_run_nothing(run, monkeypatch):
    def broken(*args):
        raise RuntimeError("no paper")

    monkeypatch.setattr(made, "write", broken)
    told: list[str] = []
    assert at_the_end(run, told.append).keys() == {"verdict"}
    assert told == [f"{run / 'report.html'} could not be made (no paper); `menon report {run}` tries again"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], USAGE),
        (["a", "k=1"], USAGE),
        (["a", "out=b.html"], "the page of one run is report.html in its folder; leave out= out"),
        (
            ["nowhere"],
            "nowhere holds no run (it has no run.json); name the folder that menon train wrote, or start one "
            "with `menon train out=nowhere`",
        ),
    ],
)
def test_mistakes(words, sentence, capsys):
    assert main(["report", *words]) == 2
    assert capsys.readouterr().err == f"menon: {sentence}\n"
