"""What a run says about its text: whether anything was dropped or favoured, and how old it was."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from batches import random_batch
from menon.record.asynchrony import distance, favour
from menon.record.metrics import staleness
from menon.report.asynchronous import sentence_of_lengths, written_beside


def lengths(seed: int, steps: int = 6, each: int = 32) -> dict[int, list[int]]:
    """Long-tailed, and longer in every step, as under a policy that learns to."""
    rng = np.random.default_rng(seed)
    return {step: (1 + step * rng.pareto(1.5, each) * 5).astype(int).tolist() for step in range(1, steps + 1)}


def test_a_run_that_learns_from_everything_favours_nothing():
    written = lengths(0)
    found = favour(written, {step: sorted(ones) for step, ones in written.items()})
    assert (found["written"], found["trained"], found["distance"], found["p"]) == (192, 192, 0.0, 1.0)
    assert found["mean_written"] == found["mean_trained"]
    assert "Every answer that was written was learned from (192)" in sentence_of_lengths(found)


def test_dropping_the_longest_is_found():
    """The fault of taking what is finished first: the longest four of 32 never make it into their step."""
    written = lengths(1)
    found = favour(written, {step: sorted(ones)[:28] for step, ones in written.items()})
    assert found["p"] == 0.001
    assert found["mean_trained"] < 0.7 * found["mean_written"]
    assert "which ones depends on their length" in sentence_of_lengths(found)


def test_dropping_by_chance_is_not_found():
    """p is about uniform where the length does not matter, also though lengths differ between the steps; one
    step loses half of its answers."""
    ps = []
    for seed in range(40):
        written, rng = lengths(seed), np.random.default_rng(100 + seed)
        kept = {
            step: rng.permutation(ones)[: 16 if step == 6 else 28].tolist() for step, ones in written.items()
        }
        ps.append(favour(written, kept, draws=99)["p"])
    assert 0.3 < np.mean(ps) < 0.7
    assert min(ps) < 0.2
    assert np.mean(np.array(ps) <= 0.05) <= 0.15


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([1, 2, 3], [1, 2, 3], 0), ([1, 1], [2, 2], 1), ([1, 2], [2], 0.5), ([], [1], 1), ([], [], 0)],
)
def test_the_distance_of_two_samples(one, other, expected):
    assert distance(np.array(one), np.array(other)) == expected


def test_staleness_by_hand():
    """Two answers: versions 3 3 4, and 4 (prompts have version 0 and count nowhere). Weights 4 learn: ages
    1 1 0 and 0."""
    batch = replace(
        random_batch(),
        offset=torch.tensor([0, 5, 7]),
        is_action=torch.tensor([0, 0, 1, 1, 1, 0, 1], dtype=torch.bool),
        version=torch.tensor([0, 0, 3, 3, 4, 0, 4], dtype=torch.int32),
    )
    found = {name: float(metric) for name, metric in staleness(batch, 4).items()}
    assert found == {
        "staleness/mean": 0.5,
        "staleness/max": 1.0,
        "staleness/several": 0.5,
        "staleness/by/0": 0.5,
        "staleness/by/1": 0.5,
    }
    assert staleness(batch, 3) == {} == staleness(replace(batch, version=None), 4)


def test_the_page_of_an_asynchronous_run_says_it():
    found = {
        "groups": {"asked": 8, "trained": 7, "dropped": 1, "asked_again": 2},
        "lengths": favour({1: [1, 2, 3, 400]}, {1: [1, 2, 3]}),
        "staleness": {"0": 0.25, "1": 0.75},
        "waited_s": 3.21,
    }
    page = "".join(written_beside(SimpleNamespace(asynchrony=found)))  # type: ignore[arg-type]
    for text in (
        "8 groups were asked for the steps that are done, 7 learned from, 1 dropped. 2 were asked again",
        "Of 4 answers that were written, 3 were learned from (2.0 tokens against 101.5 on average",
        "<tr><td>1<td>75.0%</tr>",
        "waited 3.2 s for text",
    ):
        assert text in page
    assert list(written_beside(SimpleNamespace(asynchrony={}))) == []  # type: ignore[arg-type]
