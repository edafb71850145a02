"""Reads recorded inputs and outputs of other libraries' own code (../shared/golden/README.md describes the format)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from menon.batch import Batch
from rows import batch_of

FOLDER = Path(__file__).parents[3] / "shared" / "golden"


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
class Record:
    """One run of a peer's function."""

    id: str
    variant: str
    precision: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    gradient: Mapping[str, Any]
    compare: Mapping[str, str]
    tolerance: Mapping[str, Any]

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
    def share_of_filled_rows(self) -> float:
        """Factor from a mean over rows with tokens to the mean over all rows that some peers take."""
        return float(self.mask.any(1).mean())

    def batch(self, **columns: Any) -> Batch:
        """The record's rows as a batch; columns name inputs or hold arrays. Untrained tokens become NaN, whatever they were."""
        given = {name: self.inputs[value] if isinstance(value, str) else value for name, value in columns.items()}
        if "group_index" in self.inputs:
            given.setdefault("group", self.inputs["group_index"])
        lengths = self.inputs["row_lengths"].tolist() if "row_lengths" in self.inputs else [self.width] * len(self.mask)
        return batch_of(self.mask, lengths=lengths, dtype=self.dtype, **given)

    def check(self, name: str, actual: Tensor | float) -> None:
        """Within the record's own tolerance, where the record says that its output means something."""
        self._close(name, self.outputs[name], actual, self.compare.get(name, "all"))

    def check_gradient(self, name: str, actual: Tensor) -> None:
        self._close(name, self.gradient[name], actual, "all")

    def _close(self, name: str, expected: Any, actual: Tensor | float, where: str) -> None:
        bound = self.tolerance.get(name, self.tolerance)
        expected, got = np.asarray(expected, dtype=np.float64), np.asarray(actual, dtype=np.float64)
        if where == "response_mask":
            expected, got = expected * self.mask, got * self.mask
        np.testing.assert_allclose(got, expected, rtol=bound["rtol"], atol=bound["atol"], err_msg=f"{self.id} {name}")


PARTS = ("settings", "inputs", "outputs", "gradient", "compare", "tolerance")


def records(function: str, **left_out: str) -> list[Any]:
    """Every case of a function, for a test. `left_out` maps a variant, or n and a case number, to why it is skipped."""
    path = FOLDER / f"{function}.json"
    if not path.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/golden beside this checkout"), id=function)]
    found = []
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
        parts = {name: decode(case.get(name) or {}) for name in PARTS}
        record = Record(id=case["id"], variant=case["variant"], precision=case["precision"], **parts)
        variant, number = case["variant"].replace("-", "_").replace(":", "_"), "n" + case["id"].rsplit(".", 1)[1]
        reason = left_out.get(variant) or left_out.get(number)
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        found.append(pytest.param(record, marks=marks, id=f"{case['id']}-{case['variant']}"))
    return found
