"""Example of docs/numerics.md, 19.1, with a lambda per answer."""

from dataclasses import replace

import pytest
import torch

from menon.advantage import GAE, VAPO
from menon.errors import UserError
from rows import batch_of, rows_of

REWARD, VALUE = [[0, 0, 0, 1]], [[0.5, 0.6, 0.4, 0.7]]


def test_lambda_by_length():
    """alpha .5: 4 tokens give lam 1 - 1 / 2 = .5, 2 tokens 1 - 1 / 1 = 0. delta = .1, -.2, .3, .3 (as in
    test_gae). lam .5: .3; .3 + .15 = .45; -.2 + .225 = .025; .1 + .0125 = .1125. The critic's targets are the
    return-to-go, 1 and 2. Second answer: V = .5, .5, r = 2: delta = 0, 1.5."""
    batch = batch_of(
        [[1, 1, 1, 1], [1, 1, 0, 0]], reward=[*REWARD, [0, 2, 0, 0]], value=[*VALUE, [0.5, 0.5, 0, 0]]
    )
    batch = VAPO(alpha=0.5)(batch)
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx([0.1125, 0.025, 0.45, 0.3], abs=1e-9)
    assert rows_of(batch, batch.advantage)[1].tolist() == pytest.approx([0, 1.5, 0, 0], abs=1e-9)
    assert rows_of(batch, batch.ret).tolist() == [pytest.approx([1] * 4), pytest.approx([2, 2, 0, 0])]


@pytest.mark.parametrize(("length", "lam"), [(10, 0), (20, 0), (40, 0.5), (100, 0.8), (1000, 0.98)])
def test_the_papers_alpha(length, lam):
    """Example of docs/numerics.md, 19.1. One reward at the end and values 0: the first token's advantage is
    lam^(length - 1)."""
    batch = VAPO()(batch_of(torch.ones(1, length), outcome=[1], value=torch.zeros(1, length)))
    assert float(rows_of(batch, batch.advantage)[0, -2]) == pytest.approx(lam, abs=1e-9)


def test_fixed_lambda_is_decoupled_gae():
    batch = batch_of([[1, 1, 1, 1]], reward=REWARD, value=VALUE)
    both = VAPO(alpha=0, lam=0.95)(batch)
    assert torch.equal(both.advantage, GAE(lam=0.95)(batch).advantage)
    assert torch.equal(both.ret, GAE(lam=1)(batch).ret)
    with pytest.raises(UserError, match="alpha of VAPO"):
        VAPO(alpha=-1)
    with pytest.raises(UserError, match="lam_critic of VAPO"):
        VAPO(lam_critic=2)


TRUNCATED = [-0.1622, -0.276, -0.08, -0.4]


@pytest.mark.parametrize(
    "part", [GAE(lam=0.95, bootstrap_truncated=True), VAPO(alpha=0, lam=0.95, bootstrap_truncated=True)]
)
def test_bootstrap_of_a_truncated_answer(part):
    """Example of docs/numerics.md, 19.1: r = 0, V behind the last token .3. delta = .1, -.2, .3, .3 - .7 =
    -.4: -.4; .3 - .38 = -.08; -.2 - .076 = -.276; .1 - .2622. An answer that ended has no value behind it,
    whatever the critic says; nor has an empty one."""
    mask = [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]
    value, after = [VALUE[0]] * 3, [[9, 9, 9, 0.3], [9, 9, 9, 9], [9] * 4]
    batch = batch_of(
        mask, reward=[[0] * 4] * 3, value=value, value_after=after, finish=["length", "stop", "length"]
    )
    assert part.reads == ("reward", "value", "value_after")
    batch = part(batch)
    assert rows_of(batch, batch.advantage)[0].tolist() == pytest.approx(TRUNCATED, abs=1e-9)
    ended = GAE(lam=0.95)(batch)
    assert torch.equal(rows_of(batch, batch.advantage)[1:], rows_of(ended, ended.advantage)[1:])
    if isinstance(part, GAE):
        assert rows_of(batch, batch.ret)[0].tolist() == pytest.approx([0.3378, 0.324, 0.32, 0.3], abs=1e-9)
    with pytest.raises(ValueError, match="needs 'value_after'"):
        part(replace(batch, value_after=None))
