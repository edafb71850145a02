"""Kinds of hostile programs, many of each, with honest ones beside them (`kinds.jsonl`, in the format of
`menon check code`): disk and inodes, exceptions that end a loop of the test, files of the test, call backs,
and requests while the program waits."""

import json
from collections import Counter
from pathlib import Path

import pytest

from menon.cli.check_code import check_case

CASES = [json.loads(line) for line in (Path(__file__).parent / "kinds.jsonl").read_text().splitlines()]


def test_there_are_many_of_each_kind():
    kinds = Counter(case["id"].partition(":")[0] for case in CASES)
    assert set(kinds) == {
        "disk",
        "an exception that ends a loop",
        "files of the test",
        "call backs",
        "asked while it waits",
    }
    assert min(kinds.values()) >= 20


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_kind(case):
    assert check_case({**case, "timeout_s": 4, "must_return_within_s": 12}, "full").faults == []
