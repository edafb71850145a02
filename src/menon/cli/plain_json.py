"""JSON for programs: the option `--json` of the commands that only read, and the one way to print it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any


def json_alone(words: Sequence[str]) -> tuple[list[str], bool]:
    """The words without `--json`, and whether it was there: then stdout gets JSON and nothing else.

    >>> json_alone(["runs/mine", "--json"])
    (['runs/mine'], True)
    """
    return [word for word in words if word != "--json"], "--json" in words


def print_json(value: Any) -> None:
    """Prints a value as one line of strict JSON."""
    print(json.dumps(plain(value), allow_nan=False), flush=True)


def plain(value: Any) -> Any:
    """A value as JSON knows it: dataclasses are objects, a number that is not finite is null, and what has no
    counterpart is its text.

    >>> plain({"a": (1, float("nan")), 2: None})
    {'a': [1, None], '2': None}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):  # numbers and arrays of numpy
        found = value.tolist()
        if (
            getattr(value, "ndim", 0) == 1 and value.dtype.kind in "biuf"
        ):  # long ones, which need no look at each
            return (
                [one if math.isfinite(one) else None for one in found] if value.dtype.kind == "f" else found
            )
        return plain(found)
    return str(value)
