"""verl: `trainer.rollout_data_dir`, one `STEP.jsonl` for each step (`RayPPOTrainer._write_generations`)."""

from pathlib import Path

from menon.workbench.peers.peer import (
    Answer,
    Peer,
    first_line,
    grouped,
    lines_in,
    number_of,
    numbered,
    numbers_in,
)

KNOWN = {"input", "output", "gts", "score", "step"}
MISSING = ("tokens and everything about them", "why an answer ended", "metrics (they are with verl's logger)")


def named(folder: Path) -> str | None:
    begun = next((line for file in files_in(folder).values() if (line := first_line(file))), {})
    return "verl" if {"input", "output", "score"} <= begun.keys() else None


def files_in(folder: Path) -> dict[int, Path]:
    return numbered(
        list(folder.glob("*.jsonl")), lambda file: int(file.stem) if file.stem.isdecimal() else None
    )


def read(folder: Path) -> Peer | None:
    if named(folder) is None:
        return None
    files = files_in(folder)
    faults: list[str] = []

    def answers(step: int) -> list[Answer]:
        rows = list(lines_in(files[step], faults))
        places = grouped([str(row.get("input")) for row in rows])
        return [
            Answer(
                prompt=str(row.get("input", "")),
                completion=str(row.get("output", "")),
                group=group,
                sample=sample,
                score=number_of(row.get("score")),
                gold=None if row.get("gts") is None else str(row["gts"]),
                parts=numbers_in({name: value for name, value in row.items() if name not in KNOWN}),
            )
            for row, (group, sample) in zip(rows, places, strict=True)
        ]

    return Peer("verl", MISSING, list(files), answers, faults=faults)
