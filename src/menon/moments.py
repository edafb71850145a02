"""Running moments of numbers over steps, as the state of a part."""

import math
from collections.abc import Mapping

from torch import Tensor

Moments = Mapping[str, float]
"""`mean` and `square`, each still to be divided by `weight`, which corrects for their start at 0."""


def nothing_seen() -> Moments:
    return {"mean": 0.0, "square": 0.0, "weight": 0.0}


def remembered(moments: Moments, numbers: Tensor, decay: float) -> Moments:
    """m <- decay m + (1 - decay) (that of at least one new number)."""
    new = {"mean": float(numbers.mean()), "square": float(numbers.square().mean()), "weight": 1.0}
    return {name: decay * moments[name] + (1 - decay) * value for name, value in new.items()}


def mean_and_deviation(moments: Moments, eps: float) -> tuple[float, float]:
    """The mean and sqrt(variance + eps); 0 and 1 before anything was seen."""
    if not moments["weight"]:
        return 0.0, 1.0
    mean = moments["mean"] / moments["weight"]
    return mean, math.sqrt(max(moments["square"] / moments["weight"] - mean**2, 0.0) + eps)
