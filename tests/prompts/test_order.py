import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from menon.errors import UserError
from menon.prompts.order import ByDifficulty, Shuffled, Unsolved
from menon.types import Graded, Prompt, Verdict


def prompts(count):
    return [Prompt(i, np.array([i], dtype=np.int32), str(i)) for i in range(count)]


def names(taken):
    return [(prompt.index, visit) for prompt, visit in taken]


def test_every_epoch_asks_every_prompt_once_in_another_order():
    order = Shuffled(prompts(50), seed=3)
    epochs = [names(order.take(50)) for _ in range(3)]
    for number, epoch in enumerate(epochs):
        assert sorted(index for index, _ in epoch) == list(range(50))
        assert {visit for _, visit in epoch} == {number}
    assert len({tuple(index for index, _ in epoch) for epoch in epochs}) == 3


def test_the_order_does_not_depend_on_how_much_is_taken_at_a_time():
    one, many = Shuffled(prompts(7), seed=0), Shuffled(prompts(7), seed=0)
    assert [name for _ in range(20) for name in names(one.take(1))] == names(many.take(20))


def test_seeds_differ():
    assert names(Shuffled(prompts(50), seed=0).take(50)) != names(Shuffled(prompts(50), seed=1).take(50))


def test_more_prompts_than_rows_wrap_into_the_next_epochs():
    taken = names(Shuffled(prompts(3), seed=0).take(8))
    assert [visit for _, visit in taken] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert len(set(taken)) == 8


@pytest.mark.parametrize("stopped", [0, 3, 10, 17])
def test_a_loaded_state_goes_on_like_the_unbroken_one(stopped):
    unbroken = Shuffled(prompts(10), seed=5)
    unbroken.take(stopped)
    resumed = Shuffled(prompts(10), seed=5)
    resumed.load(json.loads(json.dumps(unbroken.state())))
    assert names(resumed.take(25)) == names(unbroken.take(25))
    assert resumed.state() == unbroken.state()


def test_other_data_and_no_data_are_refused():
    state = Shuffled(prompts(10), seed=5).state()
    with pytest.raises(UserError, match="asked from 10 questions and this data set has 9"):
        Shuffled(prompts(9), seed=5).load(state)
    with pytest.raises(UserError, match="no question to ask"):
        Shuffled([], seed=0)


def answers(*accs: tuple[int, float]) -> list[Any]:
    """(prompt's index, correctness)."""
    by_index = {prompt.index: prompt for prompt in prompts(60)}
    return [Graded(SimpleNamespace(prompt=by_index[i]), Verdict(acc, acc)) for i, acc in accs]  # type: ignore[arg-type]


def test_solved_questions_are_not_asked_again():
    """9 of 10 right is solved, 8 of 10 and the unknown are not; later epochs keep the order of the others."""
    order, plain = Unsolved(prompts(4), seed=2), Shuffled(prompts(4), seed=2)
    assert names(order.take(4)) == names(plain.take(4))
    order.note(answers((0, 0.0), *[(0, 1.0)] * 9, *[(1, 1.0)] * 8, (1, 0.0), (1, 0.0), (2, float("nan"))))
    left = [name for name in names(plain.take(8)) if name[0] != 0]
    assert names(order.take(5)) == left[:5]
    assert names(order.take(1)) == left[5:6]
    order.note(answers((1, 1.0), (2, 1.0)))
    assert {index for index, _ in names(order.take(3))} == {3}
    order.note(answers((3, 1.0)))  # none is left
    assert {index for index, _ in names(order.take(8))} == {0, 1, 2, 3}


def test_a_loaded_state_still_leaves_the_solved_out():
    unbroken, resumed = Unsolved(prompts(5), seed=1), Unsolved(prompts(5), seed=1)
    unbroken.take(3)
    unbroken.note(answers((0, 1.0), (3, 1.0), (4, 0.0)))
    resumed.load(json.loads(json.dumps(unbroken.state())))
    assert names(resumed.take(9)) == names(unbroken.take(9))
    assert resumed.state() == unbroken.state()


def test_what_is_answered_wrong_comes_more_often():
    """Rates 1, .5, 0: weights .05, .5, 1, so first places .0323, .3226 and .6452 of the time; 3000 draws,
    three deviations."""
    order = ByDifficulty(prompts(3), seed=0)
    order.note(answers((0, 1.0), (1, 1.0), (1, 0.0), (2, 0.0)))
    first = [order.take(1)[0][0].index for _ in range(3000)]
    for index, share in enumerate((0.05 / 1.55, 0.5 / 1.55, 1 / 1.55)):
        assert first.count(index) / 3000 == pytest.approx(share, abs=3 * (share * (1 - share) / 3000) ** 0.5)


def test_the_last_time_counts_and_the_unknown_does_not():
    order = ByDifficulty(prompts(3), seed=0)
    order.note(answers((0, 1.0), (0, 1.0), (1, float("nan"))))
    assert order.rates == {"0": 1.0}
    order.note(answers((0, 0.0), (0, 1.0)))
    order.note(answers((0, 0.0), (0, 1.0)))
    assert order.rates == {"0": 0.5}


def test_by_difficulty_nothing_twice_before_everything_once():
    taken = ByDifficulty(prompts(5), seed=0).take(12)
    assert sorted(prompt.index for prompt, _ in taken[:5]) == list(range(5))
    assert sorted(visit for _, visit in taken) == [0] * 5 + [1] * 5 + [2] * 2


def test_by_difficulty_a_loaded_state_goes_on_like_the_unbroken_one():
    unbroken, resumed = ByDifficulty(prompts(10), seed=5), ByDifficulty(prompts(10), seed=5)
    unbroken.take(7)
    unbroken.note(answers(*((i, float(i % 2)) for i in range(10))))
    resumed.load(json.loads(json.dumps(unbroken.state())))
    assert names(resumed.take(25)) == names(unbroken.take(25))
    assert resumed.state() == unbroken.state()
