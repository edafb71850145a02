"""The step without rollout: an objective on a fixed set of sequences (pre-training, SFT, preferences)."""

from menon.batch import Batch
from menon.step import learn
from menon.types import Metric
from menon.update.objective import Update, split
from menon.update.protocols import Models


def offline_step(batch: Batch, update: Update, models: Models, seed: int, step: int) -> dict[str, Metric]:
    """One pass over a batch; the columns that its terms read are there already."""
    return learn(batch, split(batch, update, seed, step), models)
