"""Recorded inputs and outputs of other libraries' own code (docs/laws.md, law 8)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from menon.batch import Batch
from rows import batch_of


def decode(value: Any) -> Any:
    """Arrays become numpy arrays; NaN and infinities are strings in the file."""
    if isinstance(value, dict) and value.keys() == {"dtype", "shape", "data"}:
        kind = "float32" if value["dtype"] == "bfloat16" else value["dtype"]
        return np.array(_numbers(value["data"]), dtype=kind).reshape(value["shape"])
    if isinstance(value, dict):
        return {key: decode(each) for key, each in value.items()}
    return [decode(each) for each in value] if isinstance(value, list) else value


def _numbers(data: Any) -> Any:
    if isinstance(data, list):
        return [_numbers(each) for each in data]
    return float(data) if isinstance(data, str) else data


class Noted(Mapping[str, Any]):
    """Values by name, which notes the names that were read. `in` does not read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {
            name: Noted(value) if isinstance(value, dict) else value for name, value in values.items()
        }
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        self._read.add(name)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def changed(self, name: str, value: Any) -> "Noted":
        """With another value under a name; what is read there counts as read here."""
        other = Noted({})
        other._values, other._read = self._values | {name: value}, self._read
        return other

    def unread(self) -> set[str]:
        """Names that nothing has read; those within a value after a point."""
        found = self._values.keys() - self._read
        for name, value in self._values.items():
            if name in self._read and isinstance(value, Noted):
                found |= {f"{name}.{inner}" for inner in value.unread()}
        return found


@dataclass(frozen=True)
class Difference:
    """How far one output, or one gradient, is from the peer's."""

    name: str
    size: float
    """Largest absolute difference."""
    close: bool
    """Within the record's tolerance everywhere."""
    largest: float = 0.0
    """Largest finite absolute number of the peer's."""


@dataclass(frozen=True)
class Record:
    """One run of a peer's function."""

    id: str
    function: str
    variant: str
    precision: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    gradient: Mapping[str, Any]
    compare: Mapping[str, str]
    tolerance: Mapping[str, Any]
    found: list[Difference] = field(default_factory=list)
    """What an adapter has compared."""
    facts: set[str] = field(default_factory=set)
    """What an adapter has seen in the numbers and a departure asks for."""

    def __post_init__(self) -> None:
        for name in ("settings", "inputs"):
            given = getattr(self, name)
            object.__setattr__(self, name, given if isinstance(given, Noted) else Noted(given))

    def unread(self) -> set[str]:
        """Settings and inputs that no adapter has read so far."""
        assert isinstance(self.settings, Noted)
        assert isinstance(self.inputs, Noted)
        return self.settings.unread() | self.inputs.unread()

    def masked(self, mask: np.ndarray) -> "Record":
        """The record with fewer trained tokens; comparisons and reads are this one's."""
        assert isinstance(self.inputs, Noted)
        return replace(self, inputs=self.inputs.changed("response_mask", mask))

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def mask(self) -> np.ndarray:
        """[S, T]; a record without tokens has one per row (its first array names the rows)."""
        if "response_mask" in self.inputs:
            return self.inputs["response_mask"]
        return np.ones((len(next(iter(self.inputs.values()))), 1))

    @property
    def width(self) -> int:
        return self.mask.shape[1]

    @property
    def filled(self) -> np.ndarray:
        """[S] rows that hold a trained token."""
        return self.mask.any(1)

    @property
    def share_of_filled_rows(self) -> float:
        """Factor from a mean over rows with tokens to the mean over all rows that some peers take."""
        return float(self.filled.mean())

    def batch(self, **columns: Any) -> Batch:
        """The record's rows as a batch; columns name inputs or hold arrays. Untrained tokens become NaN,
        whatever they were."""
        given = {
            name: self.inputs[value] if isinstance(value, str) else value for name, value in columns.items()
        }
        if "group_index" in self.inputs:
            given.setdefault("group", self.inputs["group_index"])
        lengths = (
            self.inputs["row_lengths"].tolist()
            if "row_lengths" in self.inputs
            else [self.width] * len(self.mask)
        )
        return batch_of(self.mask, lengths=lengths, dtype=self.dtype, **given)

    def check(self, name: str, actual: Tensor | np.ndarray | float) -> None:
        """Compares an output, where the record says that it means something."""
        self._note(name, self.outputs[name], actual, self.compare.get(name, "all"))

    def check_part(self, name: str, expected: Any, actual: Any) -> None:
        """The same of numbers that an adapter takes out of a nested output."""
        self._note(name, expected, actual, "all")

    def check_gradient(self, name: str, actual: Tensor) -> None:
        self._note(name, self.gradient[name], actual, "all", label=f"gradient of {name}")

    def _note(self, name: str, expected: Any, actual: Any, where: str, label: str = "") -> None:
        bound = self.tolerance.get(name, self.tolerance)
        want, got = np.asarray(expected, dtype=np.float64), np.asarray(actual, dtype=np.float64)
        if want.shape != got.shape:
            raise ValueError(f"{self.id}: {name} has the shape {got.shape}, the record's is {want.shape}")
        if where == "response_mask":
            want, got = np.where(self.mask, want, 0), np.where(self.mask, got, 0)
        size = np.where(np.isnan(want) & np.isnan(got) | (want == got), 0, np.abs(want - got))
        size = np.where(np.isnan(size), np.inf, size)
        close = np.isclose(got, want, rtol=bound["rtol"], atol=bound["atol"], equal_nan=True)
        largest = float(np.abs(want[np.isfinite(want)]).max(initial=0))
        self.found.append(Difference(label or name, float(size.max(initial=0)), bool(close.all()), largest))


PARTS = ("settings", "inputs", "outputs", "gradient", "compare", "tolerance")


def load(folder: Path) -> list[Record]:
    """Every record of a folder, in the order of its files."""
    found = []
    for path in sorted(folder.glob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        if file.get("format") != "golden-1":
            raise ValueError(f"{path} is not a file of golden vectors: its format is {file.get('format')!r}")
        for case in file["cases"]:
            parts = {name: decode(case.get(name) or {}) for name in PARTS}
            found.append(Record(case["id"], case["function"], case["variant"], case["precision"], **parts))
    return found
