"""Example of docs/numerics.md, 19.2: one group of four answers with 4, 2, 6 and 3 tokens; the estimators that
compare the answers to one prompt."""

import pytest
import torch

from menon.advantage import GPG, GRPO, OPO, GRPOPassK, MaxRL, ReinforceBaseline, ReinforcePPBaseline
from menon.batch import pack
from menon.errors import UserError
from rows import batch_of, rows_of

LENGTHS = [4, 2, 6, 3]
MASK = (torch.arange(6) < torch.tensor(LENGTHS)[:, None]).long()
TWO, ONE, SHAPED = [1, 0, 0, 1], [1, 0, 0, 0], [1, 0.1, 0, 0]

# OPO: b = (4 + 3) / 15 = .466667; 4 / 15; (4 + .2) / 15 = .28. Pass@k: lead 1 - 1, 1 - 0, 1 - .1; deviations
# .5 and .485627 (mean .275, squares .525625 + .030625 + 2 * .075625, / 3). MaxRL: means .5, .25, .275: (1 -
# .275) / .275 = 2.636364, -.175 / .275. GPG: the one group teaches, so alpha = 1 and only the mean goes.
CASES = [
    (OPO(), TWO, [0.533333, -0.466667, -0.466667, 0.533333]),
    (OPO(), ONE, [0.733333, -0.266667, -0.266667, -0.266667]),
    (OPO(), SHAPED, [0.72, -0.18, -0.28, -0.28]),
    (GRPOPassK(), TWO, [0, 0, 0, 0]),
    (GRPOPassK(), ONE, [1, 0, 0, 0]),
    (GRPOPassK(), SHAPED, [0.9, 0, 0, 0]),
    (GRPOPassK("bessel"), ONE, [1.999996, 0, 0, 0]),
    (GRPOPassK("bessel"), SHAPED, [1.853271, 0, 0, 0]),
    (MaxRL(), TWO, [1, -1, -1, 1]),
    (MaxRL(), ONE, [3, -1, -1, -1]),
    (MaxRL(), SHAPED, [2.636364, -0.636364, -1, -1]),
    (MaxRL(eps=0.25), ONE, [1.5, -0.5, -0.5, -0.5]),
    (GPG(), ONE, [0.75, -0.25, -0.25, -0.25]),
    (GPG("bessel", eps=0.5), ONE, [0.75, -0.25, -0.25, -0.25]),  # deviation .5 + .5
    (GRPO("batch", eps=0.5), ONE, [0.75, -0.25, -0.25, -0.25]),
    # One group is the whole step, so its mean is the batch mean.
    (ReinforceBaseline(), SHAPED, [0.725, -0.175, -0.275, -0.275]),
    (ReinforcePPBaseline(), TWO, [1.032796, -0.903696, -0.903696, 1.032796]),
    (ReinforcePPBaseline(), SHAPED, [1.597466, -0.399367, -0.621237, -0.621237]),
    # Each answer once: mean 0, sample deviation of +-.5 is sqrt(1/3).
    (ReinforcePPBaseline(whiten_scope="sequence"), TWO, [0.866025, -0.866025, -0.866025, 0.866025]),
]
PARTS = [OPO(), GRPOPassK(), GRPOPassK("bessel"), MaxRL(), GPG(), GRPO("batch")]


def credit(part, batch):
    rows = rows_of(batch, part(batch).advantage)
    assert torch.equal(rows, rows[:, :1] * (torch.arange(rows.shape[1]) < batch.action_lengths[:, None]))
    return rows[:, 0].tolist()


def names(value):
    return type(value).__name__ if not isinstance(value, list) else ""


@pytest.mark.parametrize(("part", "outcome", "expected"), CASES, ids=names)
def test_one_group(part, outcome, expected):
    assert credit(part, batch_of(MASK, outcome=outcome)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("part", [*PARTS, ReinforceBaseline(), ReinforcePPBaseline()], ids=names)
def test_equal_rewards_and_a_step_of_nothing(part):
    """Equal rewards, at values whose mean rounds, give exactly 0; so do an empty step and one whose graders
    all failed."""
    assert credit(part, batch_of(MASK, outcome=[0.1] * 4)) == [0] * 4
    assert credit(part, batch_of([[1]], outcome=[3])) == [0]
    assert credit(part, batch_of(MASK, outcome=TWO, valid=[False] * 4)) == [0] * 4
    assert len(part(pack([])).advantage) == 0


@pytest.mark.parametrize("part", PARTS, ids=names)
def test_groups_of_one_failed_graders_empty_and_truncated_answers(part):
    """Group 0 is alone; in group 1 a failed grader leaves 1 against 0, and the 0 has no token; its winner was
    cut."""
    batch = batch_of(
        [[1], [1], [0], [1]],
        outcome=[3, 1, 0, 9],
        group=[0, 1, 1, 1],
        valid=[True, True, True, False],
        finish=["stop", "length", "stop", "stop"],
    )
    rows = part(batch).advantage
    alone = part(batch_of([[1], [0]], outcome=[1, 0])).advantage
    # What depends on the whole step: alpha = 3 / 2 for GPG; the deviation of 3, 1, 0 for GRPO over the batch.
    factor = {"GPG": 1.5, "GRPO": (0.5**0.5 + 1e-6) / ((7 / 3) ** 0.5 + 1e-6)}.get(type(part).__name__, 1)
    assert rows_of(batch, rows)[:, 0].tolist() == pytest.approx([0, factor * float(alone[1]), 0, 0], abs=1e-9)


def test_reinforce_baseline_counts_every_graded_answer_of_the_step():
    """Mean of 3, 1 and 0 (empty, but graded): 4 / 3."""
    batch = batch_of(
        [[1], [1], [0], [1]], outcome=[3, 1, 0, 9], group=[0, 1, 2, 3], valid=[True, True, True, False]
    )
    assert rows_of(batch, ReinforceBaseline()(batch).advantage)[:, 0].tolist() == pytest.approx(
        [5 / 3, -1 / 3, 0, 0], abs=1e-9
    )


def test_reinforce_pp_baseline_moves_a_group_without_signal():
    """Group 0: 1 (3 tokens) and 0 (1 token), group 1: equal. Centred .5 x3, -.5, 0 x2: mean 1/6, sum of
    squares 1 - 6/36 = 5/6, sample variance 1/6: (.5 - 1/6) / .408248 = .816497, -1.632993, -.408248. Each
    answer once, the mean is 0."""
    mask = [[1, 1, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    batch = batch_of(mask, outcome=[1, 0, 2, 2], group=[0, 0, 1, 1])
    assert credit(ReinforcePPBaseline(), batch) == pytest.approx(
        [0.816497, -1.632993, -0.408248, -0.408248], abs=1e-6
    )
    root = 0.5 / (0.5 / 3) ** 0.5
    assert credit(ReinforcePPBaseline("sequence"), batch) == pytest.approx([root, -root, 0, 0], abs=1e-6)


def test_gpg_makes_up_for_groups_without_signal():
    """Rewards 1, 0 and 1, 1: half of the answers teach, so alpha = 2. (README's example: 1, 0, 0, 1 and 1, 0,
    0, 0 give 1.)"""
    batch = batch_of([[1]] * 4, outcome=[1, 0, 1, 1], group=[0, 0, 1, 1])
    assert credit(GPG(), batch) == [1, -1, 0, 0]
    both = batch_of([[1]] * 8, outcome=[1, 0, 0, 1, 1, 0, 0, 0], group=[0] * 4 + [1] * 4)
    assert credit(GPG(), both) == pytest.approx([0.5, -0.5, -0.5, 0.5, 0.75, -0.25, -0.25, -0.25])
    tiny = batch_of([[1]] * 4, outcome=[1, 0, 1, 1 + 1e-6], group=[0, 0, 1, 1])  # deviation 7e-7: no spread
    assert credit(GPG(), tiny) == [1, -1, 0, 0]


def test_opo_of_empty_answers_credits_nothing():
    batch = batch_of([[0], [0]], outcome=[1, 0])
    assert OPO()(batch).advantage.tolist() == [0, 0]


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="use none below 0"):
        MaxRL()(batch_of([[1], [1]], outcome=[1, -1]))
    for build in (lambda: MaxRL(eps=-1), lambda: GRPOPassK(eps=-1), lambda: GPG(eps=-1)):
        with pytest.raises(UserError, match="0 or positive"):
            build()
