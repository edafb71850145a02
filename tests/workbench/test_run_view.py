"""What the server answers about runs (curves, comparison, findings, forecast, notes, listing), against the
files and the commands."""

import json
import math
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from menon.cli import main
from menon.errors import UserError
from menon.processes.worker import Spawn
from menon.record import disk
from menon.record.reader import FORMAT, RunView
from menon.study.diagnosis import Finding
from menon.workbench import findings
from menon.workbench.app import create
from menon.workbench.findings import place_of
from menon.workbench.runs import Runs

FORMAT_1 = Path(__file__).parents[1] / "data" / "format_1"


def asked(folder, path, status=200):
    """The JSON at an address of a workbench over the folder."""
    answer = client(folder).get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def client(folder):
    return TestClient(create(Runs([folder])), base_url="http://127.0.0.1:1")


def stored(run, file="metrics.jsonl"):
    return [json.loads(line) for line in (run / file).read_text().splitlines()]


def column(run, name, file="metrics.jsonl"):
    return [line[name] for line in stored(run, file)]


def one_line(found, name, held=False):
    return next(line for line in found["lines"] if (line["name"], line["held"]) == (name, held))


def write(file, lines):
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def copy(seeded, tmp_path):
    """A folder with the run `run` alone, to be changed."""
    shutil.copytree(seeded / "fast-1", tmp_path / "runs" / "run")
    return tmp_path / "runs"


# Curves


def test_a_curve_is_what_the_file_says(seeded):
    run = seeded / "fast-1"
    found = asked(seeded, "/api/curves?runs=fast-1&chart=accuracy")
    training, held = one_line(found, "acc/mean"), one_line(found, "accuracy", held=True)
    assert (training["x"], training["y"]) == (list(range(1, 41)), column(run, "acc/mean"))
    for key, name in (("x", "step"), ("y", "accuracy"), ("low", "accuracy_low"), ("high", "accuracy_high")):
        assert held[key] == column(run, name, "evaluations.jsonl")


def test_a_long_curve_keeps_the_extremes_of_every_pixel(copy):
    first, random = stored(copy / "run")[0], np.random.default_rng(0)
    values = random.normal(size=4000).tolist()
    lines = [first | {"step": i + 1, "grad_norm": y} for i, y in enumerate(values)]
    write(copy / "run" / "metrics.jsonl", lines)
    line = one_line(asked(copy, "/api/curves?runs=run&chart=gradient&pixels=100"), "grad_norm")
    shown = dict(zip(line["x"], line["y"], strict=True))
    assert all(values[int(x) - 1] == y for x, y in shown.items())
    assert len(shown) <= 400
    for start in range(0, 4000, 40):
        pixel = values[start : start + 40]
        between = [y for x, y in shown.items() if start < x <= start + 40]
        assert (min(between), max(between)) == (min(pixel), max(pixel))
    part = one_line(
        asked(copy, "/api/curves?runs=run&chart=gradient&pixels=100&start=11&end=20"), "grad_norm"
    )
    assert part["y"] == values[9:21]  # one more at each end, so that the line goes on to the edge


def test_runs_of_one_method_are_a_mean_with_its_interval(seeded):
    found = asked(seeded, "/api/curves?runs=fast-1,fast-2,slow-1&chart=accuracy")
    mean, single = (line for line in found["lines"] if not line["held"])
    both = np.array([column(seeded / name, "acc/mean") for name in ("fast-1", "fast-2")])
    half = (
        12.7062047 * np.abs(both[0] - both[1]) / 2
    )  # t of 1 degree; the deviation of two is |a - b| / sqrt 2
    assert mean["runs"] == 2
    assert mean["y"] == pytest.approx(both.mean(0))
    assert mean["low"] == pytest.approx(both.mean(0) - half)
    assert mean["high"] == pytest.approx(both.mean(0) + half)
    assert (single["of"], single["runs"], single["low"]) == ("slow-1", 1, None)
    assert single["y"] == column(seeded / "slow-1", "acc/mean")


def test_smoothing_keeps_the_measured_values(seeded):
    line = one_line(asked(seeded, "/api/curves?runs=fast-1&chart=gradient&smooth=.5"), "grad_norm")
    a, b, c = line["y"][:3]
    assert line["y"] == column(seeded / "fast-1", "grad_norm")
    assert line["smooth"][:3] == pytest.approx([a, (a + 2 * b) / 3, (a + 2 * b + 4 * c) / 7])


def test_a_curve_as_a_file(seeded):
    page = client(seeded)
    rows = page.get("/api/curves?runs=fast-1&chart=gradient&format=csv").text.splitlines()
    names = rows[0].split(",")
    values = [float(dict(zip(names, row.split(","), strict=True))["value"]) for row in rows[1:]]
    assert values == column(seeded / "fast-1", "grad_norm")
    drawn = page.get("/api/curves?runs=fast-1&chart=gradient&format=svg")
    assert drawn.text.startswith("<svg")
    assert "attachment" in drawn.headers["content-disposition"]


def test_every_number_has_a_chart(seeded):
    found = asked(seeded, "/api/charts?runs=fast-1")
    shown = {chart["key"] for group in found["groups"] for chart in group["charts"]}
    drawn = {
        line["name"]
        for key in shown
        for line in asked(seeded, f"/api/curves?runs=fast-1&chart={key}")["lines"]
    }
    rest = {other["name"] for other in found["others"]}
    numbers = {key for key, value in stored(seeded / "fast-1")[0].items() if isinstance(value, float)}
    assert numbers <= drawn | rest
    assert not drawn & rest
    key = sorted(rest)[0]
    line = one_line(asked(seeded, f"/api/curves?runs=fast-1&chart={key}"), key)
    assert line["y"] == column(seeded / "fast-1", key)


def test_a_run_that_goes_on_is_read_on(copy):
    page, file = client(copy), copy / "run" / "metrics.jsonl"
    values = lambda: one_line(page.get("/api/curves?runs=run&chart=gradient").json(), "grad_norm")["y"]  # noqa: E731
    before, followed = values(), page.get("/api/follow?runs=run").json()["run"]
    with open(file, "a") as out:
        out.write(json.dumps({"step": 41, "grad_norm": 7.5}) + '\n{"step": 42, "grad_n')
    now = page.get("/api/follow?runs=run").json()["run"]
    assert values() == [*before, 7.5]  # the half line waits for its end
    assert (followed["step"], now["step"]) == (40, 41)
    assert now["position"] != followed["position"]
    with open(file, "a") as out:
        out.write('orm": 8.5}\n')
    assert values() == [*before, 7.5, 8.5]
    file.write_text("".join(islice(file.read_text().splitlines(keepends=True), 5)))  # a resumed run goes back
    assert values() == before[:5]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/curves?runs=&chart=accuracy", "name 1 to 64 runs"),
        ("/api/curves?runs=fast-1", "chart="),
        ("/api/curves?runs=fast-1&chart=accuracy&pixels=many", "pixels is 'many'; it takes a number"),
        ("/api/compare?a=fast-1", "name two sets"),
        ("/api/compare?a=fast-1,fast-2&b=slow-1,slow-2&at=hours", "steps, tokens or seconds"),
    ],
)
def test_what_cannot_be_asked_has_a_sentence(seeded, path, said):
    assert said in asked(seeded, path, 400)["error"]


def test_a_run_that_is_not_there(seeded):
    for path in ("/api/run/gone", "/api/curves?runs=gone&chart=accuracy", "/api/run/..%2ffast-1"):
        assert client(seeded).get(path).status_code == 404


# Compared with what the commands print


def printed(capsys, *words):
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("at", ["steps", "tokens", "seconds"])
def test_a_comparison_is_that_of_the_command(seeded, capsys, at):
    sets = [",".join(f"{seeded}/{name}-{seed}" for seed in (1, 2)) for name in ("slow", "fast")]
    expected = printed(capsys, "compare", *sets, f"at={at}")
    found = asked(seeded, f"/api/compare?a=slow-1,slow-2&b=fast-1,fast-2&at={at}")
    for one in found["sets"]:
        del one["middle"], one["names"]
    assert {key: found[key] for key in expected} == expected
    assert not found["comparisons"][0]["decided"]
    assert "2 against 2 runs can decide nothing" in found["conclusions"][0]
    by_name = asked(seeded, f"/api/compare?runs=slow-1,slow-2,fast-1,fast-2&at={at}")
    assert by_name["comparisons"][0]["difference"] == expected["comparisons"][0]["difference"]


def test_findings_are_those_of_the_command(folder, capsys):
    expected = printed(capsys, "diagnose", str(folder / "one"))
    found = asked(folder, "/api/run/one/findings")["findings"]
    assert [{key: one[key] for key in expected[0]} for one in found] == expected
    cut = next(one for one in found if one["cause"] == "cut")
    words = dict(word.split("=") for word in cut["example"].split()[3:])
    shown = asked(folder, "/api/run/one/step/{step}/answer/{row}".format(**cut["shown"]))
    assert (shown["group"], shown["sample"]) == (int(words["group"]), int(words["answer"]))
    assert shown["finish"] == "length"


def test_findings_of_a_large_run_are_worked_out_in_a_process_of_their_own(folder, monkeypatch):
    """They are the same ones, and the server answers meanwhile; what stops it is one sentence."""
    here = asked(folder, "/api/run/one/findings")
    began = []
    started = findings.Worker.start
    monkeypatch.setattr(findings.Worker, "start", lambda self: began.append(self) or started(self))
    monkeypatch.setattr(findings, "MUCH", 0)
    assert asked(folder, "/api/run/one/findings") == here
    assert len(began) == 1
    assert began[0].pid == 0  # it has ended
    (folder / "one" / "run.json").rename(folder / "one" / "away.json")
    view = RunView(folder / "one")
    try:
        with pytest.raises(UserError, match=f"^{folder / 'one'} holds no run"):
            findings.Finder().of(view)
    finally:
        (folder / "one" / "away.json").rename(folder / "one" / "run.json")
    monkeypatch.setattr(findings, "Spawn", lambda entry: Spawn("menon.workbench.findings:size_of"))
    with pytest.raises(UserError, match=r"the findings of .* were not worked out: TypeError"):
        findings.Finder().of(view)


def test_the_list_of_charts_brings_the_lines_of_the_first(seeded):
    found = asked(seeded, "/api/charts?runs=fast-1&pixels=100")
    shown = [chart["key"] for group in found["groups"] for chart in group["charts"]][:2]
    assert list(found["first"]) == shown == ["accuracy", "reward"]
    for key in shown:
        alone = asked(seeded, f"/api/curves?runs=fast-1&chart={key}&pixels=100")
        assert found["first"][key] == alone["lines"]
    assert "first" not in asked(seeded, "/api/charts?runs=fast-1")


def test_an_example_is_found_in_its_file(folder):
    view = RunView.open(folder / "one")
    rows = view.transcripts.rows(2, ["group", "sample"])
    for words, shown in (
        ("step=2 group=3 answer=1", {"step": 2, "row": rows.index({"group": 3, "sample": 1})}),
        ("step=2 group=99 answer=1", {"step": 2}),
        ("step=2", {"step": 2}),
        ("", None),
    ):
        assert place_of(view, Finding("cut", "e", "s", 2, f"menon show {view.path} {words}")) == shown


def test_the_forecast_finds_the_laws_that_the_numbers_follow(seeded):
    found = asked(seeded, "/api/run/fast-1/forecast")
    top, middle = found["sigmoid"]["asymptote"], found["sigmoid"]["middle"]
    assert (top["low"], top["value"], top["high"]) == pytest.approx((0.8, 0.8, 0.8), abs=0.05)
    assert middle == pytest.approx(10, rel=0.2)
    assert (found["entropy"]["a"], found["entropy"]["b"]) == pytest.approx((0.1, 0.9), rel=0.05)
    assert found["points"]["scores"] == column(seeded / "fast-1", "acc/mean")
    assert found["points"]["entropies"] == column(seeded / "fast-1", "entropy/mean")
    assert [one["points"] for one in found["past"]] == [14, 20]


# One run


def test_the_head_of_a_run(folder):
    found = asked(folder, "/api/run/one")
    assert (found["state"], found["step"], found["seed"], found["recipe"]) == ("finished", 2, 1, "grpo")
    held = stored(folder / "one", "evaluations.jsonl")
    assert found["before"]["accuracy"] == held[0]["accuracy"]
    assert found["after"]["accuracy"] == held[-1]["accuracy"]
    assert found["training"] == ["accuracy", column(folder / "one", "acc/mean")[-1]]
    assert found["answers"] == {"training": "1 to 2", "evaluations": "0, 2"}
    kinds = [event["kind"] for event in stored(folder / "one", "events.jsonl")]
    assert sum(found["quiet"].values()) + len(found["events"]) == len(kinds)


def test_settings_that_differ(seeded):
    found = asked(seeded, "/api/run/fast-1/settings?with=slow-2")
    assert {row["path"]: row["values"] for row in found["differ"]} == {
        "models.policy.optimiser.learning_rate": ["0.001", "0.0001"]
    }
    assert asked(seeded, "/api/run/fast-1/settings?with=fast-2")["differ"] == []
    changed = {
        row["path"]: (row["value"], row["recipe"]) for row in found["rows"] if row["recipe"] is not None
    }
    assert changed["source.prompts_per_step"] == ("4", "32")
    assert "source.temperature" not in changed


def test_a_run_of_format_1(tmp_path):
    shutil.copytree(FORMAT_1, tmp_path / "runs" / "old", symlinks=True)
    found = asked(tmp_path / "runs", "/api/run/old")
    assert found["format"] == 1 < FORMAT
    assert any("format 1" in sentence for sentence in found["missing"])
    line = one_line(asked(tmp_path / "runs", "/api/curves?runs=old&chart=accuracy"), "acc/mean")
    assert line["y"] == column(FORMAT_1, "acc/mean")
    assert asked(tmp_path / "runs", "/api/run/old/settings")["rows"]


def test_a_run_on_given_text(copy):
    lines = [{"step": step, "nll": 3 / step, "tokens/trained": 10.0} for step in (1, 2, 3)]
    held = [{"step": step, "nll": 4 / (step + 1), "n": 8.0} for step in (0, 3)]
    for name, those in (("metrics.jsonl", lines), ("evaluations.jsonl", held)):
        write(copy / "run" / name, those)
    shutil.rmtree(copy / "run" / "transcripts")
    found = asked(copy, "/api/curves?runs=run&chart=nll")
    assert [line["y"] for line in found["lines"]] == [[3, 1.5, 1], [4, 1]]
    shown = {
        chart["key"] for group in asked(copy, "/api/charts?runs=run")["groups"] for chart in group["charts"]
    }
    assert "nll" in shown
    assert "accuracy" not in shown
    assert asked(copy, "/api/run/run")["after"]["nll"] == 1
    assert "so there is no forecast" in asked(copy, "/api/run/run/forecast")["missing"]


def test_a_run_that_has_only_begun(copy):
    for name in ("metrics.jsonl", "evaluations.jsonl", "report.json"):
        (copy / "run" / name).unlink()
    found = asked(copy, "/api/run/run")
    assert (found["step"], found["state"]) == (0, "stopped")
    assert found["missing"] == ["no step is finished yet"]
    assert asked(copy, "/api/charts?runs=run")["groups"] == []
    assert asked(copy, "/api/run/run/findings")["findings"] == []


def test_a_line_that_cannot_be_read_is_said(copy):
    file = copy / "run" / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:3], "\0\0\n", *lines[3:]]))
    assert asked(copy, "/api/follow?runs=run")["run"]["damaged"] == ["metrics.jsonl"]
    assert len(one_line(asked(copy, "/api/curves?runs=run&chart=gradient"), "grad_norm")["y"]) == 3
    assert asked(copy, "/api/run/run")["step"] == 3


def test_numbers_that_are_not_finite_are_gaps(copy):
    file = copy / "run" / "metrics.jsonl"
    file.write_text(
        '{"step": 1, "grad_norm": NaN}\n{"step": 2, "grad_norm": 1e400}\n{"step": 3, "grad_norm": 1}\n'
    )
    assert one_line(asked(copy, "/api/curves?runs=run&chart=gradient"), "grad_norm")["y"] == [None, None, 1]


# The listing


def test_the_listing_says_what_is_damaged_and_shows_the_rest(seeded, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(seeded, runs)
    (runs / "fast-2" / "run.json").write_text('{"format": 2, "sett')
    about = json.loads((runs / "slow-2" / "run.json").read_text())
    (runs / "slow-2" / "run.json").write_text(json.dumps(about | {"format": FORMAT + 1}))
    (runs / "empty").mkdir()
    (runs / "a file").write_text("x")
    found = {run["name"]: run for run in asked(runs, "/api/runs")}
    assert sorted(found) == ["fast-1", "fast-2", "slow-1", "slow-2"]
    assert {name: run["state"] for name, run in found.items()} == {
        "fast-1": "finished", "fast-2": "damaged", "slow-1": "finished", "slow-2": "newer"
    }  # fmt: skip
    assert "run.json is damaged" in found["fast-2"]["error"]
    assert (
        found["fast-1"]["after"]["accuracy"] == stored(runs / "fast-1", "evaluations.jsonl")[-1]["accuracy"]
    )
    differ = asked(runs, "/api/runs/differences")
    assert {name: float(one["learning_rate"]) for name, one in differ.items()} == {
        "fast-1": 1e-3, "slow-1": 1e-4
    }  # fmt: skip


def test_an_empty_folder_has_no_runs(tmp_path):
    assert asked(tmp_path, "/api/runs") == []
    assert asked(tmp_path, "/api/runs/differences") == {}


def test_a_line_of_the_listing_follows_its_files(copy):
    page = client(copy)
    assert page.get("/api/runs").json()[0]["step"] == 40
    with open(copy / "run" / "metrics.jsonl", "a") as out:
        out.write(json.dumps(stored(copy / "run")[-1] | {"step": 41}) + "\n")
    assert page.get("/api/runs").json()[0]["step"] == 41


# Notes


def test_notes_are_kept_in_the_run_folder(copy):
    page = client(copy)
    text = "<b>first</b> \u202e note "
    assert [note["text"] for note in page.post("/api/notes", json={"run": "run", "text": text}).json()] == [
        text.strip()
    ]
    page.post("/api/notes", json={"run": "run", "text": "second"})
    assert column(copy / "run", "text", "notes.jsonl") == [text.strip(), "second"]
    assert [note["text"] for note in asked(copy, "/api/run/run")["notes"]] == [text.strip(), "second"]
    assert all(math.isfinite(note["time"]) for note in stored(copy / "run", "notes.jsonl"))


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (
            json.dumps({"run": "run", "text": "x" * 4001}),
            400,
            "at most 4000 characters and this one has 4001",
        ),
        (json.dumps({"run": "run", "text": "x" * 40_000}), 400, "at most 4000 characters"),
        (json.dumps({"run": "run", "text": "  "}), 400, "needs some text"),
        (json.dumps({"run": "gone", "text": "x"}), 404, "gone"),
        (json.dumps({"run": "../run", "text": "x"}), 404, "run"),
        ("[" * 20_000, 400, "sent as JSON"),
        ("no json", 400, "sent as JSON"),
    ],
)
def test_a_note_that_cannot_be_kept_has_a_sentence(copy, body, status, said):
    answer = client(copy).post("/api/notes", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert not (copy / "run" / "notes.jsonl").exists()


def test_a_form_of_another_page_leaves_no_note(copy):
    answer = client(copy).post("/api/notes", data={"run": "run", "text": "x"})
    assert answer.status_code == 400
    assert not (copy / "run" / "notes.jsonl").exists()


def test_a_disk_that_cannot_be_written_is_said(copy, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(disk, "append", refuse)
    answer = client(copy).post("/api/notes", json={"run": "run", "text": "x"})
    assert answer.status_code == 400
    assert "notes.jsonl (" in answer.json()["error"]
    assert "make the folder writable" in answer.json()["error"]
    assert len(asked(copy, "/api/runs")) == 1
