"""Formats of the run folder: the present one, and how the settings of an earlier one read today."""

from collections.abc import Mapping
from typing import Any

FORMAT = 2
"""What `run.json` says under `format`. Folders of format 1 have no such number; they keep their sessions in
`sittings.json` and have neither events nor the text of each token."""


def settings_of_format_1(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a format 1 run.json under the names that this version reads. All of them are still
    valid as they are."""
    return dict(settings)
