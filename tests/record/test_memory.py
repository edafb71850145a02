"""Memory of the process."""

import numpy as np

from menon.record.memory import memory


def test_what_is_allocated_shows() -> None:
    before = memory()["memory/gib"]
    held = np.ones(2**26)  # half a GiB, touched
    assert abs(memory()["memory/gib"] - before - held.nbytes / 2**30) < 0.05
