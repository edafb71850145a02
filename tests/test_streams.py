import numpy as np

from menon.streams import stream


def test_a_stream_is_its_name():
    assert np.array_equal(stream(1, "train", 0, 5, 2).random(8), stream(1, "train", 0, 5, 2).random(8))


def test_every_part_of_the_name_counts():
    names = [
        (1, "train", 0, 5),
        (2, "train", 0, 5),
        (1, "evaluate", 0, 5),
        (1, "train", 1, 5),
        (1, "train", 0, 6),
        (1, "train", 0, 5, 0),
    ]
    draws = {stream(seed, purpose, *rest).random() for seed, purpose, *rest in names}
    assert len(draws) == len(names)


def test_draws_are_uniform():
    draws = np.array([stream(0, "train", i).random() for i in range(4000)])
    assert abs(draws.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 4000)
    assert abs((draws < 0.1).mean() - 0.1) < 4 * np.sqrt(0.09 / 4000)
