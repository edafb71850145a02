"""Example of docs/numerics.md, 19.6: probabilities .99, .5, .95, .2, .97, .85, .99, .3, .6, interval 2,
values .5, .25, .75 before tokens 1, 5 and 8."""

import math
from dataclasses import replace

import pytest
import torch

from menon.advantage import SegmentCredit, Whiten
from menon.errors import UserError
from menon.rollout.tree_values import tree_values
from menon.types import Estimate
from rows import NAN, batch_of, rows_of

P = [0.99, 0.5, 0.95, 0.2, 0.97, 0.85, 0.99, 0.3, 0.6]
LOGP = [math.log(p) for p in P]
N = NAN
VALUES = [N, 0.5, N, N, N, 0.25, N, N, 0.75]


def batch(values, outcome, lengths=None, **given):
    width = len(values[0])
    mask = [[1] * n + [0] * (width - n) for n in (lengths or [width] * len(values))]
    made = batch_of(mask, outcome=outcome, **given)
    columns = batch_of(mask, value=values).value
    assert columns is not None
    return replace(
        made,
        state_value=columns,
        state_std=torch.full_like(columns, 0.5),
        state_count=torch.full_like(columns, 4),
    )


def credit(part, of):
    return rows_of(of, part(of).advantage).tolist()


def test_a_chain_of_the_paper():
    """Nothing before the first cut; V(4) - V(0) = -.25 on tokens 1 to 4, .5 on 5 to 7, R - .75 on the
    last."""
    made = batch([VALUES], [1.0], behaviour_logp=[LOGP])
    assert credit(SegmentCredit(), made) == [[0, -0.25, -0.25, -0.25, -0.25, 0.5, 0.5, 0.5, 0.25]]
    masked = SegmentCredit(below=0.9)(made)
    assert rows_of(made, masked.advantage).tolist() == [[0, -0.25, 0, -0.25, 0, 0.5, 0, 0.5, 0.25]]
    white = rows_of(made, Whiten(below=0.9)(masked).advantage)[0, [1, 3, 5, 7, 8]].tolist()
    assert white == pytest.approx([-1.055009, -1.055009, 0.923133, 0.923133, 0.263752], abs=1e-6)


def test_a_boundary_at_the_prompt():
    """With V(prompt) = .25 the first segment has V - .25 too."""
    made = batch([[0.25, *VALUES[1:]]], [0.0])
    assert credit(SegmentCredit(), made) == [[0.25, -0.25, -0.25, -0.25, -0.25, 0.5, 0.5, 0.5, -0.75]]


def test_answers_do_not_touch_each_other():
    """The end of one answer is not the beginning of the next, an answer without a cut has nothing, an invalid
    one neither."""
    values = [[N, 0.5, N], [N, N, N], [0.25, N, 0.75], [0.5, 0.5, 0.5], [0.5, N, N]]
    made = batch(
        values, [1.0, 1.0, 0.0, 1.0, 1.0], lengths=[3, 3, 3, 3, 0], valid=[True, True, True, False, True]
    )
    assert credit(SegmentCredit(), made) == [
        [0, 0.5, 0.5],
        [0, 0, 0],
        [0.5, 0.5, -0.75],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_no_cut_in_a_whole_step():
    made = replace(batch([[N, N]], [1.0]), state_value=None)
    assert credit(SegmentCredit(), made) == [[0, 0]]


def test_a_probability_of_the_threshold_itself_is_kept():
    made = batch([[0.5, N, N]], [1.0], behaviour_logp=[[math.log(0.9), math.log(0.91), math.log(0.5)]])
    assert credit(SegmentCredit(below=0.9), made) == [[0.5, 0, 0.5]]


def test_old_log_probs_go_before_the_samplers_where_they_are_known():
    made = batch([[0.5, N, N]], [1.0], behaviour_logp=[[-1, -0.01, -0.01]], old_logp=[[-0.01, -1, N]])
    assert credit(SegmentCredit(below=0.9), made) == [[0, 0.5, 0]]


def test_a_worked_tree():
    """Root with a (leaves 1 and 0) and b, which finished early with 1."""
    values = tree_values([0, 0, 0, 1, 1], [N, N, 1.0, 1.0, 0.0])
    assert values == [
        Estimate(0.75, 0.25, 2),
        Estimate(0.5, 0.5, 2),
        Estimate(1.0, 0.0, 1),
        Estimate(1.0, 0.0, 1),
        Estimate(0.0, 0.0, 1),
    ]


EDGES = {"rloo": [-0.25, 0.25, 0.5, -0.5], "grpo": [-1, 1, 1, -1], "leave_one_out": [-0.5, 0.5, 1, -1]}


@pytest.mark.parametrize("method", EDGES)
def test_edges_of_that_tree(method):
    """root-a, root-b, a-leaf1, a-leaf0. Leave one out: a has .5 and its only sibling 1; one leaf has all that
    the other lacks."""
    start, std = [0.75, 0.75, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]
    made = batch([[v, N] for v in start], [0.5, 1.0, 1.0, 0.0])
    made = replace(made, state_std=batch_of([[1, 1]] * 4, value=[[s, N] for s in std]).value)
    made = replace(made, state_count=torch.full_like(made.reward, 2))
    assert credit(SegmentCredit(method), made) == [[pytest.approx(a, abs=1e-6)] * 2 for a in EDGES[method]]


def test_an_only_child_and_equal_leaves_teach_nothing():
    only = replace(batch([[0.5]], [1.0]), state_count=torch.ones(2))
    assert credit(SegmentCredit("leave_one_out"), only) == [[0]]
    assert tree_values([0, 0, 0, 0], [N, 0.1, 0.1, 0.1])[0] == Estimate(0.1, 0.0, 3)  # without rounding
    equal = replace(batch([[0.1], [0.1]], [0.1, 0.1]), state_std=torch.zeros(4, dtype=torch.float64))
    assert credit(SegmentCredit("grpo"), equal) == [[0], [0]]


def test_failed_leaves_are_not_counted_and_a_node_of_nothing_else_is_worth_nothing():
    values = tree_values([0, 0, 0, 1, 1, 2, 2], [N, N, N, 1.0, N, N, N])
    assert values[1:] == [
        Estimate(1.0, 0.0, 1),
        Estimate(0.0, 0.0, 0),
        Estimate(1.0, 0.0, 1),
        None,
        None,
        None,
    ]
    assert values[0] == Estimate(0.5, 0.5, 2)


def test_an_edge_that_waits_has_its_credit_for_the_record():
    made = replace(batch([[0.5], [0.5]], [1.0, 0.0]), learn=torch.tensor([True, False]))
    assert credit(SegmentCredit(), made) == [[0.5], [-0.5]]
    assert made.trained.sum() == 1


@pytest.mark.parametrize("part", [SegmentCredit, Whiten])
def test_refuses_what_is_no_probability(part):
    with pytest.raises(UserError, match=f"below of {part.__name__} is 1.5"):
        part(below=1.5)
