"""Example of docs/numerics.md, 19.2: four answers of 4, 2, 6 and 3 tokens to one prompt."""

import pytest
import torch

from menon.advantage import GRPO
from menon.errors import UserError
from rows import batch_of, rows_of

LENGTHS = [4, 2, 6, 3]
MASK = [[1] * n + [0] * (6 - n) for n in LENGTHS]

# R = [1, 0, 0, 1]: mean .5, every deviation .5; sample variance 4 * .25 / 3 = 1/3, population variance 1/4. R
# = [1, 0, 0, 0]: mean .25, deviations .75, -.25 x3; squares sum to .5625 + 3 * .0625 = .75: std .5,
# population .4330127. R = [1, .1, 0, 0]: mean .275, deviations .725, -.175, -.275 x2; squares sum to .7075:
# std .4856267, population .4205651.
CASES = [
    (GRPO(), [1, 0, 0, 1], [0.866024, -0.866024, -0.866024, 0.866024]),
    (GRPO(), [1, 0, 0, 0], [1.499997, -0.499999, -0.499999, -0.499999]),
    (GRPO(), [1, 0.1, 0, 0], [1.492913, -0.360358, -0.566277, -0.566277]),
    (GRPO(std_mode="population"), [1, 0, 0, 1], [0.999998, -0.999998, -0.999998, 0.999998]),
    (GRPO(std_mode="population"), [1, 0, 0, 0], [1.732047, -0.577349, -0.577349, -0.577349]),
    (GRPO(std_mode="population"), [1, 0.1, 0, 0], [1.723867, -0.416106, -0.653881, -0.653881]),
    (GRPO(eps=1e-4), [1, 0, 0, 1], [0.865875, -0.865875, -0.865875, 0.865875]),
    (GRPO(eps=1e-4), [1, 0, 0, 0], [1.499700, -0.499900, -0.499900, -0.499900]),
    (GRPO(eps=1e-4), [1, 0.1, 0, 0], [1.492609, -0.360285, -0.566162, -0.566162]),
    (GRPO(std_mode="none"), [1, 0, 0, 1], [0.5, -0.5, -0.5, 0.5]),
    (GRPO(std_mode="none"), [1, 0, 0, 0], [0.75, -0.25, -0.25, -0.25]),
    (GRPO(std_mode="none"), [1, 0.1, 0, 0], [0.725, -0.175, -0.275, -0.275]),
    # Others of a 1: {0, 0, 1}, mean 1/3, std sqrt(1/3): (2/3) / .5773513; others of a 0: {1, 0, 1}, mean 2/3,
    # the same std.
    (GRPO(std_mode="loo"), [1, 0, 0, 1], [1.154699, -1.154699, -1.154699, 1.154699]),
    # Others of the 1 are all 0: centred, not divided. Others of a 0: {1, 0, 0}: -(1/3) / .5773513.
    (GRPO(std_mode="loo"), [1, 0, 0, 0], [1.0, -0.577349, -0.577349, -0.577349]),
]


@pytest.mark.parametrize(("part", "outcome", "expected"), CASES)
def test_one_group(part, outcome, expected):
    batch = part(batch_of(MASK, outcome=outcome))
    assert rows_of(batch, batch.advantage)[:, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(
        rows_of(batch, batch.advantage), rows_of(batch, batch.advantage)[:, :1] * torch.tensor(MASK)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["bessel", "population", "loo", "none"])
def test_equal_rewards_give_exactly_zero(mode, dtype):
    """.1 in single precision: the rounded mean differs from every reward."""
    batch = GRPO(std_mode=mode)(batch_of([[1, 1]] * 7, outcome=[0.1] * 7, dtype=dtype))
    assert batch.advantage.tolist() == [0.0] * 21


@pytest.mark.parametrize("mode", ["bessel", "population", "loo", "none"])
def test_group_of_one_gives_zero(mode):
    batch = GRPO(std_mode=mode)(batch_of([[1, 1], [1, 1], [1, 1]], outcome=[5.0, 1.0, 0.0], group=[3, 7, 7]))
    assert rows_of(batch, batch.advantage)[0].tolist() == [0.0, 0.0]
    assert float(rows_of(batch, batch.advantage)[1, 0]) > 0.4


def test_two_answers_without_their_own():
    """One other answer has no deviation: a_i = R_i - R_j."""
    batch = GRPO(std_mode="loo")(batch_of([[1], [1]], outcome=[0.75, 0.25]))
    assert rows_of(batch, batch.advantage)[:, 0].tolist() == [0.5, -0.5]


def test_interleaved_groups_of_unequal_size():
    batch = GRPO(std_mode="none")(batch_of([[1]] * 5, outcome=[1, 3, 0, 0, 0], group=[9, 4, 9, 4, 4]))
    assert rows_of(batch, batch.advantage)[:, 0].tolist() == [0.5, 2.0, -0.5, -1.0, -1.0]


def test_empty_answer_counts_in_its_group():
    batch = GRPO(std_mode="none")(batch_of([[1, 1], [0, 0], [1, 0]], outcome=[1, 0, 0.5]))
    assert rows_of(batch, batch.advantage).tolist() == [[0.5, 0.5], [0, 0], [0, 0]]


def test_failed_grader_is_in_no_statistic():
    batch = batch_of([[1], [1], [1]], outcome=[1, 0, 0], valid=[True, True, False])
    batch = GRPO(std_mode="none")(batch)
    assert rows_of(batch, batch.advantage)[:, 0].tolist() == [0.5, -0.5, 0.0]


def test_untrained_tokens_get_nothing():
    batch = GRPO(std_mode="none")(batch_of([[1, 0, 1], [1, 0, 0]], outcome=[1, 0]))
    assert batch.advantage.tolist() == [0, 0.5, 0, 0.5, 0, -0.5]


def test_refuses_a_negative_eps():
    with pytest.raises(UserError, match="eps of GRPO is -1"):
        GRPO(eps=-1)
