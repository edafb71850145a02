"""Several sources in exact proportions."""

import pytest

from menon.errors import UserError
from menon.source.mixed import Mixed
from menon.source.queued import Queued
from menon.source.rows import Rows
from sources import Watched, examples, report, rows_in


def mixed(weights: dict[str, float]) -> Mixed:
    return Mixed({name: Watched(Rows(examples(5), 2, seed=n)) for n, name in enumerate(weights)}, weights)


def drive(source: Mixed, steps: int) -> list[list[int]]:
    found = []
    for step in range(1, steps + 1):
        gathered = source.next()
        found.append(rows_in(gathered))
        source.learned(report(step, gathered))
        source.published(step)
    return found


@pytest.mark.parametrize(
    ("weights", "period", "counts"),
    [
        ({"a": 3, "b": 1}, 4, [3, 1]),
        ({"a": 1, "b": 1}, 2, [1, 1]),
        ({"a": 0.2, "b": 0.5, "c": 0.3}, 10, [2, 5, 3]),
    ],
)
def test_each_period_has_exactly_its_share(weights, period, counts):
    source = mixed(weights)
    for number in range(1, 4):
        drive(source, period)
        assert list(source.state()["taken"].values()) == [number * count for count in counts]


def test_no_prefix_is_off_by_a_whole_step_for_two_sources():
    """After n steps each has had its share of them, give or take one."""
    source = mixed({"a": 5, "b": 2})
    for steps in range(1, 50):
        drive(source, 1)
        taken = source.state()["taken"]
        assert abs(taken["a"] - 5 / 7 * steps) < 1
        assert sum(taken.values()) == steps


def test_only_the_source_of_a_step_hears_what_was_learned_and_all_hear_of_new_weights():
    source = mixed({"a": 2, "b": 1})
    drive(source, 3)
    a, b = source.sources.values()
    assert (a.calls.count("next"), a.calls.count("learned")) == (2, 2)
    assert (b.calls.count("next"), b.calls.count("learned")) == (1, 1)
    for each in (a, b):
        assert [call for call in each.calls if call.startswith("published")] == [
            f"published {n}" for n in (1, 2, 3)
        ]
    source.close()
    assert a.calls[-1] == b.calls[-1] == "close"


def test_in_a_queue_each_report_still_goes_to_its_own_source():
    """Both are asked ahead of what is learned, so the last one asked is not the one that is learned."""
    inner = mixed({"a": 1, "b": 1})
    queue = Queued(inner, staleness=1)
    steps = {}
    for step in range(1, 7):
        gathered = queue.next()
        steps[step] = gathered
        queue.learned(report(step, gathered))
        queue.published(step)
    queue.close()
    assert [r.step for r in inner.sources["a"].reports] == [1, 3, 5]
    assert [r.step for r in inner.sources["b"].reports] == [2, 4, 6]


@pytest.mark.parametrize("stop", range(1, 8))
def test_resume_equals_never_having_stopped(stop):
    weights = {"a": 3, "b": 1}
    expected = drive(mixed(weights), 8)
    first, again = mixed(weights), mixed(weights)
    found = drive(first, stop)
    again.load(first.state())
    assert found + drive(again, 8 - stop) == expected


def test_what_cannot_be_is_refused():
    rows = Rows(examples(2), 1)
    with pytest.raises(UserError, match="one weight for each source; 'b' lacks"):
        Mixed({"a": rows}, {"a": 1, "b": 1})
    with pytest.raises(UserError, match="'none' lacks"):
        Mixed({}, {})
    for weight in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="weights of a mixture must be positive numbers"):
            Mixed({"a": rows}, {"a": weight})
    with pytest.raises(
        UserError, match=r"'a' of a mixture writes ahead, .* put the queue around the mixture"
    ):
        Mixed({"a": Queued(rows, staleness=1)}, {"a": 1})
    Mixed({"a": Queued(rows)}, {"a": 1})


def test_another_mixture_is_refused():
    state = mixed({"a": 1, "b": 1}).state()
    with pytest.raises(
        UserError, match=r"this run began with another mixture \('b'\); put it back, or start a new run"
    ):
        mixed({"a": 1}).load(state)
