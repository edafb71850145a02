"""Decoding of any causal LM of `transformers` through its own forward."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from menon.engines.decoding.slot_cache import SlotCache, Start, starts


class ModelSlots:
    """Keys and values of up to `slots` sequences, and the steps that lengthen them. Rows 0..n-1 are live."""

    def __init__(self, model: PreTrainedModel, slots: int) -> None:
        self.model = model
        self.modules = list(model.modules())
        self.device = model.device
        self.cache = SlotCache(slots)
        takes = inspect.signature(model.forward).parameters
        self.last_only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def refresh(self) -> None:
        """Nothing to do: the model's own tensors are read."""

    def expect(self, length: int) -> None:
        """Nothing to do: the cache grows with what is written."""

    @torch.no_grad()
    def prefill(self, ids: Tensor, lengths: list[int]) -> list[Start]:
        """Starts of whole sequences, padded on the right where causal attention never looks."""
        cache = DynamicCache()
        with evaluating(self.modules):
            self.model(input_ids=ids, past_key_values=cache, use_cache=True, **self.last_only)
        return starts(cache, lengths)

    def extend(self, starts: list[Start], ids: Tensor, lengths: list[int]) -> list[Start]:
        raise NotImplementedError("no start is kept, so none can be extended")

    def start(self, row: int, length: int) -> None:
        """None: the caches of `transformers` have many forms, and none is kept."""

    def copy(self, start: Start) -> Start:
        """A copy of a start."""
        return [(keys.clone(), values.clone()) for keys, values in start]

    @torch.no_grad()
    def fill(self, rows: Tensor, start: Start) -> None:
        """These rows begin with the given keys and values."""
        self.cache.fill(rows, start)

    @torch.no_grad()
    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Row source[i] takes the place of row target[i]; none of them is longer than `width`."""
        self.cache.move(source, target, width)

    @torch.no_grad()
    def grow(self, rows: int, width: int) -> None:
        """Makes room for `rows` rows; existing rows keep all their keys and values."""
        self.cache.grow(rows)

    @torch.no_grad()
    def decode(self, token: np.ndarray, position: np.ndarray) -> Tensor:
        """One token for each of the first n rows -> logits [n, V] of the next."""
        width = int(position.max()) + 1
        position_n = torch.from_numpy(position).to(self.device)
        hidden = torch.arange(width, device=self.device) > position_n[:, None]
        mask = torch.zeros(hidden.shape, dtype=self.model.dtype, device=self.device)
        mask.masked_fill_(hidden, torch.finfo(mask.dtype).min)
        self.cache.aim(position_n, width)
        with evaluating(self.modules):
            logits = self.model(
                input_ids=torch.from_numpy(token).to(self.device)[:, None],
                attention_mask=mask[:, None, None],
                position_ids=position_n[:, None],
                past_key_values=self.cache,
                use_cache=True,
            ).logits
        return logits[:, -1]


@contextmanager
def evaluating(modules: list[nn.Module]) -> Iterator[None]:
    """Sets eval mode, and restores the training flag of every module afterwards."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
