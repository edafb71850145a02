"""The documentation is true to the code: kinds are on pages, links lead somewhere, commands are understood.

The site builds without a broken link or anchor, holds every page, and every page has the formatter's layout.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import pytest
import yaml

from menon.cli.command import asked_by
from menon.cli.pages import metrics_page, settings_page
from menon.config import CreditPart, RunConfig, changed
from menon.correction import CorrectionPart
from menon.loss import LossPart
from menon.loss.aggregation import AggregationPart
from menon.pipeline.plan import planned
from menon.recipes import PIPELINES, recipe
from menon.select import SelectPart

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "algorithms").glob("*.md"))
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
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
    asked = asked_by(shlex.split(line)[2:])
    assert asked.recipe is not None, f"{page}: {line}"
    if asked.recipe in PIPELINES:
        assert planned(asked.recipe, asked.changes).stages
        return
    assert isinstance(changed(recipe(asked.recipe), *asked.changes), RunConfig)


def test_every_page_has_a_command_and_is_in_the_index():
    index = (ROOT / "docs" / "algorithms" / "README.md").read_text(encoding="utf-8")
    with_command = {page for page, _ in commands()}
    for page in PAGES:
        if page.stem != "README":
            assert f"({page.name})" in index
            assert page.stem in with_command


def test_pages_are_short():
    """In words, because the width of the lines is the formatter's choice."""
    for page in PAGES:
        assert page.stem == "README" or len(page.read_text(encoding="utf-8").split()) <= 600, page.name


@pytest.mark.parametrize(("name", "page"), [("settings", settings_page), ("metrics", metrics_page)])
def test_pages_of_the_reference_are_those_of_the_source(name, page):
    """`python scripts/reference_pages.py` writes them; the width of the lines is the formatter's."""
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8").split() == page().split()


def test_metrics_of_the_pages_exist():
    """Named in the code as a whole, or made there from a table of names (`cov/top02`) or of terms
    (`coefficient/kl`)."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "menon").rglob("*.py"))
    made = ("cov/top", "coefficient/", "loss/")
    for page in PAGES:
        for name in re.findall(r"`([a-z_]+/[a-z_0-9]+)`", page.read_text(encoding="utf-8")):
            assert f'"{name}"' in source or name.startswith(made), f"{page.name}: {name}"


def build_site(repository: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Builds the site of the pages in `repository` into `folder`/site."""
    command = [sys.executable, str(repository / "scripts" / "build_docs.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_site_builds(tmp_path):
    pytest.importorskip("zensical")
    done = build_site(ROOT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in TEXTS:
        place = page.relative_to(ROOT)
        place = place.parent if place.stem == "README" else place.with_suffix("")
        assert (tmp_path / "site" / place / "index.html").exists(), place


def test_the_site_refuses_broken_links(tmp_path):
    """A small site, then with four broken links: to a page, an anchor, a picture, a file outside the site."""
    pytest.importorskip("zensical")
    top = ("README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "CHANGELOG.md")
    for name in (*top, "docs/a.md", "benchmarks/results/b.md"):
        page = tmp_path / "repository" / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("# A page\n" + "\n[up](../README.md#a-page)\n" * (name == "docs/a.md"))
    (tmp_path / "repository" / "mkdocs.yml").write_text("site_name: Small\ndocs_dir: pages\nsite_dir: site\n")
    (tmp_path / "repository" / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "build_docs.py", tmp_path / "repository" / "scripts")
    assert build_site(tmp_path / "repository", tmp_path).returncode == 0
    links = ["gone.md", "../README.md#gone", "gone.svg", "../scripts/build_docs.py"]
    with (tmp_path / "repository" / "docs" / "a.md").open("a", encoding="utf-8") as page:
        page.write("".join(f"\n[broken]({link})\n" for link in links))
    done = build_site(tmp_path / "repository", tmp_path)
    assert done.returncode != 0
    named = [line for line in done.stderr.splitlines() if line.startswith("broken link: docs/a/")]
    assert {line.strip("/").rsplit("/", 1)[-1] for line in named} == {
        "gone",
        "#gone",
        "gone.svg",
        "build_docs.py",
    }


def test_every_page_is_in_the_navigation():
    def leaves(entry):
        if isinstance(entry, str):
            return [entry]
        parts = entry.values() if isinstance(entry, dict) else entry
        return [leaf for part in parts for leaf in leaves(part)]

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(leaves(nav)) == sorted(str(page.relative_to(ROOT)) for page in TEXTS)


def test_pages_have_the_layout_of_the_formatter():
    """One width and one way to write tables; `mdformat *.md docs benchmarks` makes it."""
    pytest.importorskip("mdformat_gfm")
    command = [sys.executable, "-m", "mdformat", "--check", *map(str, TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
