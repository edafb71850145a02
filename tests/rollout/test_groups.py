import pytest

from menon.errors import UserError
from menon.rollout.groups import Groups
from menon.types import Sampling
from scripted import Bound, Queue, ScriptedSampler, complete, is_gold


def told(request):
    return f"{request.prompt.index}.{request.sample}"


def test_answers_come_in_prompt_then_sample_order_though_they_finish_in_reverse():
    graded, counts = Bound(Groups(), 2, 3)(Queue(), ScriptedSampler(told), is_gold)
    assert [g.rollout.text for g in graded] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert [g.rollout.group for g in graded] == [0, 0, 0, 1, 1, 1]
    assert [g.rollout.sample for g in graded] == [0, 1, 2, 0, 1, 2]
    assert counts == {}


def test_the_next_step_goes_on_where_the_last_one_stopped():
    prompts, sampler = Queue(), ScriptedSampler(told)
    Bound(Groups(), 2, 1)(prompts, sampler, is_gold)
    graded, _ = Bound(Groups(), 2, 1)(prompts, sampler, is_gold)
    assert [g.rollout.text for g in graded] == ["2.0", "3.0"]


def test_verdicts_stay_with_their_answers():
    sampler = ScriptedSampler(lambda request: "7" if request.sample == request.prompt.index else "8")
    graded, _ = Bound(Groups(), 2, 2)(Queue(), sampler, is_gold)
    assert [g.verdict.score for g in graded] == [1, 0, 0, 1]


def test_one_prompt_twice_in_a_step_makes_two_groups_with_their_own_visits():
    class Twice(Queue):
        def take(self, count):
            prompt = super().take(1)[0][0]
            return [(prompt, 0), (prompt, 1)]

    graded, _ = Bound(Groups(), 2, 1)(Twice(), ScriptedSampler(lambda request: str(request.visit)), is_gold)
    assert [(g.rollout.group, g.rollout.visit, g.rollout.text) for g in graded] == [(0, 0, "0"), (1, 1, "1")]


def test_an_empty_and_a_truncated_answer_are_kept():
    graded, _ = Bound(Groups(), 1, 2, Sampling(max_new_tokens=3))(
        Queue(), ScriptedSampler(lambda r: "" if r.sample else "12345"), is_gold
    )
    assert [(g.rollout.text, g.rollout.finish) for g in graded] == [("123", "length"), ("", "stop")]


class Forgetful(ScriptedSampler):
    def write(self, requests):
        yield from list(super().write(requests))[:-1]


class Repeating(ScriptedSampler):
    def write(self, requests):
        for request in requests:
            yield complete(request, "")
            yield complete(request, "")


def test_a_sampler_that_loses_or_repeats_an_answer_is_found_out():
    with pytest.raises(RuntimeError, match="left 1 of 2 requests without an answer"):
        Bound(Groups(), 1, 2)(Queue(), Forgetful(told), is_gold)
    with pytest.raises(RuntimeError, match="not asked or is answered already"):
        Bound(Groups(), 1, 2)(Queue(), Repeating(told), is_gold)


def test_sizes_below_one_are_refused():
    with pytest.raises(UserError, match="at least 1"):
        Bound(Groups(), 0, 4)
