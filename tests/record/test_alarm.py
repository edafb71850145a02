from menon.record.alarm import alarms

FALLING = [0.5] * 5 + [0.4] * 5


def told(entropy, reward=()):
    return [(alarm.kind, alarm.step) for alarm in alarms(entropy, reward or [0.5] * len(entropy))]


def test_collapse_after_twenty_low_steps():
    assert told([0.1] + [0.049] * 19) == []
    assert told([0.1] + [0.049] * 20) == [("collapse", 21)]
    assert told([0.1] + [0.049] * 19 + [0.05] + [0.049] * 19) == []  # not in a row
    assert told([0.1] + [0.05] * 30) == []


def test_collapse_below_a_tenth_of_the_start():
    assert told([2.0, 0.21, 0.19, 0.1]) == [("collapse", 3)]


def test_explosion_needs_a_falling_reward():
    high = [1.0] * 9 + [3.1]
    assert told(high, FALLING) == [("explosion", 10)]
    assert told(high, FALLING[::-1]) == []
    assert told([1.0] * 9 + [3.0], FALLING) == []
    assert told([1.0, 4.0], [0.5, 0.1]) == []  # too short to know


def test_nothing_of_nothing():
    assert alarms([], []) == []
