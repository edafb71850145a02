"""Recorded inputs and outputs of other libraries' own code (docs/laws.md, law 8)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Difference:
    """How far one output, or one gradient, is from the peer's."""

    name: str
    size: float
    """Largest absolute difference."""
    close: bool
    """Within the record's tolerance everywhere."""


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
        self.found.append(Difference(label or name, float(size.max(initial=0)), bool(close.all())))


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
