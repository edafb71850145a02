"""The page of a pipeline: its stages in one table, with links to the pages of its runs."""

from menon.pipeline.folder import PipelineView, table_of
from menon.record import disk
from menon.record.layout import Layout
from menon.report.page import document
from menon.report.sections import safe


def write_page(view: PipelineView) -> None:
    """Writes report.html into the folder of the pipeline; stages that are still to come are named."""
    links, waiting = [], []
    for stage in view.about["stages"]:
        folder = view.path / stage["folder"]
        if stage["name"] not in view.reports:
            waiting.append(f"{stage['name']} ({stage['state']})")
        file = "report.html" if Layout(folder).page.exists() else "rows.jsonl"
        if (folder / file).exists():
            links.append(f'<li><a href="{safe(stage["folder"])}/{file}">{safe(stage["name"])}</a></li>')
    name = view.path.resolve().name
    body = [
        f"<h1>{safe(name)}</h1>",
        f"<p>{safe(view.about['recipe'])}, a pipeline of {len(view.about['stages'])} stages."
        + (f" Not finished: {safe(', '.join(waiting))}." if waiting else "")
        + "</p>",
        table_of(view.report, in_words=True).html(),
        "<h2>Stages</h2>",
        f"<ul>{''.join(links)}</ul>",
    ]
    disk.write(Layout(view.path).page, document(name, "\n".join(body)).encode("utf-8", "replace"))
