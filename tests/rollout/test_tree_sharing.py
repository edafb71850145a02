"""A tree on the real sampler: what its nodes have in common is computed once."""

import numpy as np
import pytest

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.rollout.groups import Groups
from menon.rollout.tree_growth import TreeShape
from menon.rollout.trees import Trees
from menon.types import Sampling, Verdict
from scripted import Bound


class Two:
    def take(self, count):
        return [(prompt(i, [i + 1, 2, 3, 4, 5, 6], vocab=40), 0) for i in range(count)]

    def state(self):
        return {}

    def load(self, state): ...


def sampler(end=()):
    made = TorchSampler(tiny_model(vocab=40), tiny_tokenizer(40), seed=0, slots=8)
    if not end:
        made.end_tokens = np.array([-1])  # no token ends a text
    return made


def odd(rollout):
    right = float(rollout.tokens.sum() % 2)
    return Verdict(right, right)


def test_computed_tokens():
    """3-3-3 with segments of 3 and whole answers of 10, fewer slots than nodes: 6 + 9 + 27 + 27 * 4 distinct
    tokens a tree."""
    shape, sampling, own = TreeShape((3, 3, 3), (3,)), Sampling(10), sampler()
    trees = Bound(Trees(shape.branching, shape.segment_tokens), 2, 1, sampling)
    graded, _, _ = trees(Two(), own, odd, trees.init())
    distinct = 2 * (6 + 9 + 27 + 27 * 4)
    assert sum(int(g.rollout.is_action.sum()) for g in graded) + 2 * 6 == distinct
    assert own.computed_tokens <= 1.02 * distinct
    flat = sampler()
    Bound(Groups(), 2, 27, sampling)(Two(), flat, odd)
    assert flat.computed_tokens > 1.8 * own.computed_tokens


@pytest.mark.parametrize("prompts", [1, 2])
def test_a_tree_does_not_depend_on_its_neighbours(prompts):
    """The same nodes alone and beside another tree."""
    trees = Bound(Trees((3, 2), (4,)), prompts, 1, Sampling(10))
    graded, _, _ = trees(Two(), sampler(end=(39,)), odd, trees.init())
    alone = Bound(Trees((3, 2), (4,)), 1, 1, Sampling(10))
    expected, _, _ = alone(Two(), sampler(end=(39,)), odd, alone.init())
    assert [g.rollout.tokens.tolist() for g in graded if g.rollout.group == 0] == [
        g.rollout.tokens.tolist() for g in expected
    ]
