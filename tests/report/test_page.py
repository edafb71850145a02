"""From a run folder to a page: the numbers that it says are those of the folder, and nothing in it can
act."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from menon.errors import UserError
from menon.loop import loop
from menon.record.reader import RunView
from menon.record.transcripts import read_transcript
from menon.report.answers import chosen, counts, paired
from menon.report.content import gather
from menon.report.curves import curves, times
from menon.report.page import page
from tiny_run import Watching, opened, tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "mine"
    with opened(path) as folder:
        loop(tiny_run(), folder, Watching())
    return path


class Reader(HTMLParser):
    """Open elements must be closed, but for those that need not be."""

    FREE = ("meta", "br", "th", "td", "thead", "p", "line", "circle", "polyline", "polygon")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.FREE:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.FREE:
            assert self.open.pop() == tag


def parsed(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_the_page_says_what_the_folder_holds(run):
    content = gather(RunView.open(run))
    text = page(content)
    lines = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    first, last = lines[0], lines[-1]
    told = [f"<b>{side['accuracy']:.3f}</b> ({side['accuracy_low']:.2f} to " for side in (first, last)]
    assert f"On 2 held-out questions, accuracy at temperature 1 went from {told[0]}" in text
    assert f" to {told[1]}" in text
    assert f", and reward from <b>{first['reward']:.3f}</b>" in text
    assert f'<td>{first["mean_length"]:.1f}<td class="new">{last["mean_length"]:.1f}' in text
    assert content.steps == 4


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({}, "chain_sum"),
        ({"data": "mine.jsonl", "task": None}, "mine.jsonl"),
        ({"task": {"kind": "countdown", "difficulty": 2}}, "countdown"),
        ({"task": None, "environment": {"kind": "guess_number"}}, "environment guess_number"),
    ],
)
def test_the_page_says_what_was_asked(run, settings, source):
    content = gather(RunView.open(run))
    about = {**content.about, "settings": {**settings, "model": "m", "seed": 7}}
    assert f"model m · {source} · seed 7" in page(type(content)(**{**vars(content), "about": about}))


def test_the_lead_compares_with_the_start_at_its_best(run):
    content = gather(RunView.open(run))
    start = {
        **content.evaluations[0],
        "best_accuracy": 0.357,
        "best_temperature": 0.3,
        "maj_at_8": 0.71,
        "probe_n": 1500.0,
    }
    text = page(type(content)(**{**vars(content), "evaluations": [start, *content.evaluations[1:]]}))
    assert (
        "the start reaches 0.357 at its best temperature (0.3) and 0.710 by a vote of eight (on 1,500 of "
        "them)." in text
    )
    start |= {"best_temperature": 1.0, "n": 1500.0}
    text = page(
        type(content)(**{**vars(content), "evaluations": [start, {**content.evaluations[-1], "n": 1500.0}]})
    )
    assert "0.357 at its best temperature (1, eight answers each) and 0.710 by a vote of eight." in text


def test_time_outside_of_steps_has_a_colour_of_its_own(run):
    text = page(gather(RunView.open(run)))
    assert text.count('<i class="t0"') == text.count('<span class="key t0">outside of steps</span>') == 1


def test_the_page_stands_alone(run):
    reader = parsed(page(gather(RunView.open(run))))
    for tag, attrs in reader.seen:
        assert tag not in ("link", "img", "iframe", "object")
        assert not attrs.keys() & {"src", "href", "srcset"}
    assert any("default-src 'none'" in (attrs.get("content") or "") for _, attrs in reader.seen)


def test_what_a_model_writes_cannot_act(run, tmp_path):
    content = gather(RunView.open(run))
    evil = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J"
    pair = content.pairs[0]
    rows = [{**row, "completion": evil, "prompt": evil, "answer": evil} for row in (pair.before, pair.after)]
    pairs = paired(rows[:1], rows[1:])
    marks = {0: [(evil, 1.0), (evil, 0.0)]}
    for before in ({}, marks):
        text = page(
            type(content)(
                **{**vars(content), "pairs": pairs, "before": before, "after": before, "name": evil}
            )
        )
        assert "\x1b" not in text
        assert "<script>alert" not in text
        assert "<img" not in text
        parsed(text)


def test_pairs_are_of_the_same_question(run):
    before, after = (read_transcript(run / "evaluations" / f"step_00000{i}.parquet") for i in (0, 4))
    pairs = gather(RunView.open(run)).pairs
    assert [(p.before["completion"], p.after["completion"]) for p in pairs] == [
        (b["completion"], a["completion"]) for b, a in zip(before, after, strict=True)
    ]
    assert paired(before, after[:1]) == []


def row(acc: float, prompt: str = "q") -> dict:
    return {"prompt": prompt, "acc": acc}


def test_kinds_of_pairs():
    nan = float("nan")
    pairs = paired([row(0), row(0), row(1), row(nan)], [row(1), row(0), row(0), row(1)])
    assert counts(pairs) == {
        ("wrong", "right"): 1,
        ("right", "wrong"): 1,
        ("wrong", "wrong"): 1,
        ("unknown", "right"): 1,
    }
    assert [p.row for p in chosen(pairs)] == [0, 2, 1]


def test_no_more_than_a_few_of_each_kind():
    pairs = paired([row(0)] * 9, [row(1)] * 9)
    assert [p.row for p in chosen(pairs)] == [0, 1, 2, 3]


def test_curves_come_from_the_metrics():
    lines = [
        {
            "step": 1,
            "acc/mean": 0.25,
            "len/correct": 0,
            "len/wrong": 5.0,
            "shows/working": 0.5,
            "kl/seq": 0.1,
            "ratio/max": 1.5,
        },
        {
            "step": 2,
            "acc/mean": None,
            "len/correct": 7.0,
            "len/wrong": 6.0,
            "shows/working": 0.75,
            "kl/seq": 0.2,
            "ratio/max": 2,
        },
    ]
    found = {
        chart.title: {line.name: list(line.points) for line in chart.lines} for chart in curves(lines, [])
    }
    assert found["Accuracy"]["training"] == [(1.0, 0.25)]
    assert found["Length by correctness"]["right"] == [(2.0, 7.0)]
    assert found["Working and reflection"]["show working"] == [(1.0, 0.5), (2.0, 0.75)]
    assert found["KL to the reference"] == {"of a whole answer": [(1.0, 0.1), (2.0, 0.2)]}
    assert "Clip" not in found
    without = {
        chart.title: chart
        for chart in curves([{k: v for k, v in line.items() if k != "kl/seq"} for line in lines], [])
    }
    assert list(without["Largest ratio"].lines[0].points) == [(1.0, 0.5), (2.0, 1.0)]


def test_times_are_sums_over_steps():
    lines = [
        {"step": i, "time/step": 5.0, "time/rollout": 1.0, "time/update": 3.0, "time/other": 1.0}
        for i in (1, 2)
    ]
    assert times(lines) == {"update": 6.0, "other": 2.0, "rollout": 2.0}


def test_seconds_of_the_page_are_those_of_the_run(run):
    text = page(gather(RunView.open(run)))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    update = sum(line["time/update"] for line in lines)
    found = re.search(r">update</span><td>([\d.]+)<", text)
    assert found
    assert float(found[1]) == pytest.approx(update, abs=0.051)


def test_a_run_under_way_has_a_page(tmp_path):
    with opened(tmp_path / "run") as folder:
        loop(tiny_run(evaluate_every=0), folder, Watching(), lambda: len(folder.metrics()) >= 1)
    text = page(gather(RunView.open(tmp_path / "run")))
    parsed(text)
    assert "no two evaluations of the same questions yet" in text
    assert "Not measured" in text


def test_folders_without_a_run(tmp_path):
    with pytest.raises(
        UserError, match=r"holds no run \(it has no run.json\); name the folder that menon train wrote"
    ):
        gather(RunView.open(tmp_path))
    opened(tmp_path / "new").close()
    with pytest.raises(
        UserError, match="has not finished a step yet, so there is nothing to report; wait for one"
    ):
        gather(RunView.open(tmp_path / "new"))


def test_evaluations_keep_their_answers(run):
    rows = read_transcript(run / "evaluations" / "step_000000.parquet")
    line = json.loads((run / "evaluations.jsonl").read_text().splitlines()[0])
    assert line["accuracy"] == np.mean([row["acc"] for row in rows])
    assert line["mean_length"] == np.mean([sum(row["is_action"]) for row in rows])
    entropy = np.concatenate([np.array(row["entropy"])[row["is_action"]] for row in rows])
    assert line["entropy"] == pytest.approx(entropy.mean(), rel=1e-6)
