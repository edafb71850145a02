import math

import numpy as np
import pytest

from menon.errors import UserError
from menon.rollout.partition import CutPoints, EqualParts, FixedTokens, Lines
from menon.types import Request, Rollout, Sampling
from scripted import complete, question

P = [0.99, 0.5, 0.95, 0.2, 0.97, 0.85, 0.99, 0.3, 0.6]


def written(text, room=20, logp=None):
    rollout = Rollout.of(complete(Request(question(0), Sampling(room)), text), group=0)
    if logp is not None:
        rollout.logp[3:] = np.log(logp)
    return rollout


@pytest.mark.parametrize(("interval", "cuts"), [(1, [1, 3, 5, 7, 8]), (2, [1, 5, 8]), (5, [1]), (100, [1])])
def test_cut_points_of_the_spec(interval, cuts):
    """Example of docs/numerics.md, 19.6: tokens 1, 3, 5, 7 and 8 are uncertain; a cut keeps what is before
    one."""
    assert CutPoints(interval)(written("12345678", logp=P)) == cuts


def test_an_uncertain_first_token_cuts_at_the_prompt():
    assert CutPoints(2)(written("12345678", logp=[0.5, *P[1:]])) == [0, 3, 7]


def test_a_probability_of_the_threshold_is_certain():
    assert CutPoints(1, 0.9)(written("12", logp=[0.9, 0.899, 0.91])) == [1]


def test_no_token_under_the_threshold():
    assert CutPoints(1)(written("12", logp=[1, 0.95, 1])) == []


def test_fixed_tokens():
    """Eight letters and the end token."""
    assert FixedTokens(3)(written("12345678")) == [0, 3, 6]
    assert FixedTokens(4)(written("12345678")) == [0, 4, 8]
    assert FixedTokens(9)(written("12345678")) == [0]


def test_equal_parts():
    """Nine tokens in four parts: 3, 2, 2, 2; two tokens have but one place to cut."""
    assert EqualParts(4)(written("12345678")) == [3, 5, 7]
    assert EqualParts(4)(written("1")) == [1]
    assert EqualParts(1)(written("12345678")) == []


@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        ("1+2=3\n#3", [0, 6]),
        ("1\n2\n3", [0, 2, 4]),
        ("1\n\n2", [0, 3]),
        ("12\n", [0]),  # the end token alone is no step
        ("", [0]),
    ],
)
def test_lines(text, cuts):
    assert Lines({ord("\n")})(written(text)) == cuts


def test_a_line_that_the_limit_cut():
    assert Lines({ord("\n")})(written("1\n2345", room=4)) == [0, 2]
    assert Lines({ord("\n")})(written("12\n345", room=3)) == [0]


def test_cuts_leave_a_token_to_write():
    for partition in (CutPoints(1), FixedTokens(1), EqualParts(50), Lines({ord("\n")})):
        for text in ("", "1", "1\n2\n3"):
            rollout = written(text)
            assert all(0 <= cut < len(text) + 1 for cut in partition(rollout)), (partition, text)
            assert partition(rollout) == sorted(set(partition(rollout)))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: CutPoints(0), "interval is 0"),
        (lambda: CutPoints(threshold=0), "threshold is 0; it is a probability"),
        (lambda: CutPoints(threshold=math.inf), "threshold is inf"),
        (lambda: FixedTokens(0), "segment_tokens is 0"),
        (lambda: EqualParts(0), "parts is 0"),
    ],
)
def test_refused(made, said):
    with pytest.raises(UserError, match=said):
        made()
