"""Whole answers from a script, cut and valued, up to the advantage of each token."""

import math
from dataclasses import replace

import numpy as np
import pytest

from menon.advantage import SegmentCredit, Whiten
from menon.batch import pack
from menon.errors import UserError
from menon.rollout.partition import CutPoints, FixedTokens, Lines
from menon.rollout.protocols import GradeAll
from menon.rollout.segments import Segments, fill_backwards, finished_only
from menon.types import Estimate, Request, Rollout, Sampling, Verdict
from scripted import Bound, Queue, ScriptedSampler, complete, question

SAMPLING = Sampling(max_new_tokens=12)
P = {"3": 0.99, "+": 0.5, "4": 0.95, "=": 0.2, "7": 0.97, "8": 0.6, "\x00": 0.99}
"""Probability of each letter: + and = and 8 are uncertain."""


class Sure(ScriptedSampler):
    """With the probabilities of `P`."""

    def write(self, requests):
        for completion in super().write(requests):
            completion.logp[:] = [math.log(P[chr(token)]) for token in completion.tokens]
            yield completion


RIGHT = {"3": 2, "3+4": 1, "": 3, "3+4=": 2}
"""Of four continuations from a prefix, the first so many are right."""


def script(request: Request) -> str:
    if not len(request.prefix):
        return "3+4=8" if request.sample else "3+4=7"
    prefix = "".join(map(chr, request.prefix))
    return "3+4=7"[len(prefix) :] if request.path[1] < RIGHT[prefix] else "8"


def sums(rollout: Rollout) -> Verdict:
    right = float(rollout.text == "3+4=7")
    return Verdict(right, right)


def collected(partition, sampler=None, grade=sums, k=4, **settings):
    sampler = sampler or Sure(script)
    return Bound(Segments(partition, value_samples=k, **settings), 1, 2, SAMPLING)(Queue(), sampler, grade)


def rows(column, batch):
    parts = np.split(column.numpy(), batch.offset.tolist()[1:-1])
    return [part[3:].round(6).tolist() for part in parts]  # behind the prompt


def test_a_chain_token_by_token():
    """Cuts before + and = (interval 1), in the wrong answer before 8 too: V = 2/4, 1/4 and 2/4. 3+4=7<end> is
    right."""
    graded, metrics = collected(CutPoints(1))
    batch = pack(graded)
    credited = SegmentCredit()(batch)
    right, wrong = rows(credited.advantage, batch)
    assert right == [0, -0.25, -0.25, 0.75, 0.75, 0.75]
    assert wrong == [0, -0.25, -0.25, 0.25, -0.5, -0.5]
    masked = SegmentCredit(below=0.9)(batch)
    assert rows(masked.advantage, batch) == [[0, -0.25, 0, 0.75, 0, 0], [0, -0.25, 0, 0.25, -0.5, 0]]
    # Over +, = and +, =, 8: mean 0, sum of squares 1, so a sample variance of .25.
    white = rows(Whiten(below=0.9)(masked).advantage, batch)[0]
    assert white[1] == pytest.approx(-0.5, abs=1e-6)
    assert white[3] == pytest.approx(1.5, abs=1e-6)
    assert float(metrics["segments/states"]) == 3  # equal prefixes once
    assert float(metrics["segments/per_answer"]) == 2.5
    # From "3": two of +4=7<end>, two of 8<end>; from "3+4" one of =7<end>; from "3+4=" two of 7<end>.
    assert float(metrics["segments/generated_tokens"]) == (2 * 5 + 2 * 2) + (3 + 3 * 2) + 4 * 2
    assert float(metrics["tokens/generated"]) == float(metrics["segments/generated_tokens"]) + sum(
        map(len, (right, wrong))
    )


def test_a_fresh_answer_that_was_given_up_says_nothing():
    class Gives(Sure):
        def write(self, requests):
            for completion in super().write(requests):
                path = completion.request.path
                yield replace(completion, finish="abort") if path and path[1] == 3 else completion

    graded, _ = collected(CutPoints(1), Gives(script))
    assert graded[0].rollout.states[4] == Estimate.of([1, 1, 0])  # behind the 3; the fourth was given up


def test_an_interval_of_two_keeps_every_other_cut():
    batch = pack(collected(CutPoints(2))[0])
    assert rows(SegmentCredit()(batch).advantage, batch) == [
        [0, 0.5, 0.5, 0.5, 0.5, 0.5],
        [0, 0, 0, 0, -0.5, -0.5],
    ]


def test_no_token_under_the_threshold():
    sampler = Sure(script)
    graded, metrics = collected(CutPoints(1, threshold=0.1), sampler)
    assert len(sampler.asked) == 2
    batch = pack(graded)
    assert batch.state_value is None
    assert rows(SegmentCredit()(batch).advantage, batch) == [[0] * 6, [0] * 6]
    assert float(metrics["segments/states"]) == 0


def test_fixed_tokens_begin_at_the_prompt():
    """V(prompt) = 3/4, V(3+4) = 1/4. From the prompt the script's answer to sample 0 is right: rates are by
    `path`."""

    def from_the_prompt(request):
        return (
            script(request)
            if len(request.prefix) or not request.path
            else ("3+4=7" if request.path[1] < 3 else "8")
        )

    batch = pack(collected(FixedTokens(3), Sure(from_the_prompt))[0])
    assert rows(SegmentCredit()(batch).advantage, batch) == [
        [-0.5, -0.5, -0.5, 0.75, 0.75, 0.75],
        [-0.5] * 3 + [-0.25] * 3,
    ]


def test_lines_of_vineppo_with_too_few_values():
    """Two values for three lines: V(prompt) = 1/2, V(1\\n) = 1/4; the third line begins with what the answer
    is worth."""
    rates = {"": 2, "1\n": 1}

    def lines(request):
        if not request.path:
            return "1\n2\n3"
        prefix = "".join(map(chr, request.prefix))
        return "3" if request.path[1] < rates[prefix] else "4"

    def ends_with_3(rollout):
        right = float(rollout.text.endswith("3"))
        return Verdict(right, right)

    collect = Bound(Segments(Lines({10}), value_samples=4, max_values=2), 1, 1, SAMPLING)
    graded, _ = collect(Queue(), ScriptedSampler(lines), ends_with_3)
    batch = pack(graded)
    assert rows(SegmentCredit()(batch).advantage, batch) == [[-0.25, -0.25, 0.75, 0.75, 0, 0]]


def test_values_are_filled_in_from_behind():
    known = Estimate(0.5, 0.5, 4)
    assert fill_backwards([known, None, known], 4, 1.0) == [
        known,
        Estimate(0.5, 0, 0),
        known,
        Estimate(1, 0, 0),
    ]
    assert fill_backwards([], 0, 1.0) == []


def test_a_state_whose_graders_all_failed_takes_the_next_value():
    def grade(rollout):
        cut_at_plus = rollout.text.startswith("3+4=7") and rollout.is_action.sum() == 5  # from "3"
        return (
            Verdict(math.nan, math.nan, error="boom")
            if cut_at_plus or rollout.text == "38"
            else sums(rollout)
        )

    graded, metrics = collected(CutPoints(1), grade=grade)
    batch = pack(graded)
    assert rows(SegmentCredit()(batch).advantage, batch)[0] == [0, 0, 0, 0.75, 0.75, 0.75]
    assert float(metrics["segments/unknown"]) == 2  # in either answer


def test_a_truncated_continuation_scores_nothing():
    """What it says would be right, but it never ends."""
    sampler = Sure(lambda request: "3+4=7" if not len(request.prefix) else "+4=7777777777777"[:20])
    graded, _ = Bound(Segments(CutPoints(5), value_samples=2), 1, 1, SAMPLING)(
        Queue(), sampler, lambda rollout: Verdict(1.0, 1.0)
    )
    assert [state.value for state in graded[0].rollout.states.values()] == [0.0]


def test_graders_that_want_all_at_once_get_all_that_ended():
    class Batched:
        asked = 0

        def __call__(self, rollout):
            raise AssertionError

        def grade_all(self, rollouts):
            self.asked += len(rollouts)
            return [sums(rollout) for rollout in rollouts]

    grade = finished_only(Batched())
    assert isinstance(grade, GradeAll)
    ended, cut = (Rollout.of(complete(Request(question(0), Sampling(room)), "3+4=7"), 0) for room in (12, 5))
    assert [verdict.score for verdict in grade.grade_all([cut, ended, cut])] == [0, 1, 0]


@pytest.mark.parametrize(
    ("settings", "said"), [({"k": 0}, "value_samples is 0"), ({"max_values": -1}, "max_values is -1")]
)
def test_refused(settings, said):
    with pytest.raises(UserError, match=said):
        collected(CutPoints(), **settings)
