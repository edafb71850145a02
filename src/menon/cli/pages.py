"""docs/settings.md and docs/metrics.md, made from the source text as help is. `scripts/reference_pages.py`
writes them."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from menon.cli.catalogue import GROUPS, STAGES, Stage, in_group
from menon.cli.help import SETTINGS
from menon.cli.source_text import Setting, settings_of
from menon.docstrings import first_sentence
from menon.metric_names import EVALUATION
from menon.metric_names import GROUPS as METRIC_GROUPS
from menon.other_names import SENTENCES
from menon.other_names import SETTINGS as OTHER_NAMES

MADE = "<!-- Made by scripts/reference_pages.py from the source. Change the sentences there. -->"
SETTINGS_INTRO = """
Every setting, its type, its default and what it does. `menon train --help` shows the same in short,
`menon help NAME` a single one, and `menon explain RECIPE` the values of a recipe, which sets many of them
itself.

Settings are written as `key=value`. The first column is the name to type, and the second is the full
name. A part is chosen by its kind, and the dot goes inside: `reward=numeric reward.relative=0.01`. `null`
takes a setting away. A file of settings (`.yaml`, `.toml`) may use short or full names.
"""
METRICS_INTRO = """
Every number of a line of metrics.jsonl, which has one line per step. `menon help NAME` shows a single
one.

Means, sums and maxima are added up exactly over forward passes and updates: a mean adds totals and
counts. An empty denominator gives 0. Answers whose grader failed are in no mean; counts of tokens and of
failures include them. Lengths count the policy's own tokens. Standard deviations are sample deviations,
and 0 for fewer than two numbers. Quantiles interpolate linearly. A section of numerics is one of
[numerics.md](numerics.md).

A name in capitals stands for any: a term of the objective in `loss/NAME`, a part of a reward in
`reward/parts/NAME`. A run has the metrics of its own parts: those of a clip are there if its loss clips.
"""
TREES = """
With trees, `reward/mean`, `acc/mean`, `len/*`, `trunc_rate` and `stop_rate` are those of whole answers,
weighted so that the children of a node share its weight equally. `len/p50`, `len/p95` and `len/max` are
over leaves alike.
"""


def settings_page() -> str:
    """docs/settings.md."""
    lines = ["# Settings", "", MADE, *prose(SETTINGS_INTRO), "## A run"]
    for group in GROUPS:
        rows = [(code(one.short), code(one.full), *cells(one.setting)) for one in in_group(group)]
        lines += ["", f"### {group.name.capitalize()}", "", f"{group.sentence.capitalize()}.", ""]
        lines += table(("setting", "full name", "type", "default", "meaning"), rows)
    lines += ["", "## Parts", *prose("A part is named by its kind; what follows it are its own settings.")]
    for stage in STAGES:
        lines += ["", f"### Kinds of {stage.name}", *prose(stage_text(stage))]
        lines += table(("kind", "setting", "type", "default", "meaning"), part_rows(stage))
    lines += ["", "## Other commands"]
    for command, places in SETTINGS.items():
        lines += ["", f"### menon {command}", ""]
        own = [
            (code(f"{owner} {one.name}".strip()), *cells(one))
            for owner, module, cls in places
            for one in settings_of(module, cls)
        ]
        lines += table(("setting", "type", "default", "meaning"), own)
    return "\n".join([*lines, "", *other_names(), ""])


def stage_text(stage: Stage) -> str:
    """What a stage is for, how it is set, and its page."""
    page = stage.page.removeprefix("docs/")
    return f"{stage.sentence} Set as `{stage.place}=KIND`. More: [{page}]({page})."


def part_rows(stage: Stage) -> Iterator[tuple[str, ...]]:
    """A row for each kind of part, and below it one for each of its settings."""
    for part in stage.parts:
        yield code(part.kind), "", "", "", escaped(first_sentence(part.text))
        for one in part.settings:
            yield "", code(one.name), *cells(one)


def other_names() -> list[str]:
    """The names of other libraries."""
    intro = """
    Names of TRL, verl, OpenRLHF, slime and others that are answered with ours. A dotted name is looked up
    by its end, so `actor_rollout_ref.rollout.n=8` is understood.
    """
    ours = [(code(name), ", ".join(map(code, names.split()))) for name, names in OTHER_NAMES.items()]
    rest = [
        (escaped(text.format(name="it")), ", ".join(map(code, s.split()))) for text, s in SENTENCES.items()
    ]
    return [
        *("## Names in other libraries", *prose(intro), *table(("here", "elsewhere"), ours), ""),
        *table(("answer", "elsewhere"), rest),
    ]


def metrics_page() -> str:
    """docs/metrics.md."""
    lines = ["# Metrics", "", MADE, *prose(METRICS_INTRO)]
    for name, group in METRIC_GROUPS.items():
        lines += [f"## {name}", "", *metric_table(group), ""]
        if name == "Rollouts":
            lines = [*lines[:-1], *prose(TREES)]
    text = "Numbers of evaluations.jsonl, and of `before` and `after` in report.json: of held-out questions."
    return "\n".join([*lines, "## Evaluations", *prose(text), *metric_table(EVALUATION), ""])


def metric_table(group: dict[str, tuple[str, str]]) -> Iterator[str]:
    """The metrics of a group."""
    rows = [(code(name), escaped(unit), escaped(meaning)) for name, (unit, meaning) in group.items()]
    return table(("name", "unit", "meaning"), rows)


# Markdown


def cells(one: Setting) -> tuple[str, str, str]:
    """Type, default and meaning."""
    kind = ", ".join(one.choices) if one.short_type == "choice" else TYPES.get(one.short_type, one.short_type)
    return escaped(kind), code(one.default), escaped(one.sentence)


TYPES = {"whole": "whole number", "yes/no": "true or false"}


def code(text: str) -> str:
    """Text as code; "" stays empty."""
    return f"`{text}`" if text else ""


ODD = re.compile(r"[\\\[\]]|<(?! )|(?<! )\*|\*(?! )|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What Markdown would read as its own, as the formatter escapes it."""


def escaped(text: str) -> str:
    """Text in which nothing but what is in backquotes is read as Markdown, for a cell of a table."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    plain = [piece if piece[:1] == "`" else ODD.sub(r"\\\g<0>", piece) for piece in pieces]
    return "".join(plain).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table."""
    for row in (head, ["--"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"


def prose(text: str) -> list[str]:
    """Paragraphs between empty lines, at the width of the pages."""
    parts = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    return ["", *[line for part in parts for line in (*textwrap.wrap(part, 110, break_on_hyphens=False), "")]]
