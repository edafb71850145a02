"""Sets of runs compared at equal steps, tokens and seconds; when a level was reached; the command."""

import json

import numpy as np
import pytest

from menon.cli import main
from menon.cli.compare import set_names
from menon.errors import UserError
from menon.record.reader import RunView
from menon.study.run_curves import Curve, efficiency_curves, held_out_curve, spent
from menon.study.seeds import Group
from menon.study.set_comparison import chart, compare_sets, paired_places, usual

STEPS = (0, 2, 4, 6, 8)


def run(folder, name, seed, scores, tokens=10, seconds=2.0, at=STEPS, last=8, settings=None):
    """A finished run of 8 steps, with these accuracies at the steps `at`."""
    path = folder / name
    path.mkdir(parents=True)
    control = {"seed": seed, "steps": last, "out": str(path)}
    whole = {"recipe": "grpo", "control": control, **(settings or {})}
    (path / "run.json").write_text(json.dumps({"format": 2, "settings": whole}))
    lines = [
        {"step": n, "tokens/generated": tokens, "time/step": seconds, "acc/mean": n / 10, "reward/mean": 0.1}
        for n in range(1, last + 1)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = [{"step": n, "accuracy": r, "reward": r} for n, r in zip(at, scores, strict=True)]
    (path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found))
    (path / "report.json").write_text("{}")
    return RunView(path)


def ramp(end):
    return [0.1 + (end - 0.1) * n / 4 for n in range(5)]


@pytest.fixture
def sets(tmp_path):
    """a: ends .50 to .54, 10 tokens a step. b: ends .70 to .74, 20 tokens a step."""
    a = [run(tmp_path, f"a-{n}", n, ramp(0.5 + n / 100)) for n in range(5)]
    b = [run(tmp_path, f"b-{n}", n, ramp(0.7 + n / 100), tokens=20) for n in range(5)]
    return [Group("a", tuple(a)), Group("b", tuple(b))]


def test_curves_by_hand(sets):
    one = sets[1].runs[0]
    assert list(spent(one, "tokens").values()) == [20.0 * n for n in range(9)]
    assert spent(one, "seconds")[8] == 16
    curve = held_out_curve(one, "tokens", "accuracy")
    assert (curve.end, curve.at(80), curve.at(100)) == (160, pytest.approx(0.4), pytest.approx(0.475))
    assert (curve.reached(0.4), curve.reached(0.05)) == (pytest.approx(80), 0)
    assert np.isinf(curve.reached(0.71))
    falls = Curve(np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.9, 0.2]))
    assert falls.reached(0.5) == 0.5


def test_at_equal_steps_and_tokens(sets):
    """At 8 steps b is .2 ahead. At 80 tokens, where a ends, b has done 4 steps: .1 + (.7 - .1) / 2 = .4."""
    steps = compare_sets(sets)
    (one,) = steps.comparisons
    assert (steps.measure, steps.at, steps.budget) == ("accuracy", "steps", 8)
    assert one.difference == pytest.approx(0.2)
    assert (one.p, one.p_holm, one.decided) == (pytest.approx(2 / 252), pytest.approx(2 / 252), True)
    assert (one.paired, one.exact, one.improvement, one.seeds_to_decide) == (False, True, 1.0, None)
    tokens = compare_sets(sets, "tokens")
    assert tokens.budget == 80
    assert tokens.sets[1].values == pytest.approx([0.4, 0.405, 0.41, 0.415, 0.42])
    assert tokens.comparisons[0].difference == pytest.approx(-0.11)
    assert compare_sets(sets, "seconds").budget == 16


def test_when_a_level_was_reached(sets):
    """The level is a's mean, .52: three of its runs reach it, b's first after 8 * (.52 - .1) / .6 steps."""
    found = compare_sets(sets)
    assert (found.level, found.level_of) == (pytest.approx(0.52), "held-out questions")
    assert [value is None for value in found.sets[0].reached["steps"]] == [True, True, False, False, False]
    assert found.sets[1].reached["steps"][0] == pytest.approx(5.6)
    assert found.sets[1].reached["tokens"][0] == pytest.approx(112)
    assert usual([None, 3.0, 5.0]) == 5
    assert usual([None, None, 3.0]) is None


def test_few_evaluations_leave_the_level_to_the_training_questions(tmp_path):
    runs = [run(tmp_path, f"r{n}", n, [0.1, 0.5], at=(0, 8)) for n in range(2)]
    name, curves = efficiency_curves(runs, "steps", "accuracy")
    assert name == "training questions, mean of 5 steps"
    # step 6: mean of .2 to .6; step 2: mean of .1 and .2
    assert (curves[0].score[5], curves[0].score[1]) == (pytest.approx(0.4), pytest.approx(0.15))


def test_seeds_pair_from_six_on(tmp_path):
    """With six equal seeds, in another order, the difference of each seed is taken: all are .05."""
    a = [run(tmp_path, f"a-{n}", n, ramp(0.3 + n / 10)) for n in range(6)]
    b = [run(tmp_path, f"b-{n}", n, ramp(0.35 + n / 10)) for n in reversed(range(6))]
    (one,) = compare_sets([Group("a", tuple(a)), Group("b", tuple(b))]).comparisons
    assert (one.paired, one.p, one.decided) == (True, 2 / 64, True)
    assert (one.low, one.high) == (pytest.approx(0.05), pytest.approx(0.05))
    five = compare_sets([Group("a", tuple(a[:5])), Group("b", tuple(b[1:]))])
    assert not five.comparisons[0].paired
    assert not five.comparisons[0].decided  # the spread over seeds hides .05
    assert five.comparisons[0].seeds_to_decide is None or five.comparisons[0].seeds_to_decide > 20
    assert paired_places(five.sets[0], five.sets[1]) == []


def test_more_sets_are_corrected_by_holm(sets, tmp_path):
    c = Group("c", tuple(run(tmp_path, f"c-{n}", n, ramp(0.51 + n / 100)) for n in range(5)))
    b, same = compare_sets([*sets, c]).comparisons
    assert (b.p_holm, same.p_holm) == (pytest.approx(4 / 252), pytest.approx(same.p))
    assert (b.decided, same.decided) == (True, False)
    assert same.seeds_to_decide is not None


def test_what_a_reader_must_know(tmp_path, sets):
    rare = [run(tmp_path, "r-0", 0, [0.1, 0.5], at=(0, 6), last=6)]
    found = compare_sets([sets[0], Group("r", tuple(rare))])
    assert found.budget == 6
    assert any("a set of one run has no spread" in note for note in found.notes)
    assert not found.comparisons[0].decided
    odd = run(tmp_path, "o-0", 0, [0.1, 0.5], at=(0, 5), last=5)
    assert any(
        "5 of the runs were not evaluated at 5 steps" in n
        for n in compare_sets([sets[0], Group("o", (odd,))]).notes
    )
    twice = Group("t", (*sets[1].runs, run(tmp_path, "b-x", 4, ramp(0.7))))
    assert any("runs of t have the same seed" in note for note in compare_sets([sets[0], twice]).notes)
    with pytest.raises(UserError, match="is named twice"):
        compare_sets([sets[0], sets[0]])
    with pytest.raises(UserError, match="name two sets"):
        compare_sets(sets[:1])
    with pytest.raises(UserError, match="was not evaluated after a step yet"):
        compare_sets([sets[0], Group("n", (run(tmp_path, "n", 0, [0.1], at=(0,)),))])


def test_the_figure_has_means_and_intervals(sets):
    drawn = chart(compare_sets(sets, "tokens"), sets)
    assert [line.name for line in drawn.lines] == ["a", "b"]
    assert drawn.lines[0].points[-1] == (80, pytest.approx(0.52))
    x, low, high = drawn.bands[0].points[-1]
    assert (x, (low + high) / 2) == (80, pytest.approx(0.52))
    # five values .01 apart: sd .0158, t(4) = 2.776: half = .01963
    assert high - low == pytest.approx(2 * 0.019632, abs=1e-5)
    assert drawn.lines[1].points[-1][0] == 80  # no further than the shortest


# The command


def test_the_command(sets, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = ",".join(f"a-{n}" for n in range(5)), ",".join(f"b-{n}" for n in range(5))
    assert main(["compare", a, b, "out=c.svg", "json=false"]) == 0
    text = capsys.readouterr().out
    assert "menon compare  accuracy on held-out questions at 8 steps" in text
    assert "b is above a: decided (runs dealt out anew, Welch's statistic, all arrangements)" in text
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    assert main(["compare", a, b, "--json", "at=tokens"]) == 0
    found = json.loads(capsys.readouterr().out)
    whole = json.loads(json.dumps(compare_sets(sets, "tokens").as_json()))
    assert {**found, "sets": 0} == {**whole, "sets": 0}
    assert found["sets"][1]["values"] == whole["sets"][1]["values"]
    assert main(["compare", "a-0,a-1,a-2", "b-0,b-1,b-2", "json=false"]) == 0
    assert (
        "3 against 3 runs can decide nothing, their least p is 0.1; about 4 seeds" in capsys.readouterr().out
    )
    whole = [f"{name}-{n}" for n in range(5) for name in "ab"]
    assert main(["compare", *whole]) == 2
    assert "these runs are one set" in capsys.readouterr().err


def test_runs_without_commas_are_sets_by_their_settings(tmp_path, capsys, monkeypatch):
    other = {"models": {"policy": {"optimiser": {"learning_rate": 1e-4}}}}
    for n in range(2):
        run(tmp_path, f"x{n}", n, ramp(0.5))
        run(tmp_path, f"y{n}", n, ramp(0.6 + n / 50), settings=other)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "x0", "x1", "y0", "y1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(one["runs"]) for one in found["sets"]] == [2, 2]


def test_names_of_sets():
    assert set_names([["runs/grpo_0", "runs/grpo_1"], ["runs/rloo"]]) == ["grpo", "rloo"]
    assert set_names([["x0", "y1"], ["x2", "y3"]]) == ["A", "B"]
    assert set_names([["run-0", "run-1"], ["run-2", "run-3"]]) == ["A", "B"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a-0,a-1", "b-0", "at=epochs"], "at is epochs; it takes steps, tokens or seconds"),
        (["a-0,a-1", "b-0", "out=here"], "out is here; name an .svg file in a folder that exists"),
        (["a-0,none", "b-0"], "none holds no run"),
        (["a-0,a-1", "a-1"], "is named twice; leave one of them out"),
        (["a-0", "k=2"], "compare takes two results"),
        ([], "compare takes two results"),
    ],
)
def test_mistakes(sets, tmp_path, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words]) == 2
    assert sentence in capsys.readouterr().err
