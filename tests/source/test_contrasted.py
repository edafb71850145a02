"""Given answers beside written ones: what is asked of the writer, what a step holds, and how it goes on."""

import numpy as np
import pytest

from menon.errors import UserError
from menon.source.contrasted import Beside, Contrasted, answer_in, first
from menon.source.rows import Rows
from menon.types import Example


def example(tokens: list[int], learned: list[int], group: int = 0) -> Example:
    return Example(np.array(tokens, dtype=np.int32), np.array(learned, dtype=bool), group)


ROWS = [
    (example([1, 2, 7, 8], [0, 0, 1, 1], 0),),
    (example([1, 3, 7], [0, 0, 1], 1),),
    (example([1, 4, 5, 6, 9, 2], [0, 1, 0, 1, 1, 0], 2),),
]


class Longer:
    """Puts beside a row what stood there, and the number of its visit."""

    def __init__(self) -> None:
        self.asked: list[Beside] = []

    def __call__(self, asked):
        self.asked += asked
        return [np.append(one.answer, np.int32(50 + one.visits)) for one in asked]


def test_an_answer_is_the_last_that_is_learned():
    """Of the third row tokens 3 and 4; what a template puts after it is left out."""
    assert [answer_in(row[0]) for row in ROWS] == [(2, 4), (2, 3), (3, 5)]
    beside = first(2, *ROWS[2])
    assert (beside.prompt.tolist(), beside.answer.tolist(), beside.visits) == ([1, 4, 5], [6, 9], 0)


def test_a_step_holds_pairs_and_a_row_goes_on_from_what_stood_beside_it():
    write = Longer()
    source = Contrasted(Rows(ROWS, 3, seed=None), write)
    batch = source.next().batch
    assert batch.pair.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.acc.tolist() == [1, 0, 1, 0, 1, 0]
    assert batch.group.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.token[int(batch.offset[4]) :].tolist() == [1, 4, 5, 6, 9, 1, 4, 5, 6, 9, 50]
    assert (
        batch.is_action[int(batch.offset[4]) :].tolist()
        == [False] * 3 + [True] * 2 + [False] * 3 + [True] * 3
    )
    second = source.next().batch
    assert second.token[: int(second.offset[2])].tolist() == [1, 2, 7, 8, 1, 2, 7, 8, 50, 51]
    assert [one.visits for one in write.asked] == [0, 0, 0, 1, 1, 1]


def test_a_row_that_comes_twice_in_a_step_is_written_once():
    write = Longer()
    batch = Contrasted(Rows(ROWS[:2], 3, seed=None), write).next().batch
    assert [one.row for one in write.asked] == [0, 1]
    assert batch.token[int(batch.offset[5]) :].tolist() == [1, 2, 7, 8, 50]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_source_goes_on_from_its_state(steps):
    whole, again = (Contrasted(Rows(ROWS, 2, seed=4), Longer()) for _ in range(2))
    for _ in range(steps):
        whole.next()
    again.load(whole.state())
    for _ in range(3):
        left, right = whole.next().batch, again.next().batch
        assert left.token.tolist() == right.token.tolist()
        assert left.offset.tolist() == right.offset.tolist()
    other = Contrasted(Rows(ROWS[:2], 2, seed=4), Longer())
    with pytest.raises(UserError, match="not those that this run began with"):
        other.load(whole.state())
