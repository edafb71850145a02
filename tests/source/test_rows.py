"""Rows that are there: every one once per epoch, in an order with a name, from any step on."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from menon.errors import UserError
from menon.source.rows import Corpus, Rows, fingerprint_of
from menon.streams import stream
from menon.types import Example
from sources import examples, rows_in


def test_every_row_once_per_epoch():
    """7 rows, 3 a step: 21 places are three epochs."""
    source = Rows(examples(7), 3, seed=5)
    seen = [row for _ in range(7) for row in rows_in(source.next())]
    for epoch in range(3):
        mine = seen[7 * epoch : 7 * epoch + 7]
        assert sorted(mine) == list(range(7))
        assert mine == stream(5, "rows", epoch).permutation(7).tolist()


def test_the_rows_that_come_first_are_those_of_the_first_steps():
    """At any time of the run, and not more than there are."""
    source = Rows(examples(7), 3, seed=5)
    first = [row for _ in range(2) for row in rows_in(source.next())]
    for step in range(4):
        found = [int(row[0].tokens[1]) - 10 for row in source.first(6)]
        assert found == first, step
        source.next()
    assert len(source.first(99)) == 7


def test_more_rows_a_step_than_there_are():
    assert Counter(rows_in(Rows(examples(3), 7, seed=1).next())).most_common()[-1][1] == 2


def test_the_order_of_the_rows_themselves():
    source = Rows(examples(4), 3, seed=None)
    assert [rows_in(source.next()) for _ in range(3)] == [[0, 1, 2], [3, 0, 1], [2, 3, 0]]


def test_a_step_holds_what_the_rows_say():
    gathered = Rows(examples(3), 3, seed=None).next()
    batch = gathered.batch
    assert batch.token.tolist() == [5, 10, 10, 5, 11, 11, 5, 12, 12]
    assert batch.trained.tolist() == [False, True, True] * 3
    assert batch.reward.tolist() == [0, 0, 0, 0, 0, 0.5, 0, 0, 1]
    assert batch.group.tolist() == [0, 1, 2]
    assert batch.behaviour_logp is None
    assert gathered.graded == ()


@pytest.mark.parametrize("stop", range(8))
def test_stopped_at_any_step_it_goes_on_as_if_it_had_not_been(stop):
    whole = Rows(examples(7), 3, seed=5)
    expected = [rows_in(whole.next()) for _ in range(8)]
    first, again = Rows(examples(7), 3, seed=5), Rows(examples(7), 3, seed=5)
    found = [rows_in(first.next()) for _ in range(stop)]
    again.load(first.state())
    assert found + [rows_in(again.next()) for _ in range(8 - stop)] == expected


def with_last(rows: list[tuple[Example]], **changes) -> tuple[Example]:
    return (replace(rows[-1][0], **changes),)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[::-1],
        lambda rows: rows[:-1],
        lambda rows: [*rows[:-1], with_last(rows, tokens=np.array([5, 9, 9], dtype=np.int32))],
        lambda rows: [*rows[:-1], with_last(rows, is_action=np.array([False, False, True]))],
        lambda rows: [*rows[:-1], with_last(rows, score=1.0)],
        lambda rows: [*rows[:-1], with_last(rows, group=0)],
        lambda rows: [*rows[:-1], with_last(rows, acc=1.0)],
    ],
    ids=["order", "fewer", "tokens", "mask", "score", "group", "acc"],
)
def test_changed_rows_are_refused(change):
    state = Rows(examples(4), 2).state()
    changed = Rows(change(examples(4)), 2)
    with pytest.raises(
        UserError, match=r"^the rows are not those that this run began with; put the old ones back"
    ):
        changed.load(state)
    Rows(examples(4), 2).load(state)


def test_where_a_row_ends_is_part_of_its_fingerprint():
    one, two = (
        [
            (replace(row, tokens=np.array(t, dtype=np.int32), is_action=np.ones(len(t), dtype=bool)),)
            for (row,), t in zip(examples(2), tokens, strict=True)
        ]
        for tokens in (([1, 2], [3]), ([1], [2, 3]))
    )
    assert fingerprint_of(one) != fingerprint_of(two)


def test_nothing_to_learn_from_is_refused():
    for rows, per_step in ((0, 1), (1, 0)):
        with pytest.raises(UserError, match=f"{rows} rows and {per_step} rows a step; .* at least 1 of each"):
            Rows(examples(rows), per_step)


class TestCorpus:
    def steps(self):
        """Step n holds rows 2n and 2n + 1."""
        rows = [example for (example,) in examples(20)]
        return iter([rows[2 * n : 2 * n + 2] for n in range(10)])

    @pytest.mark.parametrize("stop", [0, 1, 4])
    def test_goes_on_at_any_step(self, stop):
        first, again = Corpus(self.steps, "a"), Corpus(self.steps, "a")
        for n in range(stop):
            assert rows_in(first.next()) == [2 * n, 2 * n + 1]
        again.load(first.state())
        assert rows_in(again.next()) == [2 * stop, 2 * stop + 1]
        assert torch.equal(
            again.next().batch.token,
            Corpus(self.steps, "a").next().batch.token + torch.tensor([0, 2 * stop + 2, 2 * stop + 2] * 2),
        )
        assert again.state() == {"taken": stop + 2, "name": "a"}

    def test_another_corpus_is_refused(self):
        with pytest.raises(
            UserError, match=r"^the corpus is not the one that this run began with; put the old set"
        ):
            Corpus(self.steps, "b").load(Corpus(self.steps, "a").state())


def test_the_pairs_of_a_prompt_come_together():
    """Pairs 0 and 3 ask one thing, and 1, 4 and 5 another: each stands where its first one would."""
    groups = [0, 1, 2, 0, 1, 1, 6]
    rows = [(replace(row[0], group=group),) * 2 for row, group in zip(examples(7), groups, strict=True)]
    source = Rows(rows, 7, seed=5)
    seen = source.next().batch.group[::2].tolist()
    order = [groups[row] for row in stream(5, "rows", 0).permutation(7)]
    assert seen == [group for group in dict.fromkeys(order) for _ in range(groups.count(group))]
    assert seen != order
