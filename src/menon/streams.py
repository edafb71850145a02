"""Counter-based randomness: a draw depends on its name alone, never on what was drawn before it or beside it.

A stream is named by (seed, purpose, ...) and made by hashing the name into a Philox key, so a sample does not
depend on its neighbours in a batch, and a resumed run draws what the unbroken one would have drawn.
"""

import hashlib

import numpy as np


def stream(seed: int, purpose: str, *name: int | str | tuple[int, ...]) -> np.random.Generator:
    """The generator of one name.

    >>> bool(stream(0, "train", 3).random() == stream(0, "train", 3).random())
    True
    >>> bool(stream(0, "train", 3).random() == stream(0, "train", 4).random())
    False
    """
    digest = hashlib.blake2b(repr((seed, purpose, *name)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype=np.uint64)))
