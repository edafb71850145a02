"""Builds the documentation site into build/site, and fails if a link, an anchor or a picture is missing.

    python scripts/build_docs.py [FOLDER]  # FOLDER/site, by default build/site
    python -m http.server -d build/site    # to read it

Pages link to each other by their places in the repository, also across folders (docs/, benchmarks/results/,
README.md), so that they can be read on a code host. A site generator reads one folder. So this script copies
the pages into FOLDER/pages, each to the same place: a link means the same in both. The navigation is in
`mkdocs.yml`.
"""

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
PAGES = (
    *("README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "CHANGELOG.md"),
    *("docs", "benchmarks/results"),
)
"""What the site holds: files and whole folders."""


class Links(HTMLParser):
    """Collects what one page of the site links to and which anchors it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.targets.append(value)


def collect(folder: Path) -> None:
    """Copies the pages and the configuration into an emptied `folder`/pages and `folder`/mkdocs.yml."""
    shutil.rmtree(folder / "pages", ignore_errors=True)
    for name in PAGES:
        source, target = ROOT / name, folder / "pages" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    shutil.copy(ROOT / "mkdocs.yml", folder)


def broken(site: Path) -> list[str]:
    """Links of the built site that lead nowhere, as `page: link`; links to other servers are not followed.

    The generator's own check passes over pictures and other files that are no pages.
    """
    pages = {page.resolve(): Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    missing = []
    for page, links in pages.items():
        for link in links.targets:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            anchored = target not in pages or parts.fragment in {"", *pages[target].anchors}
            if not target.exists() or not anchored:
                missing.append(f"{page.relative_to(site.resolve())}: {link}")
    return missing


def build(folder: Path) -> int:
    """Builds `folder`/site; not 0 if the generator complains or a link of the built site leads nowhere."""
    collect(folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", "mkdocs.yml"]
    done = subprocess.run(command, cwd=folder, check=False)
    missing = broken(folder / "site")
    for line in missing:
        print(f"broken link: {line}", file=sys.stderr)
    return done.returncode or int(bool(missing))


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build"))
