"""The page: one HTML file that includes its style, charts and script; it loads nothing from the network."""

from pathlib import Path

from menon.record import disk
from menon.report import sections
from menon.report.asynchronous import written_beside
from menon.report.charts import STYLE
from menon.report.content import Content

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page's security policy: the browser allows it no network access."""
PARTS = (
    sections.head,
    sections.numbers,
    sections.charts,
    sections.answers,
    sections.distance,
    written_beside,
    sections.time,
    sections.settings,
)


def page(content: Content) -> str:
    """The page of one run."""
    return document(content.name, "\n".join(piece for part in PARTS for piece in part(content)))


def document(title: str, body: str) -> str:
    """A whole HTML file around what its page shows."""
    files = [STYLE, HERE / "page.css", HERE / "page.js"]
    charts, style, script = (file.read_text(encoding="utf-8") for file in files)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{sections.safe(title)} · menon</title>
<style>
{charts}{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>
{script}</script>
</body>
</html>
"""


def write(file: Path, content: Content) -> None:
    disk.write(file, page(content).encode("utf-8", "replace"))
