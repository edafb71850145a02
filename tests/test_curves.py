"""Curves are drawn from run folders: a line per seed, at the right places, of runs that have come to an
end."""

import importlib.util
import json
from pathlib import Path
from xml.etree import ElementTree

from menon.report.charts import picture

PATH = Path(__file__).parents[1] / "scripts" / "curves.py"
SPEC = importlib.util.spec_from_file_location("curves", PATH)
assert SPEC is not None
assert SPEC.loader is not None
curves = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(curves)


def run(folder: Path, name: str, accuracies: list[float], done: bool = True) -> None:
    path = folder / name
    path.mkdir()
    lines = [json.dumps({"step": step + 1, "acc/mean": accuracy}) for step, accuracy in enumerate(accuracies)]
    (path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 9, "acc/me']))
    (path / "evaluations.jsonl").write_text(json.dumps({"step": 0, "accuracy": 0.0}) + "\n")
    if done:
        (path / "report.json").write_text("{}")


def test_a_line_per_seed_of_finished_runs(tmp_path):
    run(tmp_path, "grpo-0", [0.5, 1.0])
    run(tmp_path, "grpo-1", [0.25, 0.75])
    run(tmp_path, "ppo-0", [0.5], done=False)
    run(tmp_path, "notes-0", [0.5])
    found = curves.runs(tmp_path)
    assert found == {
        "grpo": {0: ([(1, 0.5), (2, 1.0)], [(0, 0.0)]), 1: ([(1, 0.25), (2, 0.75)], [(0, 0.0)])},
    }


def test_points_are_where_the_axes_say(tmp_path):
    drawn = ElementTree.fromstring(picture(curves.chart("grpo", {3: ([(1, 0.5), (2, 1.0)], [(0, 0.0)])})))
    name = "{http://www.w3.org/2000/svg}"
    _, line = drawn.findall(f"{name}polyline")  # the first is the legend's
    # Steps 0 to 2 span 392 from 52 on, accuracies 0 to 1 span 190 upwards from 238.
    assert line.attrib["points"] == "248.0,143.0 444.0,48.0"
    _, dot = drawn.findall(f"{name}circle")
    assert (dot.attrib["cx"], dot.attrib["cy"]) == ("52.0", "238.0")
    texts = [text.text for text in drawn.findall(f"{name}text")]
    assert texts[:3] == ["grpo: accuracy on chain_sum", "seed 3", "seed 3, held out"]


def test_seeds_have_colours_in_turn_and_runs_without_evaluations_are_drawn():
    chart = curves.chart("grpo", {seed: ([(1, 0.5), (2, 0.6)], []) for seed in range(6)})
    assert [line.tone for line in chart.lines if not line.dots] == [1, 2, 3, 5, 4, 1]
    assert "held out" not in picture(chart)
