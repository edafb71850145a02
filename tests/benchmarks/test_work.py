"""The work of a side-by-side measurement is fixed: the same lengths whoever asks, with the mean that the case
is named after."""

import pytest

from side_by_side.work import Work, ragged


@pytest.mark.parametrize(("mean", "count"), [(10, 512), (60, 512), (10, 256), (60, 128)])
def test_lengths_have_the_mean_and_the_range_of_the_case(mean, count):
    lengths = ragged(count, mean)
    assert len(lengths) == count
    assert sum(lengths) / count == pytest.approx(mean, abs=0.05)
    assert min(lengths) >= 1
    assert max(lengths) <= 96
    assert lengths == ragged(count, mean)
    assert lengths != tuple(sorted(lengths))


def test_lengths_by_hand():
    # The mean of 1, 2, 3 is 2 where all weigh the same (w = 1); the mid-quantiles of six are then each length
    # twice.
    assert sorted(ragged(6, 2.0, longest=3)) == [1, 1, 2, 2, 3, 3]


def test_a_small_mean_has_a_tail_and_a_large_one_crowds_at_the_limit():
    short, long = sorted(ragged(512, 10)), sorted(ragged(512, 60))
    # p(n) ~ w^n with mean 10 is nearly geometric: half of it lies below 10 ln 2 = 6.9, and e^-5 of it beyond
    # 50.
    assert short[256] == 7
    assert sum(length > 50 for length in short) == 3
    # For 60 the density rises, so more than half is beyond the mean, and as much lies in the last 16 as in
    # the first 40.
    assert long[256] > 60
    assert sum(length > 80 for length in long) > sum(length <= 32 for length in long)


def test_a_mean_out_of_range_is_refused():
    with pytest.raises(ValueError, match="a mean of 96 is not between 1 and 96"):
        ragged(8, 96)


def test_work_is_told_as_plain_lists():
    work = Work(prompts=((1, 2), (3,)), limits=(4, 5, 6, 7))
    assert (work.samples, work.tokens) == (2, 22)
    assert work.plain() == {"prompts": [[1, 2], [3]], "limits": [4, 5, 6, 7]}
