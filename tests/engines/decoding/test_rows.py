import numpy as np
import pytest

from helpers import prompt, tiny_tokenizer
from menon.engines.decoding.request_queue import RequestQueue
from menon.engines.decoding.rows import Rows
from menon.engines.decoding.settings import Settings
from menon.engines.decoding.stop_strings import Detokenizer
from menon.errors import UserError
from menon.types import Request, Sampling

V = 40
SETTINGS = Settings(seed=0, end_tokens=np.array([1]), fixed=False, prefix_bytes=None, kept_bytes=0)


def rows_of(count: int, new: int = 3) -> tuple[Rows, list[Request]]:
    """`count` requests in rows, prompt i of the tokens 5 and 6 + i."""
    rows, queue = Rows(SETTINGS, Detokenizer.of(tiny_tokenizer(V))), RequestQueue()
    asked = [Request(prompt(i, [5, 6 + i], vocab=V), Sampling(new)) for i in range(count)]
    queue.add(asked)
    rows.reserve(count, new)
    rows.n = count
    for row, queued in enumerate(queue.take(count)):
        rows.seat(queued, row)
    return rows, asked


def write(rows: Rows, tokens: list[int], logp: float = -0.5, version: int = 0) -> None:
    numbers = np.tile(np.array([logp, 0, 1.5], np.float32), (rows.n, 1))
    rows.write(version, np.array(tokens), numbers, -1, None)


def test_a_row_feeds_the_last_token_and_draws_by_its_name():
    rows, _ = rows_of(2)
    assert (rows.token.tolist(), rows.position.tolist(), rows.limit.tolist()) == ([6, 7], [1, 1], [3, 3])
    again, _ = rows_of(2)
    assert np.array_equal(rows.uniform, again.uniform)
    assert not np.array_equal(rows.uniform[0], rows.uniform[1])


def test_a_completion_is_what_was_written():
    rows, asked = rows_of(2)
    write(rows, [8, 9], version=4)
    write(rows, [10, 11], version=5)
    assert (rows.token.tolist(), rows.position.tolist(), rows.count.tolist()) == ([10, 11], [3, 3], [2, 2])
    found = rows.completion(1, "stop")
    assert found.request is asked[1]
    assert (found.tokens.tolist(), found.version.tolist(), found.finish) == ([9, 11], [4, 5], "stop")
    assert (found.logp.tolist(), found.log_kept.tolist(), found.entropy.tolist()) == (
        [-0.5, -0.5],
        [0, 0],
        [1.5, 1.5],
    )
    assert (found.alternatives, found.kept) == (None, None)


def test_the_last_row_moves_into_a_gap():
    rows, asked = rows_of(3)
    write(rows, [8, 9, 10])
    last = rows.uniform[2].copy()
    rows.move(np.array([2]), np.array([0]))
    rows.cut(2)
    assert (rows.n, rows.request) == (2, [asked[2], asked[1]])
    assert (rows.tokens[:2, 0].tolist(), rows.token[:2].tolist()) == ([10, 9], [10, 9])
    assert np.array_equal(rows.uniform[0], last)


def test_more_room_keeps_what_is_there():
    rows, _ = rows_of(2)
    write(rows, [8, 9])
    rows.reserve(4, 7)
    assert (rows.tokens.shape, rows.numbers.shape) == ((4, 7), (4, 7, 3))
    assert rows.tokens[:, 0].tolist() == [8, 9, 0, 0]
    rows.reserve(1, 1)
    assert rows.tokens.shape == (4, 7)


def test_log_probs_that_are_not_finite_are_refused():
    rows, _ = rows_of(1)
    write(rows, [8], logp=np.nan)
    with pytest.raises(UserError, match="no finite log-probs after prompt 0"):
        rows.completion(0, "length")
