"""The documentation is true to the code: every kind is on a page, links lead somewhere, commands are
understood."""

import re
import shlex
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import pytest

from menon.cli.command import understand
from menon.config import CreditPart, RunConfig, changed
from menon.correction import CorrectionPart
from menon.loss import LossPart
from menon.loss.aggregation import AggregationPart
from menon.recipes import recipe
from menon.select import SelectPart

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "algorithms").glob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            found += [(page.stem, line) for line in block.splitlines() if line.startswith("menon train")]
    return found


@pytest.mark.parametrize(
    "union", [CreditPart, LossPart, SelectPart, CorrectionPart, AggregationPart], ids=lambda u: str(u)[:30]
)
def test_every_part_is_named_on_a_page(union):
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    words = set(re.findall(r"\w+", text))
    assert {part.kind for part in get_args(union)} - words == set()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    missing = []
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert not missing


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda text: text[:50])
def test_commands_are_understood(page, line):
    asked = understand(shlex.split(line)[2:])
    assert asked.recipe is not None, f"{page}: {line}"
    assert isinstance(changed(recipe(asked.recipe), *asked.changes), RunConfig)


def test_every_page_has_a_command_and_is_in_the_index():
    index = (ROOT / "docs" / "algorithms" / "README.md").read_text(encoding="utf-8")
    with_command = {page for page, _ in commands()}
    for page in PAGES:
        if page.stem != "README":
            assert f"({page.name})" in index
            assert page.stem in with_command


def test_pages_are_short():
    for page in PAGES:
        assert page.stem == "README" or len(page.read_text(encoding="utf-8").splitlines()) <= 50, page.name


def test_metrics_of_the_pages_exist():
    """Named in the code as a whole, or made there from a table of names (`cov/top02`) or of terms
    (`coefficient/kl`)."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "menon").rglob("*.py"))
    made = ("cov/top", "coefficient/", "loss/")
    for page in PAGES:
        for name in re.findall(r"`([a-z_]+/[a-z_0-9]+)`", page.read_text(encoding="utf-8")):
            assert f'"{name}"' in source or name.startswith(made), f"{page.name}: {name}"
