"""docs/run_folder.md names everything that a run folder holds."""

import re
from pathlib import Path

from menon.batch import columns_per
from menon.loop import loop
from menon.record.events import KINDS
from menon.record.layout import Layout
from menon.record.reader import FORMAT, RunView
from menon.record.transcripts import TOKEN_COLUMN
from menon.record.updates import KEY, TOKENS
from tiny_run import Watching, opened, tiny_run

PAGE = (Path(__file__).parents[2] / "docs" / "run_folder.md").read_text(encoding="utf-8")
NAMED = {name for names in re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE) for name in names.split(", ")}
"""First cells of its tables."""


def test_every_event_and_column_is_named(tmp_path):
    with opened(tmp_path) as folder:
        loop(tiny_run(steps=1), folder, Watching())
    columns = set(RunView(tmp_path).transcripts.columns(1))
    columns |= {TOKEN_COLUMN.get(name, name) for name in columns_per("token")}
    columns |= {"alternatives", "alternatives_logp"}
    said = set(re.findall(r"`(\w+)`", PAGE))
    assert {f"`{kind}`" for kind in KINDS} <= NAMED
    assert columns | {*KEY, *TOKENS, "sequence"} <= said


def test_every_file_is_named(tmp_path):
    layout = Layout(Path())
    found = [getattr(layout, name) for name, value in vars(Layout).items() if isinstance(value, property)]
    for file in (path for path in found if isinstance(path, Path)):
        assert f"`{file}" in PAGE, file
    assert f'`"format": {FORMAT}`' in PAGE
