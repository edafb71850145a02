"""Which answers a step learns from, on groups that can be read off: rewards and correctness by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from menon.arrange import AllPairs, BestOf, BestWorst, CorrectOf, Varied
from menon.batch import Batch, take
from menon.errors import UserError
from menon.loss import DPO, NLL
from menon.loss.aggregation import PairMean, TokenMean
from menon.loss.pairs import pairs_of
from menon.parts import Around
from menon.update.terms import Term, Update, split
from rows import batch_of, column_of, value_and_gradient

NAN = math.nan


def answers(*groups: Sequence[float], **given: Any) -> Batch:
    """Groups of answers of two tokens with these rewards; correctness is whether a reward is 1."""
    rewards = [reward for group in groups for reward in group]
    numbers = [number for number, group in enumerate(groups) for _ in group]
    known = [1.0 if reward == 1 else 0.0 for reward in rewards]
    return batch_of([[1, 1]] * len(rewards), outcome=rewards, group=numbers, **{"acc": known, **given})


def learned(batch: Batch) -> list[int]:
    assert batch.learn is not None
    return batch.learn.nonzero()[:, 0].tolist()


# The best


def test_the_best_of_each_group_is_learned():
    """A group of equal rewards has no best, the best of the last earns 0, and of two best ones the first
    counts."""
    batch = BestOf()(answers([0, 0.5, 1], [1, 1, 1], [0, 1, 1], [-1, 0, -2]))
    assert learned(batch) == [2, 7]


def test_more_than_one_is_kept_in_their_order_and_none_at_the_bound():
    batch = answers([1, 3, 2, 0], [0, 4, 0, 0])
    assert learned(BestOf(keep=2)(batch)) == [1, 2, 5]
    assert learned(BestOf(keep=2, min_reward=2)(batch)) == [1, 5]
    assert learned(BestOf(keep=3, min_reward=None)(batch)) == [0, 1, 2, 4, 5, 6]


def test_answers_without_a_score_or_a_token_are_never_the_best():
    batch = answers([5, 2, 1], [7, 0, 0], valid=[False, True, True, True, True, True])
    batch = replace(batch, is_action=batch.is_action.clone())
    batch.is_action[9:12] = False  # the fourth answer: nothing was written
    assert learned(BestOf()(batch)) == [1]


def test_an_answer_that_was_left_out_stays_out():
    batch = answers([0, 1, 2], [0, 1, 2])
    batch = replace(batch, learn=torch.tensor([True, True, False, True, True, True]))
    assert learned(BestOf()(batch)) == [1, 5]
    assert learned(Varied()(BestOf(keep=2)(batch))) == [4, 5]  # the first group has one left


def test_keep_is_a_count_of_the_answers_there_are():
    with pytest.raises(UserError, match="keep is 0; it must be at least 1"):
        BestOf(keep=0)
    with pytest.raises(
        UserError, match=r"arrange.best.keep is 5, and 4 answers are written to a prompt; lower"
    ):
        BestOf(keep=5).check("arrange.best", Around(samples_per_prompt=4))


def test_its_likelihood_alone_is_learned():
    """The second answer: (1 + 3) / 2; the others have no gradient."""
    batch = BestOf()(answers([0, 1, 0]))
    logp = column_of(batch, [[-9, -9], [-1, -3], [-9, -9]])
    value, gradient = value_and_gradient(Term(NLL(), TokenMean()), batch, {"logp": logp})
    assert value == pytest.approx(2)
    assert gradient[batch.is_action].tolist() == [0, 0, -0.5, -0.5, 0, 0]


# The right ones


def test_right_answers_are_learned_up_to_a_number():
    batch = answers([1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1])
    assert learned(CorrectOf()(batch)) == [0, 2, 3, 8, 9, 10, 11]
    assert learned(CorrectOf(most=2)(batch)) == [0, 2, 8, 9]
    unknown = replace(batch, acc=torch.full_like(batch.acc, NAN))
    assert learned(CorrectOf()(unknown)) == []
    with pytest.raises(UserError, match="most is 0; it must be at least 1"):
        CorrectOf(most=0)


def test_repeated_answers_count_once():
    """The same tokens in another group are no repetition, nor is a longer answer with the same beginning."""
    batch = answers([1, 1, 1, 1], [1, 1])
    token = torch.tensor([[9, 4, 5], [9, 4, 5], [9, 4, 6], [9, 6, 4], [9, 4, 5], [9, 4, 5]]).flatten()
    assert learned(CorrectOf(distinct=True)(replace(batch, token=token))) == [0, 2, 3, 4]
    shorter = batch_of([[1, 1, 0], [1, 1, 1], [1, 1, 0]], acc=[1, 1, 1], group=[0, 0, 0])
    assert learned(CorrectOf(distinct=True)(shorter)) == [0, 1]


# Pairs


def test_the_best_is_preferred_to_the_worst():
    """The second group has no pair; ties go to the first; the correctness becomes the pair's."""
    batch = BestWorst()(answers([0.2, 0.9, 0.1, 0.9], [1, 1], [0, 0, 3], acc=[0.0] * 9))
    assert learned(batch) == [1, 2, 6, 8]
    assert batch.pair is not None
    assert batch.pair.tolist() == [-1, 0, 0, -1, -1, -1, 1, -1, 1]
    assert batch.acc.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_a_failed_grader_makes_no_pair():
    batch = BestWorst()(answers([0, 1], [0, 1, 2], valid=[True, False, True, True, False]))
    assert learned(batch) == [2, 3]


def test_dpo_learns_from_the_pairs_alone():
    """h = (-1 - -3) - (-4 - -3) = 3 with beta 1 in the first group; the second is left out. The gradient on
    the tokens of the preferred answer is -sigmoid(-3)."""
    batch = answers([0, 2, 1], [1, 1], ref_logp=[[-1, -2], [-1, -2], [NAN, NAN], [NAN, NAN], [NAN, NAN]])
    batch = BestWorst()(replace(batch, token=torch.arange(batch.num_tokens)))
    update = Update({"policy": Term(DPO(beta=1), PairMean())})
    (minibatch,) = split(batch, update, seed=0, step=1)
    assert minibatch.rows.tolist() == [0, 1]
    batch = take(batch, minibatch.rows)
    logp = column_of(batch, [[-2, -2], [0, -1]])
    value, gradient = value_and_gradient(update.terms["policy"], batch, {"logp": logp})
    assert value == pytest.approx(math.log1p(math.exp(-3)))
    slope = 1 / (1 + math.exp(3))
    assert gradient[batch.is_action].tolist() == pytest.approx([slope, slope, -slope, -slope])


def test_every_right_answer_is_preferred_to_every_wrong_one():
    """Of 2 right and 2 wrong answers 4 pairs; the second group has no wrong one; one of the third is unknown.
    With log-probs S and no reference, DPO is the mean of softplus(S_w - S_r) over the pairs (3, 2), (3, 1),
    (0, 2), (0, 1) and (2, 0)."""
    batch = AllPairs()(answers([1, 0, 0, 1], [1, 1], [0.5, 0, 1], acc=[1.0, 0, 0, 1, 1, 1, NAN, 0, 1]))
    assert learned(batch) == [0, 1, 2, 3, 7, 8]
    assert batch.pair is not None
    assert batch.pair.tolist() == [0, 0, 0, 0, -1, -1, -1, 1, 1]
    batch = replace(batch, token=torch.arange(batch.num_tokens), ref_logp=torch.zeros(batch.num_tokens))
    batch = take(batch, torch.tensor([0, 1, 2, 3, 7, 8]))
    preferred, other = pairs_of(batch)
    assert preferred.tolist() == [0, 0, 3, 3, 5]
    assert other.tolist() == [1, 2, 1, 2, 4]
    size = torch.tensor([0.0, 1, 2, 3, 0, 2], dtype=torch.float64)  # of the answers, on their last tokens
    logp = column_of(batch, [[0, float(total)] for total in size])
    value, gradient = value_and_gradient(Term(DPO(beta=1), PairMean()), batch, {"logp": logp})
    margins = [0 - 1, 0 - 2, 3 - 1, 3 - 2, 2 - 0]
    assert value == pytest.approx(sum(math.log1p(math.exp(-margin)) for margin in margins) / 5)
    slopes = [-1 / (1 + math.exp(margin)) / 5 for margin in margins]
    expected = [slopes[0] + slopes[1], -slopes[0] - slopes[2], -slopes[1] - slopes[3], slopes[2] + slopes[3]]
    last = [-slopes[4], slopes[4]]
    assert gradient[batch.is_action].tolist() == pytest.approx([g for g in expected + last for _ in range(2)])
    by_prompt = PairMean("prompt")(batch, batch.trained)
    assert by_prompt[batch.is_action].tolist() == pytest.approx([1 / 8] * 8 + [1 / 2] * 4)


# Groups with spread


def test_groups_of_equal_rewards_are_left_out():
    batch = Varied()(answers([1, 1], [0, 1], [0, 0], [2, 1, 2], valid=[True] * 6 + [True, False, True]))
    assert learned(batch) == [2, 3]


@pytest.mark.parametrize("part", [AllPairs(), BestOf(), BestWorst(), CorrectOf(), Varied()])
def test_nothing_to_learn_is_an_empty_selection(part):
    """And the sequences stay where they are."""
    for batch in (answers([0, 0], [0, 0]), answers([0, 1], valid=[False, False])):
        arranged = part(batch)
        assert learned(arranged) == []
        assert (arranged.token == batch.token).all()
        assert (arranged.offset == batch.offset).all()
