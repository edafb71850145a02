"""Safe answers of preference data: SafeSFT, and pairs that say nothing about safety."""

import json
from collections import Counter
from pathlib import Path

import pytest

from menon.errors import UserError
from menon.prompts.given import GivenColumns, GivenText, read_given

SAFER = GivenColumns(preferred="safer_response_id")


def row(first: bool, second: bool, safer: int = 0, better: int = 1, name: str = "a") -> dict:
    return {
        "prompt": f"{name}?",
        "response_0": f"{name} zero",
        "response_1": f"{name} one",
        "is_response_0_safe": first,
        "is_response_1_safe": second,
        "better_response_id": better,
        "safer_response_id": safer,
    }


ROWS = [
    row(True, False, safer=0, name="a"),
    row(False, True, safer=1, name="b"),
    row(False, False, safer=1, name="c"),
    row(True, True, safer=0, name="d"),
]


def read(tmp_path: Path, rows: list, form: str, **settings):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, left_out = read_given(str(file), form, **settings)
    return [(row.texts[0].question, *(text.answer for text in row.texts)) for row in found], left_out


def test_pairs_of_numbered_answers(tmp_path):
    found, left_out = read(tmp_path, ROWS, "pairs", columns=SAFER)
    assert found == [
        ("a?", "a zero", "a one"),
        ("b?", "b one", "b zero"),
        ("c?", "c one", "c zero"),
        ("d?", "d zero", "d one"),
    ]
    assert not left_out
    better, _ = read(tmp_path, ROWS, "pairs", columns=GivenColumns(preferred="better_response_id"))
    assert better[0] == ("a?", "a one", "a zero")


@pytest.mark.parametrize(
    ("drop", "kept", "left_out"),
    [
        (("both_unsafe",), "abd", {"pairs of two unsafe answers": 1}),
        (("both_safe",), "abc", {"pairs of two safe answers": 1}),
        (
            ("both_unsafe", "both_safe"),
            "ab",
            {"pairs of two unsafe answers": 1, "pairs of two safe answers": 1},
        ),
    ],
)
def test_dual_filters(tmp_path, drop, kept, left_out):
    found, missing = read(tmp_path, ROWS, "pairs", columns=SAFER, drop=drop)
    assert "".join(question[0] for question, *_ in found) == kept
    assert missing == Counter(left_out)


def test_safe_sft_learns_the_safe_answers_of_every_row(tmp_path):
    """It needs no preference, so columns.preferred may stay away."""
    found, left_out = read(tmp_path, ROWS, "answers", drop=("unsafe",))
    assert found == [("a?", "a zero"), ("b?", "b one"), ("d?", "d zero"), ("d?", "d one")]
    assert left_out == Counter({"unsafe answers": 4})


def test_columns_of_other_names(tmp_path):
    rows = [
        {"prompt": "a?", "chosen": "yes", "rejected": "no", "is_chosen_safe": 1, "is_rejected_safe": 0},
        {"prompt": "b?", "chosen": "yes", "rejected": "no", "is_chosen_safe": 0, "is_rejected_safe": 0},
    ]
    assert read(tmp_path, rows, "pairs", drop=("both_unsafe",))[0] == [("a?", "yes", "no")]
    swapped = GivenColumns(chosen_safe="is_rejected_safe", rejected_safe="is_chosen_safe")
    assert read(tmp_path, rows, "answers", columns=swapped, drop=("unsafe",))[0] == [("a?", "no")]


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {}, "set columns.preferred=better_response_id or safer_response_id, whichever decides"),
        ({"safer_response_id": 2}, {"columns": SAFER}, "'safer_response_id' is 2; the preferred answer is 0"),
        (
            {},
            {"columns": GivenColumns(preferred="nope")},
            "'nope' is None; the preferred answer is 0 or 1",
        ),
        (
            {"is_response_1_safe": "yes"},
            {"columns": SAFER, "drop": ("both_safe",)},
            r"'is_response_1_safe' is 'yes'; an answer is safe \(true\) or not \(false\)",
        ),
    ],
)
def test_rows_that_are_refused(tmp_path, changes, settings, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, [ROWS[0] | changes], "pairs", **settings)


def test_a_filter_without_its_columns_is_refused(tmp_path):
    pair = {"prompt": "a?", "chosen": "yes", "rejected": "no"}
    with pytest.raises(UserError, match="no column 'is_chosen_safe' says whether an answer is safe"):
        read(tmp_path, [pair], "pairs", drop=("both_unsafe",))


def test_a_filter_that_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match=r"drop leaves out all of .* \(1 pairs of two unsafe answers\)"):
        read(tmp_path, [ROWS[2]], "pairs", columns=SAFER, drop=("both_unsafe",))


@pytest.mark.parametrize(
    ("form", "drop", "message"),
    [
        ("answers", "both_safe", "with rows.form=answers unsafe can be dropped"),
        ("pairs", "unsafe", "with rows.form=pairs both_unsafe or both_safe can be dropped"),
        ("labelled", "unsafe", "with rows.form=labelled nothing can be dropped"),
    ],
)
def test_filters_for_other_rows(form, drop, message):
    with pytest.raises(UserError, match=message):
        GivenText(form=form, drop=(drop,))
