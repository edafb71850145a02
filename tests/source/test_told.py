"""A source that tells somebody each step: the last one told is the step that is learned from."""

from dataclasses import replace

from menon.source.queued import Queued
from menon.source.rows import Rows
from menon.source.told import Told
from sources import examples, report, rows_in


def test_a_step_is_told_when_it_is_learned_from():
    heard: list[list[int]] = []

    def tell(gathered):
        heard.append(rows_in(gathered))
        return replace(gathered, waited=9.0)

    source = Told(Queued(Rows(examples(6), 2, seed=None), 2), tell)  # two steps are written ahead
    for step in (1, 2):
        gathered = source.next()
        assert gathered.waited == 9
        assert heard == [[0, 1], [2, 3]][:step]
        source.learned(report(step, gathered))
        source.published(step)
    state = source.state()
    source.close()
    again = Told(Rows(examples(6), 2, seed=None), tell)
    again.load(state)
    assert rows_in(again.next()) == [4, 5]
