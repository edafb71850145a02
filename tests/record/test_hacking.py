"""A learned reward that is exploited, and pairs that are learned by heart: named where they are planted, and
quiet where a run learns what it should."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.engines.hf_models import export
from menon.python import train
from menon.record.hacking import by_heart, exploited
from menon.record.metrics import text_metrics
from menon.record.signs import Signs
from menon.types import Graded, Request, Rollout, Sampling, StepReport, Verdict
from scripted import complete, question

SETTINGS: dict[str, Any] = {
    "source": {"reward": {"kind": "preference"}, "prompts_per_step": 32, "samples_per_prompt": 8},
    "advantage": {"kl": {"kind": "kl_in_reward", "beta": 0.1}},
    "learning_rate": 1e-3,
}
"""32 x 8 x 5 answers to an average: a share near .3 has a standard error of .018 in its difference."""
STEPS = 12
RISING = [0.1 * step for step in range(STEPS)]
FLAT = [0.3] * STEPS


def lines(rewards: list[float], right: list[float], deviation: float = 1.0) -> list[dict[str, float]]:
    return [
        {"reward/mean": reward, "reward/std": deviation, "acc/mean": share}
        for reward, share in zip(rewards, right, strict=True)
    ]


def test_a_reward_that_rises_alone_is_exploited():
    """The means of the first and of the last five rewards are .2 and .9."""
    sign = exploited(lines(RISING, FLAT), SETTINGS)
    assert sign is not None
    assert sign.kind == "exploited"
    assert sign.sentence == (
        "since steps 1 to 5 the reward rose from 0.2 to 0.9, and the share of right answers did not rise "
        "(0.300, now 0.300): the policy learns what reward=preference likes, not what is right; raise "
        "advantage.kl.beta, now 0.1, or train the reward on answers of this policy"
    )


def test_right_answers_that_fall_later_are_named_with_their_step():
    """They rise from .3 to .8 and fall to .5, while the reward goes on rising: since steps 4 to 8 at .8."""
    right = [0.3, 0.5, 0.7] + [0.8] * 5 + [0.5] * 5
    sign = exploited(lines([0.2 * step for step in range(13)], right), SETTINGS)
    assert sign is not None
    assert "since steps 4 to 8 the reward rose from 1 to 2" in sign.sentence
    assert "the share of right answers fell (0.800, now 0.500)" in sign.sentence


@pytest.mark.parametrize(
    ("found", "settings"),
    [
        (lines(RISING, [0.3 + 0.02 * step for step in range(STEPS)]), {}),  # both rise
        (lines(RISING, FLAT, deviation=2.0), {}),  # less than half a deviation
        (lines(RISING[:9], FLAT[:9]), {}),  # too early to say
        (lines(FLAT, [0.3] * 6 + [0.1] * 6), {}),  # the reward does not rise
        (lines([*FLAT[:5], *RISING[5:]], [0.3] * 3 + [0.97] * 9), {}),  # nothing is left to learn
        ([{"reward/mean": reward, "reward/std": 1.0} for reward in RISING], {}),  # no truth is known
        (lines(RISING, FLAT), {"reward": None}),  # the task's own rule, with shaping
        (lines(RISING, FLAT), {"reward": "staged"}),
    ],
)
def test_what_is_no_exploit(found, settings):
    source = SETTINGS["source"] | settings
    assert exploited(found, SETTINGS | {"source": source}) is None


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"advantage": {}, "objective": {"policy": {"loss": {"beta": 0.2}}}}, "objective.policy.loss.beta"),
        ({"advantage": {"credit": {"gamma": 1.0}}}, "lower learning_rate or steps"),
    ],
)
def test_the_advice_names_what_holds_this_policy_back(change, advice):
    sign = exploited(lines(RISING, FLAT), {**SETTINGS, **change})
    assert sign is not None
    assert advice in sign.sentence


def test_a_run_says_it_once():
    signs = Signs(SETTINGS)
    graded = answers([(1.0, 1), (0.0, 0)])
    said = [
        signs.after(StepReport(n, line | {"adv/absmax": 1.0}, graded, {}, [0], ""))  # type: ignore[arg-type]
        for n, line in enumerate(lines(RISING, FLAT), 1)
    ]
    assert [(n, sign.kind) for n, sign in enumerate(said, 1) if sign] == [(11, "exploited")]


def answers(verdicts: list[tuple[float, float]], group: int = 0) -> tuple[Graded, ...]:
    request = Request(question(group, "What? ", "77"), Sampling(9))
    return tuple(
        Graded(Rollout.of(complete(request, "a"), group), Verdict(score, acc)) for score, acc in verdicts
    )


def test_what_a_reward_is_worth_on_fresh_answers():
    """Question 0: right 2 and 1 against wrong 1: one ahead, one tie; question 1: right 0 against wrong 3.
    (1 + .5 + 0) / 3. Without a known truth an answer counts nowhere."""
    graded = (
        *answers([(2.0, 1), (1.0, 1), (1.0, 0), (9.0, math.nan)]),
        *answers([(0.0, 1), (3.0, 0)], group=1),
        *answers([(0.0, 1)], group=2),
    )
    assert float(text_metrics(graded)["reward/right_ahead"]) == 0.5
    assert "reward/right_ahead" not in text_metrics(answers([(1.0, 1), (0.0, 0)]))  # a rule
    assert "reward/right_ahead" not in text_metrics(answers([(2.0, 1), (1.0, 1)]))  # no wrong answer
    failed = [replace(g, verdict=Verdict(math.nan, 0.0)) for g in answers([(0.0, 0)])]
    assert "reward/right_ahead" not in text_metrics((*answers([(2.0, 1)]), *failed))


# Pairs that are learned by heart


def evaluations(*numbers: tuple[float, float], rows: float = 200.0) -> list[dict[str, float]]:
    """(held out, learned) at steps 0, 10, 20, ..."""
    return [
        {
            "step": 10 * n,
            "pairs/accuracy": fresh,
            "learned/pairs/accuracy": learned,
            "rows": rows,
            "learned/rows": rows,
        }
        for n, (fresh, learned) in enumerate(numbers)
    ]


def test_pairs_that_are_learned_by_heart():
    sign = by_heart(evaluations((0.5, 0.5), (0.52, 0.98)), SETTINGS)
    assert sign is not None
    assert sign.kind == "by_heart"
    assert sign.sentence == (
        "of what it learned from 98% is put right, of held-out rows 52% (50% before step 1): the run learns "
        "its rows by heart; take more rows, fewer steps, or lower learning_rate, now 0.001"
    )
    later = by_heart(evaluations((0.5, 0.5), (0.7, 0.75), (0.69, 0.95)), SETTINGS)
    assert later is not None
    assert "held-out rows 69% (70% after step 10)" in later.sentence


@pytest.mark.parametrize(
    "found",
    [
        evaluations((0.5, 0.5)),
        evaluations((0.5, 0.5), (0.75, 0.95)),  # held-out pairs still rise
        evaluations((0.5, 0.5), (0.9, 0.93), (0.9, 0.99)),  # the distance is small
        evaluations((0.5, 0.5), (0.52, 0.8), rows=20.0),  # too few pairs to say
        [{"step": 0, "nll": 1.0, "rows": 9.0}, {"step": 1, "nll": 0.5, "rows": 9.0}],
    ],
)
def test_what_is_not_by_heart(found):
    assert by_heart(found, SETTINGS) is None


def pairs(path: Path, says: str) -> Path:
    """40 pairs whose preferred answer is the same each time, or is drawn like a coin."""
    coin = "0110100110010110100101100110100101101001"  # as often 0 as 1 after any beginning
    rows = []
    for i in range(40):
        first, second = (" yes", " no") if says == "rule" or coin[i] == "1" else (" no", " yes")
        rows.append({"prompt": f"{i}+1=", "chosen": first, "rejected": second})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("says", "signs"), [("coin", ["by_heart"]), ("rule", [])])
def test_a_run_on_pairs_without_a_rule(tmp_path, says, signs):
    """20 held-out pairs and 20 that are learned again and again. A preference that follows no rule can only
    be learned by heart; one that does is learned for held-out pairs too."""
    export(tiny_model("qwen3"), tiny_tokenizer(), tmp_path / "model")
    rows = pairs(tmp_path / "rows.jsonl", says).read_text().splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(rows[::2]))
    (tmp_path / "fresh.jsonl").write_text("".join(rows[1::2]))
    report = train(
        "dpo",
        model=str(tmp_path / "model"),
        device="cpu",
        data=str(tmp_path / "train.jsonl"),
        heldout_data=str(tmp_path / "fresh.jsonl"),
        rows_per_step=20,
        steps=40,
        save_every=0,
        learning_rate=3e-2,
        out=str(tmp_path / "run"),
    )
    after = report["after"]
    assert after["learned/pairs/accuracy"] >= 0.95
    assert after["learned/rows"] == 20
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").open()]
    assert [event["sign"] for event in events if event["kind"] == "warned"] == signs
