"""Law 2: a sequence among others, in a row padded to the longest, has the numbers that it has alone."""

import pytest
import torch

from batches import VOCAB, random_batch
from helpers import KINDS, tiny_model
from menon.batch import take
from menon.engines.network import value_head
from menon.engines.torch_scorer import TorchScorer
from menon.update.protocols import VALUE, Need

NEEDS: tuple[Need, ...] = ("logp", "entropy", VALUE)

# The norms of Llama and Qwen compute in fp32 whatever the weights, so fp64 shows more than 1e-6 in GPT-2
# alone.
CASES = [(kind, torch.float32, 1e-6) for kind in KINDS] + [("gpt2", torch.float64, 1e-12)]


@pytest.mark.parametrize(("kind", "dtype", "bound"), CASES)
def test_a_sequence_among_others_equals_itself_alone(kind, dtype, bound):
    scorer = TorchScorer(
        tiny_model(kind, 0, VOCAB, dtype, spread=0.1), heads={"value": value_head(16, "orz").to(dtype)}
    )
    batch = random_batch(dtype=dtype)
    together = scorer.score(batch, NEEDS)
    alone = [scorer.score(take(batch, torch.tensor([s])), NEEDS) for s in range(batch.num_sequences)]
    for name in ("logp", "entropy", "value"):
        apart = torch.cat([columns[name] for columns in alone])
        assert together[name].dtype == dtype
        size = max(1.0, float(apart.abs().max()))  # the critic's values go up to 12
        assert float((together[name] - apart).abs().max()) < bound * size
        assert float(together[name][batch.is_action].std()) > 0.01  # and it is not the same number everywhere


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_behind_a_sequence_does_not_reach_it(kind):
    """The neighbour's length decides how much padding a row gets, its tokens which; neither may be seen."""
    scorer = TorchScorer(tiny_model(kind, 0, VOCAB, spread=0.1))
    batch = random_batch()
    short = int(batch.lengths.argmin())
    rows = [
        take(batch, torch.tensor([short, other])) for other in range(batch.num_sequences) if other != short
    ]
    size = int(batch.lengths[short])
    first, *others = (scorer.score(row, ("logp",))["logp"][:size] for row in rows)
    assert len({int(row.lengths[1]) for row in rows}) > 3
    assert first.abs().max() > 1
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-6)
