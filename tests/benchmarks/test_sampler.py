"""Which cases are measured, and of what."""

import math

import pytest

from menon.errors import UserError
from sampler import all_cases, chosen_cases, least
from side_by_side import models


def test_cases_of_a_real_model():
    cases = {case.name: case for case in chosen_cases(False, None, "folder")}
    dense, ragged, long = (cases[f"{kind}-135M"] for kind in ("dense", "ragged", "long-prompt"))
    assert dense.limits == long.limits == (64,) * 64
    assert (dense.prompts, ragged.prompts, len(ragged.limits), long.prompt) == (8, 32, 256, 1000)
    assert abs(sum(ragged.limits) / 256 - 60) < 0.5
    assert (dense.longest, long.longest) == (256, 1152)
    assert {case.name for case in chosen_cases(False, None, None)} == set(cases) - {
        "dense-135M",
        "ragged-135M",
        "long-prompt-135M",
    }


def test_a_real_case_needs_its_model():
    with pytest.raises(UserError, match="name its folder with --model"):
        chosen_cases(False, ["dense-135M"], None)
    assert [case.name for case in chosen_cases(True, ["dense-135M"], "folder")] == ["dense-135M"]
    assert len(all_cases(True)) == 6


def test_long_prompts_begin_differently():
    found = models.prompts(3, length=50)
    short = models.prompts(3)
    assert [len(prompt) for prompt in found] == [50] * 3
    assert [long[: len(one)] for long, one in zip(found, short, strict=True)] == list(short)


def test_a_side_that_was_left_out_of_a_case_counts_in_none():
    assert least([math.nan, 2.0, 1.5]) == 1.5
    assert math.isnan(least([math.nan]))
