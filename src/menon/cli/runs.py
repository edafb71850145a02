"""`menon runs [FOLDER]`: the runs in a folder, one line each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from menon.cli.words import understand
from menon.errors import UserError
from menon.settings import setting

HEAD = ("run", "recipe", "model", "steps", "state", "before", "after", "minutes")


def runs(words: Sequence[str]) -> int:
    """Lists the runs in a folder, one line each: state, steps, held-out accuracy before and after, minutes.
    Without a folder those in runs/."""
    usage = "runs takes one folder at most: menon runs, or menon runs experiments"
    found = understand(words, no_option=usage)
    if len(found.plain) > 1 or found.overrides:
        raise UserError(usage)
    folder = Path(found.plain[0] if found.plain else "runs")
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; runs are in runs/ unless out= names another place")
    paths = sorted({path.parent for pattern in ("run.json", "*/run.json") for path in folder.glob(pattern)})
    if not paths:
        raise UserError(f"{folder} holds no runs (no folder with a run.json); start one with menon train")
    for line in aligned([HEAD, *map(row_of, paths)]):
        print(line)
    return 0


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Words to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    forms = [f"{{:{'<' if place < 3 else '>'}{width}}}" for place, width in enumerate(widths)]
    return ["  ".join(form.format(cell) for form, cell in zip(forms, row, strict=True)) for row in rows]


def row_of(path: Path) -> tuple[str, ...]:
    """damaged: a folder whose run.json cannot be read."""
    from menon.record import disk

    about = disk.read_json(path / "run.json")
    if not isinstance(about, dict) or not isinstance(about.get("settings"), Mapping):
        return path.name, "-", "-", "-", "damaged", "-", "-", "-"
    settings: Mapping[str, Any] = about["settings"]
    lines = disk.read_lines(path / "metrics.jsonl")
    evaluations = disk.read_lines(path / "evaluations.jsonl")
    done = lines[-1]["step"] if lines else 0
    minutes = sum(float(sitting["wall_s"]) for sitting in disk.read_json(path / "sittings.json") or []) / 60
    later = [line for line in evaluations if line["step"] > 0]
    return (
        path.name,
        str(setting(settings, "recipe") or "-"),
        str(setting(settings, "model") or "-"),
        f"{done}/{setting(settings, 'steps', '?')}",
        state(path),
        accuracy(evaluations[0] if evaluations and evaluations[0]["step"] == 0 else None),
        accuracy(later[-1] if later else None),
        f"{minutes:.1f}",
    )


def state(path: Path) -> str:
    """done, running (somebody holds its lock), or stopped."""
    from menon.record.lock import held

    if (path / "report.json").exists():
        return "done"
    return "running" if held(path / "lock") else "stopped"


def accuracy(line: Mapping[str, Any] | None) -> str:
    value = None if line is None else line.get("accuracy")
    return "-" if value is None else f"{value:.3f}"
