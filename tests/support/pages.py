"""Files that a page of the documentation shows whole."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
YOUR_OWN = ROOT / "docs" / "your_own.md"
FIRST_DAY = ROOT / "docs" / "first_day.md"


def files_of(page: Path) -> dict[str, str]:
    """Name -> text of each block of Python that begins with its file's name, like `# my_loss.py`."""
    text = page.read_text(encoding="utf-8")
    return dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL))
