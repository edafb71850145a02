"""State as JSON and tensors: what a checkpoint holds instead of a pickle."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def encode(value: Any, tensors: dict[str, Tensor], name: str = "state") -> Any:
    """Strict JSON for numbers, strings, None, lists, tuples and dicts; tensors and arrays go to `tensors`
    under their path. CPU tensors are not copied: write them before they change.  Values that JSON does not
    have become a dictionary with one `$` key. TypeError names the path of any other value.

    >>> encode({"count": 3, "shape": (2, 1)}, {})
    {'count': 3, 'shape': {'$tuple': [2, 1]}}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, Tensor):
        return {"$tensor": _keep(value.detach().cpu().contiguous(), tensors, name)}
    if isinstance(value, np.ndarray | np.generic):
        kind = "$array" if isinstance(value, np.ndarray) else "$scalar"
        return {kind: _keep(torch.from_numpy(np.array(value)), tensors, name)}
    if isinstance(value, list):
        return [encode(item, tensors, f"{name}.{i}") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"$tuple": encode(list(value), tensors, name)}
    if isinstance(value, Mapping):
        items = {key: encode(item, tensors, f"{name}.{key}") for key, item in value.items()}
        if all(isinstance(key, str) and not key.startswith("$") for key in items):
            return items
        return {
            "$pairs": [
                [encode(key, tensors, f"{name}.key{i}"), item] for i, (key, item) in enumerate(items.items())
            ]
        }
    raise TypeError(
        f"{name} is a {type(value).__name__}; state holds numbers, strings, tensors, lists, tuples and "
        "dicts of them"
    )


def _keep(tensor: Tensor, tensors: dict[str, Tensor], name: str) -> str:
    """Stores a tensor under a unique name, because the paths of {"a.b": x} and {"a": {"b": y}} are spelt the
    same."""
    while name in tensors:
        name += "+"
    tensors[name] = tensor
    return name


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `encode`, bit for bit."""
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, item),) = value.items()
        match kind:
            case "$float":
                return float(item)
            case "$tensor":
                return tensors[item]
            case "$array":
                return tensors[item].numpy()
            case "$scalar":
                return tensors[item].numpy()[()]
            case "$tuple":
                return tuple(decode(item, tensors))
            case "$pairs":
                return {decode(key, tensors): decode(entry, tensors) for key, entry in item}
    return {key: decode(item, tensors) for key, item in value.items()}
