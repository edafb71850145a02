"""The cases of a file of JSON lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from menon.errors import UserError


def json_lines(path: Path | str, data: bytes) -> Iterator[tuple[int, Any]]:
    """The number of each line of the file's contents that is not blank, and its value. UserError for a line
    that is no JSON."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON ({error})") from None
