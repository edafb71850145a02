"""The pages fit a screen of 390 pixels: what can be held without a browser. Tables scroll within themselves,
nothing has a width that a phone has not, and text without spaces breaks."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import menon.report
from menon.loop import loop
from menon.record.reader import RunView
from menon.report.content import gather
from menon.report.page import page
from menon.report.several import Arm, Several, Table, body
from tiny_run import Watching, opened, tiny_run

FOLDER = Path(menon.report.__file__).parent
CSS = (FOLDER / "page.css").read_text(encoding="utf-8") + (FOLDER / "charts.css").read_text(encoding="utf-8")
ROOM = 390 - 2 * 14
"""Pixels between the margins of the page."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """The page of a run, and the body of a page of several."""
    path = tmp_path_factory.mktemp("run") / "mine"
    with opened(path) as folder:
        loop(tiny_run(steps=2), folder, Watching())
    view = RunView.open(path)
    table = Table(("arm", "accuracy after"), [("mine", "0.500")])
    arms = (Arm("mine", [(view.metrics, view.evaluations)]),)
    several = Several("mine", arms, (("Arms", table, ""), ("Runs", table, "")))
    return {"run": page(gather(view)), "several": "".join(body(several))}


class Nesting(HTMLParser):
    """The classes around every table, and the styles that stand in the page."""

    FREE = ("meta", "br", "th", "td", "tr", "thead", "p", "line", "circle", "polyline", "polygon")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.around: list[str] = []
        self.tables: list[list[str]] = []
        self.styles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.styles.append(found.get("style") or "")
        if tag == "table":
            self.tables.append(list(self.around))
        if tag not in self.FREE:
            self.around.append(found.get("class") or "")

    def handle_endtag(self, tag):
        if tag not in self.FREE:
            self.around.pop()


def rule(selector: str, css: str = CSS) -> str:
    """The declarations of the first rule with this selector."""
    found = re.search(rf"(?m)^\s*(?:[^{{}}]*,\s*)?{re.escape(selector)} {{([^}}]*)}}", css)
    assert found, selector
    return found[1]


def on_a_phone() -> str:
    """The rules for narrow screens."""
    found = re.search(r"@media \(max-width: 640px\) {\n(.*?)\n}", CSS, re.DOTALL)
    assert found
    return found[1]


def test_every_table_scrolls_within_itself(pages):
    tables = [around for text in pages.values() for around in Nesting(text).tables]
    assert len(tables) == 4
    assert all("wide-table" in around for around in tables)
    assert "overflow-x: auto" in rule(".wide-table")


def test_the_column_after_is_on_the_screen(pages):
    """Bars, the fourth column, are not shown; names and headings may take two lines."""
    assert "<th>before<th>after step&nbsp;2<th class=bars>" in pages["run"]
    assert ".bars { display: none; }" in on_a_phone()
    assert "white-space: normal" in rule(".beside th", on_a_phone())


def test_nothing_is_wider_than_the_screen(pages):
    """Widths in pixels, also of columns of a grid. Only the grid of charts has columns that are too wide with
    a second one beside them, and it has one column on a phone."""
    wide = [
        line.strip()
        for line in CSS.splitlines()
        for pixels in re.findall(r"(?<!max-)(?:width|minmax\(|columns):? ?(\d+)px", line)
        if int(pixels) > ROOM
    ]
    assert wide == []
    assert "minmax(0, 1fr)" in rule(".grid-of", on_a_phone())
    assert "grid-template-columns: 1fr" in rule(".pair", on_a_phone())
    assert "width: 100%" in rule(".chart svg")
    styles = {style for text in pages.values() for style in Nesting(text).styles if "width" in style}
    assert styles
    assert all(re.fullmatch(r"width:\d+(\.\d+)?%", style) for style in styles)


def test_text_without_spaces_breaks(pages):
    """Paths of models, names of arms, settings: `overflow-wrap` is inherited, and only numbers in tables keep
    their line."""
    assert "overflow-wrap: break-word" in rule("body")
    assert "white-space: normal" in rule(".key", on_a_phone())
    unbroken = re.findall(r"(?m)^([^{}\n]+) {[^}]*white-space: (?:nowrap|pre);", CSS)
    assert unbroken == ["th, td", ".key"]
    assert 'content="width=device-width, initial-scale=1"' in pages["run"]


def test_both_schemes_have_every_colour():
    light, dark = (set(re.findall(r"(--\w+):", block)) for block in re.findall(r":root {([^}]*)}", CSS)[-2:])
    assert light == dark
    assert {"--ground", "--card", "--ink", "--quiet", "--rule", "--t0", "--t5"} <= light
