import numpy as np
import torch

from menon.engines.decoding.prefix_cache import PrefixCache
from menon.types import Tokens


def start(tokens: Tokens) -> torch.Tensor:
    """Stands for keys and values of these tokens: [1, length, 1], each position is its own token."""
    return torch.tensor(tokens, dtype=torch.float32).view(1, -1, 1)


def test_finds_the_longest_common_beginning():
    rng = np.random.default_rng(0)
    held, kept = PrefixCache(10**6), []
    for _ in range(300):
        tokens = rng.integers(0, 3, size=rng.integers(1, 9)).astype(np.int32) * 1000
        held.add(tokens, start(tokens))
        kept.append(tokens.tolist())
        wanted = rng.integers(0, 3, size=rng.integers(0, 10)).astype(np.int32) * 1000
        longest = max(
            next(
                (i for i, (a, b) in enumerate(zip(other, wanted, strict=False)) if a != b),
                min(len(other), len(wanted)),
            )
            for other in kept
        )
        found = held.find(wanted)
        assert (0 if found is None else found.shape[1]) == longest
        if found is not None:
            assert found.flatten().tolist() == wanted[:longest].tolist()


def test_keeps_no_beginning_of_another_and_no_more_than_there_is_room():
    one, two, other = (np.array(tokens, dtype=np.int32) for tokens in ([1, 2], [1, 2, 3], [4, 5, 6]))
    held = PrefixCache(room=20)  # five numbers
    held.add(one, start(one))
    held.add(two, start(two))
    held.add(one, start(one))
    assert (len(held.keys), held.room) == (1, 8)
    held.add(other, start(other))
    assert held.find(other) is None
    held.add(
        np.arange(1, 7, dtype=np.int32), start(np.arange(1, 7))
    )  # too long, and so not in the place of its beginning
    assert held.find(two).shape == (1, 3, 1)
    held.at(1)
    assert (held.keys, held.room) == ([], 20)
    held.add(other, start(other))
    assert held.at(1).find(other).shape == (1, 3, 1)
