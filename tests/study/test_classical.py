"""The ancestors on the cliff: exact where there is an exact answer."""

import numpy as np
import pytest
import torch

from menon import ragged
from menon.advantage import GAE, GRPO
from menon.study import classical
from menon.study.classical import (
    cliff,
    epsilon_greedy,
    exact_values,
    greedy_path,
    learn_actions,
    returns,
    softmax,
    td0,
)
from rows import batch_of


def test_the_discount_recursion_by_hand():
    """1, 0, 2 with gamma .5: 2; 0 + 1; 1 + .5."""
    assert returns([1, 0, 2], 0.5).tolist() == [1.5, 1.0, 2.0]
    assert returns([], 0.5).tolist() == []


def test_the_discount_recursion_is_the_package_s():
    reward = [0.3, -1.0, 0.5, 2.0]
    packed = ragged.return_to_go(torch.tensor(reward, dtype=torch.float64), torch.tensor([0, 4]), 0.9)
    assert packed.tolist() == pytest.approx(returns(reward, 0.9).tolist(), abs=1e-12)


def test_exact_values_of_a_policy_that_walks_around():
    """Up, along the row above the cliff, down: nine steps from the start of a grid of eight columns."""
    grid = cliff()
    policy = np.zeros(grid.reward_SA.shape)
    policy[:, 1] = 1
    policy[grid.start] = [1, 0, 0, 0]
    policy[3 * 8 - 1] = [0, 0, 1, 0]
    policy[[7, 15]] = [0, 0, 1, 0]
    value = exact_values(grid, policy)
    assert value[grid.start] == pytest.approx(-9)
    assert value[0] == pytest.approx(-10)
    assert value[-1] == 0
    discounted = exact_values(grid, policy, gamma=0.5)
    assert discounted[grid.start] == pytest.approx(-sum(0.5**k for k in range(9)))


def test_a_step_over_the_edge_costs_a_hundred():
    grid = cliff(rows=2, columns=3)
    assert grid.reward_SA[grid.start].tolist() == [-1, -100, -1, -1]
    assert exact_values(grid, np.full((6, 4), 0.25))[grid.start] < -50


def test_td0_converges_to_the_exact_values():
    """Of a walk that tends to the right, discounted; the values are 6 on average."""
    grid = cliff(rows=3, columns=4, fall=-10)
    policy = np.tile([0.2, 0.5, 0.2, 0.1], (12, 1))
    exact = exact_values(grid, policy, gamma=0.9)

    def off(walks: int) -> float:
        return float(np.abs(td0(grid, policy, np.random.default_rng(0), walks, gamma=0.9) - exact).mean())

    assert off(20) > 1
    assert off(4000) < 0.2


@pytest.mark.parametrize("seed", [0, 1])
def test_q_learning_finds_the_edge_and_sarsa_keeps_away(seed):
    grid = cliff()
    edge = set(range(2 * 8 + 1, 3 * 8 - 1))
    bold, careful = (
        learn_actions(grid, np.random.default_rng(seed), on_policy) for on_policy in (False, True)
    )
    shortest, detour = greedy_path(grid, bold), greedy_path(grid, careful)
    assert len(shortest) - 1 == 9
    assert edge <= set(shortest)
    assert detour[-1] == len(grid.ended_S) - 1
    assert not edge & set(detour)
    stumbling = [exact_values(grid, epsilon_greedy(q, 0.1))[grid.start] for q in (bold, careful)]
    assert stumbling[1] > stumbling[0] + 5


def test_reinforce_learns_where_it_sometimes_succeeds_and_learns_to_fall_where_it_never_does():
    grid, start = cliff(), cliff().start
    after = {
        anywhere: exact_values(
            grid, softmax(classical.reinforce(grid, np.random.default_rng(0), anywhere, updates=60))
        )[start]
        for anywhere in (True, False)
    }
    assert after[True] > -30
    assert after[False] < -99


def test_lambda_zero_is_the_error_that_td0_corrects():
    reward, value = [0.0, -1.0, 2.0], [0.5, 1.0, -0.25]
    credited = GAE(gamma=0.9, lam=0.0)(batch_of([[1, 1, 1]], reward=[reward], value=[value]))
    error = [r + 0.9 * after - v for r, v, after in zip(reward, value, [*value[1:], 0.0], strict=True)]
    assert credited.advantage[1:].tolist() == pytest.approx(error, abs=1e-12)


def test_ppo_whose_critic_says_the_mean_of_the_group_is_drgrpo():
    outcome, mask = [1.0, 0.0, 0.0, 1.0, 0.5], [[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1], [1, 0, 0]]
    batch = batch_of(mask, outcome=outcome, value=[[0.5] * 3] * 5)
    assert torch.allclose(GAE()(batch).advantage, GRPO(std_mode="none")(batch).advantage, atol=1e-12)
    assert float(GAE()(batch).advantage.abs().max()) == 0.5
