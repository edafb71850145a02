"""Rows of a step in threads."""

import threading

import pytest
import torch

from menon.engines.decoding.row_threads import in_parts


def test_parts_cover_the_rows_in_order_each_in_a_thread_of_its_own():
    def run(rows: slice) -> tuple[list[int], str, int, bool]:
        threads, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()
        meet.wait(10)
        return list(range(7))[rows], threading.current_thread().name, threads, inference

    before, meet = torch.get_num_threads(), threading.Barrier(3)
    found = in_parts(run, 7, 3)
    assert [each[0] for each in found] == [[0, 1], [2, 3], [4, 5, 6]]
    assert len({each[1] for each in found}) == 3
    assert {each[2:] for each in found} == {(1, True)}
    assert torch.get_num_threads() == before
    meet = threading.Barrier(1)
    assert in_parts(run, 7, 1) == [(list(range(7)), threading.current_thread().name, before, True)]


def test_what_a_part_raises_is_raised():
    def run(rows: slice) -> None:
        if rows.start:
            raise ValueError("the second part")

    with pytest.raises(ValueError, match="the second part"):
        in_parts(run, 4, 2)
