import pytest

from menon.reward.code.output import same_output


@pytest.mark.parametrize(
    ("printed", "expected", "tokens", "lines"),
    [
        (b"3\n", "3\n", True, True),
        (b"3", "3\n", True, True),
        (b"3\r\n4\r\n", "3\n4\n", True, True),
        (b"3  \n\n", "3", True, True),
        (b"1 2", "1\n2", True, False),
        (b" 1", "1", True, False),
        (b"1  2", "1 2", True, False),
        (b"1 2", "1 2 3", False, False),
        (b"1 2 3", "1 2", False, False),
        (b"", "", True, True),
        (b"", "0", False, False),
        (b"0.3333333", "0.33333333", True, False),
        (b"0.3334", "0.33333333", False, False),
        (b"1000001", "1000000", False, False),  # whole numbers are exact
        (b"3.0", "3", False, False),
        (b"3", "3.0", True, False),
        (b"1e3", "1000.0", True, False),
        (b"inf", "1e3", False, False),
        (b"nan", "nan", True, True),
        (b"nan", "3.5", False, False),
        (b"inf", "inf", True, True),
        (b"7", "inf", False, False),
        (b"1e500", "1e400", False, False),  # beyond a float both are infinite
        (b"inf", "1e400", False, False),
        (b"-1e400", "1e400", False, False),
        (b"1e400", "1e400", True, True),
        (b"1e400", "1.5", False, False),
        (b"YES", "yes", False, False),
        ("日ña\n".encode(), "日ña", True, True),
        (b"\xff\xfe", "3", False, False),
        (b"\xff", "\ufffd", True, True),
        (b"1_0.0", "10.0", False, False),
        (b"9" * 500 + b".0", "9.0", False, False),
    ],
)
def test_output(printed, expected, tokens, lines):
    assert same_output(printed, expected, "tokens") is tokens
    assert same_output(printed, expected, "lines") is lines


def test_the_tolerance_is_relative_or_absolute():
    assert same_output(b"1000.001", "1000.0", tolerance=1e-5)
    assert not same_output(b"1000.1", "1000.0", tolerance=1e-5)
    assert same_output(b"0.000001", "0.0", tolerance=1e-5)
    assert not same_output(b"1.0000001", "1.0", tolerance=0)
