import pytest

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.assembly import rollout_memory
from menon.assembly.rollout_memory import check_memory
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.errors import UserError
from menon.parts import Around
from menon.rollout.trees import Trees
from menon.types import Sampling

TREES, AROUND = Trees((2, 3), (4,)), Around(2, sampling=Sampling(9))


def test_the_estimate_by_hand():
    """A tree of 3 + 2 * 4 + 6 * 5 = 41 distinct tokens and 8 nodes of at most 12 tokens; 4 slots of 12."""
    assert TREES.cache_bytes(AROUND, 3, 100, 4) == 2 * (41 * 100 + 8 * 12 * 25) + 4 * 12 * 100


def test_trees_larger_than_memory_are_refused(monkeypatch):
    sampler, prompts = (
        TorchSampler(tiny_model(), tiny_tokenizer(), slots=4),
        [prompt(0, "1+2="), prompt(1, "1+")],
    )
    needed = TREES.cache_bytes(AROUND, 4, 128, 4)
    monkeypatch.setattr(rollout_memory, "free_bytes", lambda device: needed)
    check_memory(TREES, AROUND, prompts, sampler)
    monkeypatch.setattr(rollout_memory, "free_bytes", lambda device: needed - 1)
    with pytest.raises(
        UserError, match=r"a step \(2 trees of 2-3\) may take .* lower prompts_per_step, .* like branching"
    ):
        check_memory(TREES, AROUND, prompts, sampler)
