import threading

import pytest

from menon.rollout.grade_async import judge_aside
from menon.rollout.groups import Groups
from menon.rollout.protocols import GradeAll
from scripted import Bound, Queue, ScriptedSampler, is_gold

PATIENCE = 20.0
"""Seconds; nobody waits so long unless something is broken."""


class Waiting(ScriptedSampler):
    """Writes its next answer only when the last one has been graded."""

    def __init__(self, graded):
        super().__init__(lambda request: str(request.sample))
        self.graded = graded

    def write(self, requests):
        for completion in super().write(requests):
            yield completion
            assert self.graded.acquire(timeout=PATIENCE), "nothing is graded while the sampler writes"


def test_answers_are_graded_while_others_are_written_and_keep_their_order():
    graded = threading.Semaphore(0)

    def grade(rollout):
        graded.release()
        return is_gold(rollout)

    answers, _ = Bound(Groups(), 2, 3)(Queue(), Waiting(graded), grade)
    assert [(a.rollout.group, a.rollout.sample) for a in answers] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    assert [a.verdict.score for a in answers] == [is_gold(a.rollout).score for a in answers]


def test_the_sampler_does_not_wait_for_a_slow_grader():
    written = threading.Event()

    class Fast(ScriptedSampler):
        def write(self, requests):
            yield from super().write(requests)
            written.set()

    def grade(rollout):
        assert written.wait(PATIENCE), "the sampler waits for the grader"
        return is_gold(rollout)

    assert len(Bound(Groups(), 1, 4)(Queue(), Fast(lambda request: ""), grade)[0]) == 4


class Many:
    """A grader of many at once, which notes how many."""

    def __init__(self, apart):
        self.apart, self.calls, self.graded = apart, [], threading.Semaphore(0)

    def __call__(self, rollout):
        raise AssertionError("one by one")

    def grade_all(self, rollouts):
        self.calls.append(len(rollouts))
        self.graded.release(len(rollouts))
        return [is_gold(rollout) for rollout in rollouts]


def test_a_grader_of_many_gets_all_at_once_unless_its_verdicts_stand_apart():
    together, apart = Many(False), Many(True)
    assert isinstance(together, GradeAll)
    one, _ = Bound(Groups(), 2, 2)(Queue(), ScriptedSampler(lambda request: str(request.sample)), together)
    other, _ = Bound(Groups(), 2, 2)(Queue(), Waiting(apart.graded), apart)
    assert together.calls == [4]
    assert apart.calls == [1, 1, 1, 1]
    assert [a.verdict for a in one] == [a.verdict for a in other]


def test_errors_of_both_sides_are_raised():
    def broken(rollouts):
        raise ZeroDivisionError("a grader's own")

    def endless():
        place = 0
        while True:
            yield place, None
            place += 1

    with pytest.raises(ZeroDivisionError, match="a grader's own"):
        judge_aside(endless(), broken)  # and the writing ends

    def failing():
        yield 0, "text"
        raise RuntimeError("a sampler's own")

    with pytest.raises(RuntimeError, match="a sampler's own"):
        judge_aside(failing(), lambda rollouts: ["verdict"] * len(rollouts))
    assert judge_aside(iter(()), broken) == ({}, {})
