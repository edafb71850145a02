import math

import numpy as np
import pytest

from menon.rollout.fork import fork, prefix_values
from menon.rollout.groups import Groups, answer
from menon.types import Request, Rollout, Sampling, Verdict
from scripted import Bound, Queue, ScriptedSampler, complete, is_gold, question

SAMPLING = Sampling(max_new_tokens=10)


def written(text, sample=0, visit=0, index=0):
    return Rollout.of(
        complete(Request(question(index, answer="3+4=7"), SAMPLING, sample, visit), text), group=0
    )


def test_a_fork_goes_on_from_its_prefix_within_what_is_left():
    requests = fork(written("3+4=8"), 4, 2, SAMPLING)
    assert [request.prefix.tolist() for request in requests] == [[ord(c) for c in "3+4="]] * 2
    assert [request.sampling.max_new_tokens for request in requests] == [6, 6]
    assert requests[0].path != requests[1].path


def test_a_forked_answer_is_graded_whole():
    sampler = ScriptedSampler(lambda request: "7")
    seen = []

    def grade(rollout):
        seen.append(rollout.text)
        return is_gold(rollout)

    [graded] = answer(fork(written("3+4=8"), 4, 1, SAMPLING), [0], sampler, grade)
    assert seen == ["3+4=7"]
    assert graded.verdict.score == 1
    assert graded.rollout.is_action.sum() == 2  # the new digit and the end token; the prefix is given
    assert graded.rollout.tokens.tolist() == [ord(c) for c in "q0=3+4=7"] + [0]


def test_a_forks_stream_is_named_by_visit_and_prefix_not_by_the_sample_that_was_cut():
    def name(rollout, cut):
        request = fork(rollout, cut, 1, SAMPLING)[0]
        return request.purpose, request.sample, request.visit, request.path

    assert name(written("3+4=8", sample=0), 4) == name(written("3+4=9", sample=5), 4)
    assert name(written("3+4=8"), 4) != name(written("3+5=8"), 4)
    assert name(written("3+4=8"), 4) != name(written("3+4=8"), 3)
    assert name(written("3+4=8"), 4) != name(written("3+4=8", visit=1), 4)


def test_prefix_values_are_the_mean_scores_of_the_continuations():
    # From "3+4=" the right digit comes in 3 of 4 continuations, from "3+5=" never, from nothing in 1 of 4.
    rates = {"3+4=": 3, "3+5=": 0, "": 1}

    def script(request):
        prefix = "".join(map(chr, request.prefix))
        return "3+4=7"[len(prefix) :] if request.path[1] < rates[prefix] else "?"

    values = prefix_values(
        [written("3+4=8"), written("3+5=8", 1)], [[0, 4], [4]], 4, ScriptedSampler(script), is_gold, SAMPLING
    )
    assert values == [[0.25, 0.75], [0.0]]


def test_equal_prefixes_are_computed_once():
    sampler = ScriptedSampler(lambda request: "7")
    same = [written("3+4=8", 0), written("3+4=9", 1), written("3+4=8", 0, visit=1)]
    values = prefix_values(same, [[4, 4], [4], [4]], 3, sampler, is_gold, SAMPLING)
    assert values == [[1.0, 1.0], [1.0], [1.0]]
    assert len(sampler.asked) == 6  # three for the first visit, three for the second


def test_equal_prefixes_of_two_prompts_are_not_mixed_up():
    sampler = ScriptedSampler(lambda request: "7" if request.prompt.index == 0 else "8")
    values = prefix_values(
        [written("3+4=8"), written("3+4=8", index=1)], [[4], [4]], 2, sampler, is_gold, SAMPLING
    )
    assert values == [[1.0], [0.0]]


def test_failed_grades_are_left_out_and_nothing_left_is_nan():
    def grade(rollout):
        broken = Verdict(math.nan, math.nan, error="boom")
        return broken if rollout.text.startswith("!") or rollout.text == "3+4=!" else is_gold(rollout)

    sampler = ScriptedSampler(lambda request: "7" if request.path[1] == 0 else "!")
    [[value]] = prefix_values([written("3+4=8")], [[4]], 2, sampler, grade, SAMPLING)
    assert value == 1
    [[value]] = prefix_values([written("3+4=8")], [[0]], 1, ScriptedSampler(lambda r: "!"), grade, SAMPLING)
    assert np.isnan(value)


def test_rollouts_of_a_step_can_be_forked_at_any_place():
    graded, _ = Bound(Groups(), 1, 2, SAMPLING)(
        Queue(), ScriptedSampler(lambda request: "7" * (request.sample + 1)), is_gold
    )
    values = prefix_values(
        [g.rollout for g in graded], [[0, 1], [0, 2]], 1, ScriptedSampler(lambda r: "7"), is_gold, SAMPLING
    )
    assert values == [[1.0, 0.0], [1.0, 0.0]]  # "7" is right, "77" and "777" are not


@pytest.mark.parametrize("cut", [-1, 6, 7])
def test_a_cut_outside_of_the_answer_is_refused(cut):
    with pytest.raises(ValueError, match="an answer of 6 tokens cannot be cut"):
        fork(written("3+4=8"), cut, 1, SAMPLING)
