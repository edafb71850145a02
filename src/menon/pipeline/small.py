"""A stage that makes a small model from nothing, for others to teach."""

from dataclasses import dataclass, field
from typing import ClassVar

from menon.base.corpus import PretrainRecipe
from menon.base.recipe import ModelShape
from menon.errors import at_least
from menon.pipeline.stage import REPORT, Here, Stage
from menon.record import disk


@dataclass(frozen=True)
class Small(Stage):
    """A model of the built-in base's tokenizer and corpus, smaller and trained for less."""

    shape: ModelShape = field(
        default_factory=lambda: ModelShape(hidden=64, heads=2, kv_heads=2, feed_forward=192)
    )
    """Sizes of the model."""
    updates: int = 600
    """Optimiser steps of its pretraining."""
    makes: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        at_least(1, "updates", self.updates)

    def run(self, here: Here) -> None:
        from menon.assembly.pretrain import UNFINISHED, pretrain

        warm_up = self.updates // 10
        recipe = PretrainRecipe(seed=1 + here.seed, shape=self.shape, updates=self.updates, warm_up=warm_up)
        out = here.folder / self.makes
        if not out.exists() or (out / UNFINISHED).exists():
            pretrain(recipe, out, here.tell)
        if (out / UNFINISHED).exists():  # asked to stop
            return
        disk.write_json(here.folder / REPORT, {"updates": self.updates, "summary": self.words()})

    def words(self) -> str:
        return f"a model of {self.shape.layers} layers of {self.shape.hidden}, from {self.updates:,} updates"
