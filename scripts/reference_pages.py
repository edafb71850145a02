"""Writes docs/settings.md and docs/metrics.md from the source, in the layout of `mdformat`.

python scripts/reference_pages.py
"""

import subprocess
import sys
from pathlib import Path

from menon.cli.pages import metrics_page, settings_page

DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    pages = {DOCS / "settings.md": settings_page(), DOCS / "metrics.md": metrics_page()}
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mdformat", *map(str, pages)]
    return subprocess.run(command, cwd=DOCS.parent, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
