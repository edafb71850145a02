"""Every number here was worked out by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from menon.batch import Batch, pack
from menon.record.metrics import batch_metrics, summary, text_metrics
from menon.record.repetition import repeat_scores
from menon.types import Finish, Graded, Max, Prompt, Rollout, Sum, Verdict

NAN = float("nan")


def answer(
    length: int,
    score: float,
    *,
    acc: float | None = None,
    group: int = 0,
    text: str = "",
    finish: Finish = "stop",
    logp: float = -1.0,
    entropy: float = 0.5,
    tokens: list[int] | None = None,
    parts: dict[str, float] | None = None,
    prompt_text: str = "q",
) -> Graded:
    """Two prompt tokens, then `length` action tokens."""
    mask = np.array([False] * 2 + [True] * length)
    new = list(range(length)) if tokens is None else tokens
    rollout = Rollout(
        prompt=Prompt(0, np.array([1, 2], dtype=np.int32), prompt_text),
        tokens=np.array([1, 2, *new], dtype=np.int32),
        is_action=mask,
        logp=np.where(mask, logp, 0).astype(np.float32),
        log_kept=np.zeros(length + 2, dtype=np.float32),
        entropy=np.where(mask, entropy, 0).astype(np.float32),
        version=np.zeros(length + 2, dtype=np.int32),
        finish=finish,
        text=text,
        group=group,
    )
    return Graded(rollout, Verdict(score, score if acc is None else acc, parts or {}))


STEP = [
    answer(2, 1.0, group=0, entropy=0.001, logp=-0.5),
    answer(4, 0.0, group=0, finish="length"),
    answer(6, 1.0, group=1),
    answer(0, 0.0, group=2),
    answer(9, NAN, group=2, finish="length", logp=-99.0, entropy=99.0),
]
"""Four valid answers of 2, 4, 6 and 0 tokens, and one whose grader failed: it may show in no number but
reward/failed."""


def numbers(batch: Batch) -> dict[str, float]:
    return {name: float(metric) for name, metric in batch_metrics(batch).items()}


def test_rewards_groups_lengths_and_entropy():
    got = numbers(pack(STEP))
    expected = {
        "reward/failed": 1,
        "acc/mean": 0.5,
        "groups/all_correct": 1 / 3,
        "groups/all_wrong": 1 / 3,
        "groups/mixed": 1 / 3,
        "len/mean": 3,
        "len/p50": 3,
        "len/p95": 4 + 2 * 0.85,  # sorted 0 2 4 6; place .95 * 3 = 2.85
        "len/max": 6,
        "len/correct": 4,
        "len/wrong": 2,
        "trunc_rate": 0.25,
        "stop_rate": 0.75,
        "tokens/generated": 21,
        "entropy/mean": (2 * 0.001 + 10 * 0.5) / 12,
        "entropy/mc": (2 * 0.5 + 10 * 1) / 12,
        "entropy/p50": 0.5,
        "entropy/p80": 0.5,
        "entropy/p95": 0.5,
        "entropy/lt001": 2 / 12,
    }
    assert got == pytest.approx(expected, rel=1e-6)
    rewards = text_metrics(STEP)
    assert float(rewards["reward/mean"]) == pytest.approx(0.5)
    assert float(rewards["reward/std"]) == pytest.approx(math.sqrt(4 * 0.25 / 3))


def test_what_truncated_sampling_kept():
    batch = pack([answer(2, 1.0), answer(1, 0.0)])
    assert "sampling/kept" not in numbers(batch)
    kept = torch.where(batch.is_action, math.log(0.5), 0.0)
    assert numbers(replace(batch, log_kept=kept))["sampling/kept"] == pytest.approx(0.5)


def test_advantages_and_values():
    batch = pack([answer(2, 1.0, logp=-1.0), answer(1, 0.0, logp=-2.0), answer(3, NAN, logp=-9.0)])
    nan3 = [NAN] * 3
    batch = replace(
        batch,
        advantage=torch.tensor([0, 0, 1.0, 2.0, 0, 0, -3.0, 0, 0, *nan3]),
        value=torch.tensor([0, 0, 1.0, 1.0, 0, 0, 0.0, 0, 0, *nan3]),
        ret=torch.tensor([0, 0, 2.0, 1.0, 0, 0, 0.0, 0, 0, *nan3]),
    )
    got = numbers(batch)
    # Returns 2 1 0 have variance 1, errors 1 0 0 have variance 1/3.
    assert got["adv/mean"] == 0
    assert got["adv/std"] == pytest.approx(math.sqrt(7))
    assert got["adv/absmax"] == 3
    assert got["value/explained_var"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("graded", [[], [answer(3, NAN)], [answer(0, NAN, acc=NAN)], [answer(0, 0.0)]])
def test_empty_denominators_give_zero(graded: list[Graded]):
    batch = pack(graded)
    zero = torch.zeros(batch.num_tokens)
    batch = replace(batch, advantage=zero, value=zero, ret=zero)
    metrics = batch_metrics(batch) | text_metrics(graded)
    off = {name: float(m) for name, m in metrics.items() if float(m) != 0}
    expected = {"reward/failed", "tokens/generated", "groups/all_wrong", "stop_rate"}
    assert set(off) <= expected
    assert all(math.isfinite(value) for value in off.values())
    numbers = summary(graded)
    assert (
        numbers["reward"] == numbers.get("accuracy", 0) == numbers["mean_length"] == numbers["entropy"] == 0
    )


def test_unknown_acc_is_not_wrong():
    graded = [answer(2, 0.7, acc=NAN), answer(4, 1.0, group=1)]
    got = numbers(pack(graded))
    assert (got["acc/mean"], got["groups/all_correct"], got["len/wrong"], got["len/correct"]) == (1, 1, 0, 4)
    assert float(text_metrics(graded)["reward/mean"]) == pytest.approx(0.85)


def test_text_metrics():
    good = "<think>a</think> <answer>\\boxed{\\frac{1}{2}}</answer>"
    graded = [
        answer(4, 1.0, text="wait, I retry", tokens=[5, 5, 5, 5], parts={"format": 1.0}),
        answer(8, 0.0, text="however, no. \\boxed{1", parts={"format": 0.0, "late": 0.5}),
        answer(2, 1.0, text=good, parts={"late": NAN}),
        answer(2, 1.0, text=good.removeprefix("<think>"), prompt_text="Assistant: <think>"),
        answer(2, 1.0, text=good + good),
        answer(9, NAN, text="wait, " + good, parts={"format": 7.0}),
    ]
    got = {name: float(metric) for name, metric in text_metrics(graded).items()}
    assert got["format_rate"] == pytest.approx(2 / 5)
    assert got["boxed_rate"] == pytest.approx(3 / 5)
    assert got["repeat_score"] == pytest.approx(0.6 / 5)  # 5555: common prefixes 1 + 2 + 3, 2 * 6 / (4 * 5)
    assert got["refl/rate"] == pytest.approx(2 / 5)
    assert got["refl/len_correct"] == 4
    assert got["refl/per_pattern/wait"] == got["refl/per_pattern/retry"] == pytest.approx(1 / 5)
    assert got["refl/per_pattern/recheck"] == got["refl/per_pattern/alternatively"] == 0
    assert got["reward/parts/format"] == 0.5
    assert got["reward/parts/late"] == 0.5


@pytest.mark.parametrize(
    ("text", "orz", "capitalised", "r1"),
    [
        ("Wait, I checked", 0, 1, 1),
        ("waiting", 0, 0, 0),
        ("recheck it", 1, 0, 0),
        ("rechecked", 0, 0, 0),
        ("That is WRONG", 0, 0, 1),
        ("button", 0, 0, 0),
        ("retrying", 1, 0, 0),
    ],
)
def test_reflection_words(text: str, orz: int, capitalised: int, r1: int):
    got = text_metrics([answer(1, 1.0, text=text)])
    found = [float(got[name]) for name in ("refl/rate", "refl/capitalised_rate", "refl/r1_rate")]
    assert found == [orz, capitalised, r1]


def test_repeat_score_of_several_answers():
    # abab: sorted ab abab b bab, common 2 0 1 -> 2*3/20. Neighbours with the same tokens must not meet.
    scores = repeat_scores(
        [np.array([1, 2, 1, 2]), np.array([], dtype=np.int32), np.array([1, 2, 1, 2]), np.array([3])]
    )
    assert scores.tolist() == pytest.approx([0.3, 0, 0.3, 0])


def test_repeat_score_against_its_definition():
    rng = np.random.default_rng(0)
    answers = [rng.integers(0, rng.integers(1, 5), rng.integers(1, 40)) for _ in range(100)]

    def slowly(tokens: list[int]) -> float:
        suffixes = sorted(tokens[i:] for i in range(len(tokens)))
        common = sum(
            next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            for a, b in itertools.pairwise(suffixes)
        )
        return 2 * common / (len(tokens) * (len(tokens) + 1))

    assert repeat_scores(answers) == pytest.approx([slowly(a.tolist()) for a in answers])


def test_metrics_add_up_as_they_say():
    halves = batch_metrics(pack(STEP[:2])), batch_metrics(pack(STEP[2:]))
    whole = batch_metrics(pack(STEP))
    for name in (
        "acc/mean",
        "len/mean",
        "len/correct",
        "trunc_rate",
        "entropy/mean",
        "tokens/generated",
        "len/max",
    ):
        assert float(halves[0][name] + halves[1][name]) == pytest.approx(float(whole[name]))  # type: ignore[operator]
    assert isinstance(whole["len/max"], Max)
    assert isinstance(whole["tokens/generated"], Sum)


def test_summary():
    got = summary([answer(2, 1.0, entropy=0.1), answer(4, 0.0, entropy=0.4), answer(7, NAN, entropy=9.0)])
    ends = {
        f"{name}_{end}": value for name in ("reward", "accuracy") for end, value in (("low", 0), ("high", 1))
    }
    told = {"reward": 0.5, "accuracy": 0.5, "mean_length": 3, "entropy": 1.8 / 6, "n": 2, "failed": 1}
    assert got == pytest.approx(told | ends)


def test_unknown_accuracy_is_left_out():
    """Two groups of a shaped reward: the rewards of the first differ."""
    graded = [answer(2, 0.5, acc=NAN), answer(2, 0.25, acc=NAN), answer(3, 0.5, acc=NAN, group=1)]
    names = batch_metrics(pack(graded)).keys() | summary(graded).keys()
    assert not {"acc/mean", "groups/mixed", "groups/all_wrong", "accuracy", "accuracy_low"} & names
    assert float(text_metrics(graded)["groups/varied"]) == 0.5
    assert summary(graded)["n"] == 3


def test_covariance_of_log_prob_and_advantage():
    """Valid tokens: two of log-prob -.5, ten of -1 (mean -11/12); advantages 1 and -.2 (mean 0). The failed
    answer is out."""
    batch = pack(STEP)
    advantage = torch.where(batch.behaviour_logp == -0.5, 1.0, -0.2)
    got = numbers(replace(batch, advantage=advantage))
    products = sorted([1 * (11 / 12 - 0.5)] * 2 + [-0.2 * (11 / 12 - 1)] * 10, reverse=True)
    assert got["cov/mean"] == pytest.approx(sum(products) / 12)
    for name, kept in {
        "top002": 1,
        "top02": 1,
        "top2": 1,
        "top20": 3,
        "top50": 6,
    }.items():  # the ceiling of the share of 12
        assert got[f"cov/{name}"] == pytest.approx(sum(products[:kept]) / kept)
    assert not any(name.startswith("cov/") for name in numbers(batch))


def test_what_answers_show_is_averaged_over_those_whose_task_looks():
    seen = [{"working": 1.0, "reflection": 0.0}, {"working": 0.0, "reflection": 0.0}, {"working": 1.0}, {}]
    graded = [
        replace(g, verdict=replace(g.verdict, shows=shows)) for g, shows in zip(STEP, seen, strict=False)
    ]
    metrics = text_metrics([*graded, STEP[-1]])
    assert (float(metrics["shows/working"]), float(metrics["shows/reflection"])) == (
        pytest.approx(2 / 3),
        0.0,
    )
    numbers = summary(graded)
    assert (numbers["working_share"], numbers["reflection_share"]) == (pytest.approx(2 / 3), 0.0)
    assert "working_share" not in summary(STEP)
    assert not any(name.startswith("shows/") for name in text_metrics(STEP))
