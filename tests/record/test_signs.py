"""Runs that learn nothing name the cause, the number and the setting; runs that learn are left alone."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from helpers import prompt
from menon.cli import main
from menon.errors import NothingLearned
from menon.loop import loop
from menon.parts import Around
from menon.record.reader import RunView
from menon.record.sign import Kind
from menon.record.signs import STOP, Signs, first_signs
from menon.record.tally import Tally
from menon.rollout.groups import answer
from menon.types import NOT_APPLICABLE, Graded, Request, Rollout, Sampling, StepReport, Verdict
from scripted import complete, question
from tiny_run import SAMPLING, VOCAB, Watching, online, opened, tiny_run

LINE = {"reward/mean": 0.4, "reward/std": 0.5, "adv/absmax": 1.0, "grad_norm": 0.3, "entropy/mean": 0.3}
SETTINGS: dict[str, Any] = {
    "max_new_tokens": 3,
    "samples_per_prompt": 2,
    "temperature": 1.0,
    "reward": "math",
}


def graded(
    text: str, score: float, acc: float | None = None, room: int = 9, gold: str = "77", group: int = 0
) -> Graded:
    request = Request(question(group, f"What is {group}? ", gold), Sampling(room))
    acc = score if acc is None else acc
    return Graded(Rollout.of(complete(request, text), group), Verdict(score, acc))


def step(answers: Sequence[Graded], number: int = 1, **changes: float) -> StepReport:
    return StepReport(number, {**LINE, **changes}, tuple(answers), {}, [0], "")  # type: ignore[arg-type]


GOOD = [graded("a", 0.0), graded("b", 1.0)]
UNREAD = [
    replace(g, verdict=Verdict(0.0, 0.0, {"unparsable": 1.0})) for g in [graded("ab", 0), graded("cd", 0)]
]
APART = [replace(g, verdict=NOT_APPLICABLE) for g in GOOD]
WRONG = [graded("a", 0), graded("b", 0)]
CUT = [graded("aaaa", 0, room=3), graded("bbbb", 0, room=3)]
SAME = [graded("aaaa", 0.5, 0, room=3), graded("bbbb", 0.5, 0, room=3), graded("c", 0.5, 0)]
SAME_TEXT = [graded("a", 0), graded("a", 0)]
NOTHING_LEFT = {"arrange/learned": 0.0, "arrange/left_out": 2.0, "groups/varied": 0.5}
BASE = {"data": "x.jsonl", "model": "base", "reward": None}


@pytest.mark.parametrize(
    ("answers", "numbers", "settings", "kind", "sentence"),
    [
        (CUT, {}, {}, "cut", "100% of the answers were cut at max_new_tokens"),
        (UNREAD, {}, {}, "unread", "2 of 2 answers state no result that reward=math can read"),
        (UNREAD, {}, {}, "unread", "or name other ways with reward.ways"),
        (UNREAD, {}, {"reward": "numeric"}, "unread", "or take reward=math with other reward.ways"),
        ([graded("", 0), graded(" ", 0)], {}, {}, "blank", "2 of 2 answers end before any text"),
        ([graded("7", 0), graded("7", 0)], {}, {"stop": ["7"]}, "blank", "at one of stop=['7']"),
        ([graded("a", 0), graded("a", 0)], {}, {}, "same_text", "raise temperature, now 1.0"),
        (SAME_TEXT, {}, {"top_k": 1}, "same_text", "top_k=1 takes the likeliest token every"),
        (SAME_TEXT, {}, {"top_p": 0.01}, "same_text", "text; top_p=0.01 leaves hardly more than"),
        (SAME_TEXT, {}, {"temperature": 0.05}, "same_text", "temperature=0.05 takes the likeliest"),
        ([graded("a", 1), graded("b", 1)], {}, {}, "all_right", "every answer was right (2 of 2)"),
        (WRONG, {}, {}, "all_wrong", "no answer was right (0 of 2); take easier"),
        (WRONG, {}, BASE, "all_wrong", "set model="),
        (WRONG, {}, {**BASE, "model": "m"}, "all_wrong", "('b') with the gold one ('77')"),
        ([graded("a", 0.5, 0), graded("b", 0.5, 0)], {}, {}, "constant", "gave 0.5 to every answer (2 of 2)"),
        (SAME, {}, {}, "constant", "gave 0.5 to every answer (3 of 3)"),
        (SAME[:2], {}, {}, "cut", "100% of the answers were cut"),
        ([graded("a", 0, math.nan), graded("b", 0, math.nan)], {}, {}, "constant", "gave 0 to every answer"),
        (GOOD, {"adv/absmax": 0.0}, {}, "equal_groups", "raise samples_per_prompt, now 2"),
        (GOOD, {"update/empty": 1.0}, {}, "empty", "no token had a weight"),
        (GOOD, {}, {"learning_rate": 0.0}, "learning_rate", "leave it out, or set it higher"),
        (APART, {"reward/not_applicable": 2.0}, {}, "not_applicable", "applies to none of the 2 answers"),
        (WRONG, NOTHING_LEFT | {"groups/varied": 0.0}, {}, "all_wrong", "no answer was right (0 of 2)"),
        (GOOD, NOTHING_LEFT, {"arrange": {"best": {}}}, "empty", "arrange.best left out all 2 groups"),
        (GOOD, {"grad_norm": 0.0}, {}, "no_gradient", "the rewards differ and the gradient is 0"),
    ],
)  # fmt: skip
def test_two_steps_warn_once(answers, numbers, settings, kind, sentence):
    signs = Signs({**SETTINGS, **settings})
    first, second, third = (signs.after(step(answers, n, **numbers)) for n in (1, 2, 3))
    assert (first, third, signs.silent) == (None, None, 3)
    assert second is not None
    assert second.kind == kind
    assert sentence in second.sentence


def test_one_skipped_update_is_said_at_once_and_steps_without_any_other_count_as_silent():
    signs = Signs({**SETTINGS, "updates_per_step": 2})
    found = [signs.after(step(GOOD, n, **{"update/skipped": count})) for n, count in enumerate((0, 1, 2), 1)]
    assert [sign and sign.kind for sign in found] == [None, "skipped", None]
    assert found[1].evidence.startswith("updates were skipped in 1 of 2 steps (1 in all)")
    assert signs.silent == 1


def test_a_constant_reward_stays_the_cause_where_all_answers_are_cut():
    signs = Signs(SETTINGS)
    given = [(SAME, 0.5), (SAME, 0.5), (SAME[:2], 0.5), (CUT, 0.0)]
    found = [
        signs.after(step(answers, n, **{"reward/mean": mean})) for n, (answers, mean) in enumerate(given, 1)
    ]
    assert [sign and sign.kind for sign in found] == [None, "constant", None, "cut"]
    assert signs.silent == 4


def test_equal_rewards_are_no_sign_where_a_teacher_teaches():
    signs = Signs({**SETTINGS, "models": {"teacher": "a folder"}})
    for n in range(1, 4):
        assert signs.after(step(WRONG, n)) is None
    assert signs.silent == 0
    found = [signs.after(step(WRONG, n, grad_norm=0.0)) for n in (4, 5)][1]
    assert found is not None
    assert found.sentence == (
        "policy and teacher agree, or every token is clipped, masked or left out; look at the clips and "
        "masks of the objective"
    )


def test_steps_that_teach_are_quiet_and_one_that_does_not_is_forgiven():
    signs = Signs(SETTINGS)
    for n, answers in enumerate([GOOD, WRONG, GOOD, WRONG, GOOD], start=1):
        assert signs.after(step(answers, n)) is None
    assert signs.after(step([], 6)) is None  # a step on given rows has no answers
    assert signs.silent == 0


@pytest.mark.parametrize(
    ("rewards", "entropies", "kind"),
    [
        ([0.4, 0.0], [0.36, 0.001], "collapse"),
        ([0.4, 0.9], [0.36, 0.001], None),  # it has learned
        ([0.4, 0.3], [0.36, 0.001], None),  # within the noise of a step
        ([0.6] * 6 + [0.3] * 5, [0.5] * 6 + [2.0] * 5, "explosion"),
        ([0.6] * 11, [0.5] * 6 + [2.0] * 5, None),
    ],
)
def test_a_policy_that_gets_worse(rewards, entropies, kind):
    signs = Signs(SETTINGS)
    found = [
        signs.after(step(GOOD, n, **{"reward/mean": reward, "entropy/mean": entropy}))
        for n, (reward, entropy) in enumerate(zip(rewards, entropies, strict=True), start=1)
    ]
    assert [sign.kind for sign in found if sign is not None] == ([kind] if kind else [])


def test_the_first_evaluation():
    cut = [graded("aaaa", 0, room=3)] * 9 + [graded("b", 0)]
    assert [sign.kind for sign in first_signs(cut, SETTINGS)] == ["cut"]
    assert first_signs([*cut, graded("b", 1)], SETTINGS) == []
    assert first_signs(cut[3:], SETTINGS) == []  # 6 of 7
    assert [sign.kind for sign in first_signs(UNREAD, SETTINGS)] == ["unread"]
    told = [graded("77", 1, gold="What is 0?")] * 20
    assert [sign.kind for sign in first_signs(told, SETTINGS)] == ["prompt_holds_answer"]
    assert first_signs([graded("77", 1)] * 20, SETTINGS) == []
    assert first_signs([], SETTINGS) == []


def test_own_data_with_a_built_in_model():
    own = {**SETTINGS, "data": "q.jsonl", "model": "base"}
    few = [graded("b", 0)] * 19 + [graded("b", 1)]
    (sign,) = first_signs(few, own)
    assert sign.kind == "foreign"
    assert sign.sentence == (
        "1 of 20 answers are right: q.jsonl with the built-in base model, which has learned only sums; set "
        "model="
    )
    assert first_signs([*few, graded("b", 1)], own) == []  # 2 of 21: its user may have sums
    assert first_signs(few, {**own, "model": "mine"}) == []
    assert first_signs(few, {**own, "data": None}) == []
    (sign,) = first_signs(few, {**own, "model": "search_base"})
    assert "search_base model, which has learned only searches and long chains" in sign.sentence
    cut = [graded("aaaa", 0, room=3)] * 9
    assert [sign.kind for sign in first_signs(cut, own)] == ["foreign", "cut"]
    assert first_signs([graded("b", 0.2, math.nan), graded("c", 0.3, math.nan)], own) == []
    assert [sign.kind for sign in first_signs([asks_a_sum(g) for g in cut], own)] == ["cut"]


def asks_a_sum(one: Graded) -> Graded:
    prompt = replace(one.rollout.prompt, columns={"question": "3+4=?"})
    return replace(one, rollout=replace(one.rollout, prompt=prompt))


ERROR = [graded(text, score, acc) for text, score, acc in [("a", 0, 1), ("b", 6, 0), ("c", 2, 0)] * 10]
"""A reward that is the distance from the right answer."""


def test_a_reward_for_wrong_answers(tmp_path):
    """Before the first step, or after the first with enough answers of both kinds; not where chance may be
    the cause."""
    said = (
        "right answers earn less (mean 0) than wrong ones (mean 4) by reward=math, and the policy learns "
        "what earns more; where less is better, return the negative"
    )
    assert [(sign.kind, sign.sentence) for sign in first_signs(ERROR, SETTINGS)] == [("reversed", said)]
    signs = Signs(SETTINGS)
    found = [signs.after(step(answers, n)) for n, answers in enumerate([ERROR[:27], ERROR, ERROR], start=1)]
    assert [sign and sign.sentence for sign in found] == [None, said, None]
    even = [graded("a", (n % 3) / 2, n % 2) for n in range(60)]
    assert first_signs(even, SETTINGS) == []
    noisy = [
        replace(g, verdict=Verdict(g.verdict.score + 0.2 * (g.verdict.acc == 0), g.verdict.acc)) for g in even
    ]
    assert first_signs(noisy, SETTINGS) == []  # .2 more, and two standard errors

    def off(rollout: Rollout) -> Verdict:
        right = float(rollout.tokens[rollout.is_action].sum() % 2 == 0)
        return Verdict(1 - right, right)

    for heldout, first in ((2, 1), (40, 0)):
        run = tiny_run(steps=2, grade=off)
        source = online(run)
        source.around = Around(3, 12, SAMPLING)
        asked = [Request(prompt(100 + i, f"{i}*{i}=", "1", VOCAB), SAMPLING) for i in range(heldout)]
        evaluate = partial(answer, asked, range(heldout), source.sampler, off)
        with opened(tmp_path / f"run{heldout}") as folder:
            loop(replace(run, evaluate=evaluate), folder, Watching())
        warned = [event for event in RunView(folder.path).events if event["kind"] == "warned"]
        assert [(event["sign"], event["step"]) for event in warned] == [("reversed", first)]


def test_the_advice_of_the_run_takes_the_place_of_the_usual_one():
    advice = {"cut": "set stop", "blank": "set template=chat"}
    (cut,) = first_signs(CUT, SETTINGS, advice)
    assert cut.sentence == "100% of the answers were cut at max_new_tokens=3; set stop"
    (blank,) = first_signs([graded("", 0), graded(" ", 0)], SETTINGS, advice)
    assert blank.sentence == "2 of 2 answers end before any text; set template=chat"
    signs = Signs.of(SETTINGS, [], advice)
    assert [sign and sign.sentence for sign in (signs.after(step(CUT, n)) for n in (1, 2))] == [
        None,
        cut.sentence,
    ]


def test_failed_graders_are_not_counted():
    tally = Tally.of([*GOOD, graded("c", math.nan)])
    assert (tally.answers, tally.right, tally.wrong, tally.constant) == (2, 1, 1, False)


def none(rollout: Rollout) -> Verdict:
    return Verdict(0.0, 0.0)


def test_ten_steps_stop_the_run_which_can_go_on(tmp_path):
    watch = Watching()
    with opened(tmp_path / "run") as folder, pytest.raises(NothingLearned) as raised:
        loop(tiny_run(steps=STOP + 3, grade=none, evaluate=None), folder, watch)
    assert str(raised.value).startswith(
        f"stopped after step {STOP}, for the last {STOP} steps taught nothing: "
    )
    assert str(raised.value).endswith(f"`menon train --resume {tmp_path / 'run'} stop_without_signal=false`")
    view = RunView.open(tmp_path / "run")
    (sentence,) = view.warnings
    assert [event["step"] for event in view.events if event["kind"] == "warned"] == [2]
    assert watch.sentences == [f"after step 2: {sentence}"]
    run = tiny_run(steps=STOP + 3, grade=none, evaluate=None, stop_without_signal=False)
    with opened(tmp_path / "run") as folder:
        report = loop(run, folder, Watching())
    assert report["steps"] == STOP + 3
    assert report["warnings"] == [sentence]
    assert f"> {sentence}" in (tmp_path / "run" / "report.md").read_text()


def test_the_page_names_every_sign():
    page = Path(__file__).parents[2] / "docs" / "signs.md"
    rows = [line.split("`")[1] for line in page.read_text().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(get_args(Kind))


def test_the_command_ends_with_a_code_of_its_own(monkeypatch, capsys):
    def stopped(words: list[str]) -> int:
        raise NothingLearned("nothing was learned")

    monkeypatch.setattr("menon.cli.run", stopped)
    assert main(["train"]) == 3
    assert capsys.readouterr().err == "menon: nothing was learned\n"
