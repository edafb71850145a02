"""Are the high-entropy tokens the same as for the base model? (Beyond the 80/20 Rule, arXiv 2506.01939)"""

import numpy as np
from numpy.typing import NDArray

from menon.study.measures import TOP, top


def overlap(entropy_N: NDArray, other_N: NDArray, share: float = TOP) -> float:
    """The share of the other's top positions that are also among one's own, on the same tokens. The top is
    taken over all tokens together, because the sources do not say otherwise. Random positions give `share`. 0
    without tokens.

    >>> overlap(np.array([3.0, 1.0, 2.0, 0.0, 0.0]), np.array([0.0, 1.0, 2.0, 0.0, 3.0]), share=0.4)
    0.5
    """
    theirs = top(other_N, share)
    return float(np.isin(theirs, top(entropy_N, share)).mean()) if len(theirs) else 0.0
