"""The picture in the README is of this version: it shows the lines that a run shows now."""

import html
import re
from pathlib import Path

from menon.report.terminal import summary

PICTURE = Path(__file__).parents[1] / "docs" / "run.svg"


def test_the_picture_has_the_lines_of_a_run():
    drawn = " ".join(re.findall(r"<text[^>]*>([^<]*)", PICTURE.read_text(encoding="utf-8")))
    drawn = " ".join(html.unescape(drawn).split())
    numbers = {"accuracy": 0.0, "best_accuracy": 0.0, "maj_at_8": 0.0, "mean_length": 0.0, "entropy": 0.0}
    lines = summary({"before": numbers, "after": numbers, "steps": 30}, Path("runs/first"))
    labels = [re.split(r"\s{3,}|\s+0\.0", line.strip())[0] for line in lines if line.startswith("  ")]
    assert len(labels) >= 9
    assert [label for label in labels if label not in drawn] == []
    places = [line.split()[-1] for line in lines if line.startswith("  the ")]
    assert [place for place in places if place not in drawn] == []
