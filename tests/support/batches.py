"""Random batches for the learner's tests: every column filled, lengths that differ, one observation inside an
answer."""

from dataclasses import replace

import torch

from menon import ragged
from menon.batch import Batch

VOCAB = 40


def random_batch(
    sequences: int = 12, seed: int = 0, most: int = 9, dtype: torch.dtype = torch.float32
) -> Batch:
    """Prompts of 2 tokens, answers of 1 to `most`; two answers per prompt, which are also a preference
    pair."""
    draw = torch.Generator().manual_seed(seed)
    size = 2 + torch.randint(1, most + 1, (sequences,), generator=draw)
    size[0], size[-1] = 2 + most, 3
    offset = torch.cat([torch.zeros(1, dtype=torch.int64), size.cumsum(0)])
    tokens = int(offset[-1])
    place = torch.arange(tokens) - ragged.spread(offset[:-1], offset)
    is_action = place >= 2
    is_action[5] = False  # in the first, longest answer: something that an environment wrote

    def normal(scale: float) -> torch.Tensor:
        return torch.where(is_action, scale * torch.randn(tokens, generator=draw, dtype=torch.float64), 0).to(
            dtype
        )

    return Batch(
        offset=offset,
        token=torch.randint(0, VOCAB, (tokens,), generator=draw),
        is_action=is_action,
        reward=torch.zeros(tokens, dtype=dtype),
        group=torch.arange(sequences) // 2,
        finish=torch.zeros(sequences, dtype=torch.int64),
        valid=torch.ones(sequences, dtype=torch.bool),
        acc=(torch.arange(sequences) % 2).to(dtype),
        pair=torch.arange(sequences) // 2,
        advantage=normal(1.0),
        ret=normal(1.0),
        value=normal(0.5),
        entropy=normal(1.0).abs(),
    )


def near(batch: Batch, logp: torch.Tensor, seed: int = 0, scale: float = 0.3) -> Batch:
    """The batch with old, reference and behaviour log-probs at some distance of the given ones."""
    draw = torch.Generator().manual_seed(seed)
    old, reference, behaviour = (
        torch.where(batch.is_action, logp + scale * torch.randn(len(logp), generator=draw).to(logp), 0).to(
            batch.reward.dtype
        )
        for _ in range(3)
    )
    return replace(batch, old_logp=old, ref_logp=reference, behaviour_logp=behaviour)
