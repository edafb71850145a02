"""A model without its weights as bytes, for a process that gets the weights one at a time."""

import io
import pickle
from collections.abc import Hashable
from typing import Any

import torch
from torch import nn


def dumps(model: nn.Module, dtype: torch.dtype | None = None) -> bytes:
    """The pickled module. Its buffers are in it (rotary frequencies, which keep their dtype); of each
    parameter only name, shape and dtype are, the dtype changed to `dtype` where it is a floating one. Tied
    parameters stay tied."""
    file = io.BytesIO()
    _Pickler(file, dtype).dump(model)
    return file.getvalue()


def loads(data: bytes, device: torch.device) -> nn.Module:
    """The module in eval mode, on a device and without gradients. Its parameters hold NaN until they are
    filled in, so that one that was forgotten is noticed."""
    model: nn.Module = _Unpickler(io.BytesIO(data), device).load()
    return model.to(device).eval()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, dtype: torch.dtype | None) -> None:
        super().__init__(file)
        self.dtype = dtype

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, nn.Parameter):
            return None
        changed = self.dtype is not None and value.is_floating_point()
        return id(value), self.dtype if changed else value.dtype, tuple(value.shape)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, device: torch.device) -> None:
        super().__init__(file)
        self.device = device
        self.made: dict[Hashable, nn.Parameter] = {}

    def persistent_load(self, given: Any) -> nn.Parameter:
        key, dtype, shape = given
        if key not in self.made:
            empty = float("nan") if dtype.is_floating_point else 0
            weight = torch.full(shape, empty, dtype=dtype, device=self.device)
            self.made[key] = nn.Parameter(weight, requires_grad=False)
        return self.made[key]
