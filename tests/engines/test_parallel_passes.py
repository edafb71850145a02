import threading

import pytest
import torch

from menon.engines.parallel_passes import side_by_side
from menon.errors import UserError


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_are_taken_in_the_order_of_the_parts(workers):
    delay = threading.Event()
    found: list[int] = []

    def run(part: int) -> int:
        if workers > 1 and part == 0:
            assert delay.wait(10)  # the first is done last
        if part == 1:
            delay.set()
        return part * part

    side_by_side(run, range(8), workers, found.append)
    assert found == [part * part for part in range(8)]


def test_as_many_run_at_a_time_as_there_are_workers_and_each_has_one_thread():
    torch.set_num_threads(3)
    meet = threading.Barrier(3, timeout=10)
    threads: list[tuple[int, str]] = []

    def run(part: int) -> tuple[int, str]:
        meet.wait()
        return torch.get_num_threads(), threading.current_thread().name

    side_by_side(run, range(6), 3, threads.append)
    assert {count for count, _ in threads} == {1}
    assert len({name for _, name in threads}) == 3
    assert torch.get_num_threads() == 3


def test_results_do_not_pile_up():
    """While the first is not taken, two workers begin no more than three parts."""
    begun: list[int] = []
    free = threading.Event()

    def run(part: int) -> int:
        begun.append(part)
        if part == 2:
            free.set()
        return part

    def take(part: int) -> None:
        if part == 0:
            assert free.wait(10)
            assert len(begun) == 3

    side_by_side(run, range(9), 2, take)
    assert sorted(begun) == list(range(9))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_through_and_nothing_is_left_behind(workers):
    torch.set_num_threads(2)
    before = threading.active_count()
    taken: list[int] = []

    def run(part: int) -> int:
        if part == 3:
            raise UserError("the fourth is wrong; fix it")
        return part

    with pytest.raises(UserError, match=r"^the fourth is wrong; fix it$"):
        side_by_side(run, range(100), workers, taken.append)
    assert taken == [0, 1, 2]
    assert threading.active_count() == before
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_of_nothing(workers):
    side_by_side(lambda part: part, [], workers, lambda _: pytest.fail("nothing to take"))
