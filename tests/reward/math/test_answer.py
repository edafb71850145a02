import json
import math
import os
import threading
import time

import pytest

from math_pairs import DIFFERENT, EQUAL, NOT_STATED, STATED
from math_said import OTHER, SAME
from menon.errors import UserError
from menon.parts import Around
from menon.prompts.reader import read_rows
from menon.reward.extract import LENIENT, after_thinking, names, stated
from menon.reward.math import answer as math_answer
from menon.reward.math.answer import MathAnswer, core, decide
from menon.reward.math.compare import compare_answers
from menon.reward.pool import Broken


@pytest.fixture(scope="module")
def verifier():
    verifier = MathAnswer(names(LENIENT), worked=False)
    yield verifier
    verifier.close()


def decided(gold, response, ways=LENIENT):
    """As the verifier does, with the rules in this process."""
    return decide(
        core(gold), stated("", response, ways) or "", after_thinking("", response) or "", compare_answers
    )


@pytest.mark.parametrize(("gold", "box"), EQUAL)
def test_equal_values_in_another_form_are_right(gold, box):
    assert decided(gold, f"So $\\boxed{{{box}}}$.") == "right"


@pytest.mark.parametrize(("gold", "box"), DIFFERENT)
def test_other_values_are_wrong(gold, box):
    assert decided(gold, f"So $\\boxed{{{box}}}$.") != "right"


@pytest.mark.parametrize(("gold", "response"), STATED)
def test_what_a_person_takes_for_the_answer_counts_in_an_evaluation(gold, response):
    assert decided(gold, response) == "right"


@pytest.mark.parametrize(("gold", "response"), NOT_STATED)
def test_what_was_not_stated_never_counts(gold, response):
    assert not gold.strip() or decided(gold, response) != "right"


def test_the_verdict_counts_what_was_not_plainly_right_or_wrong(verifier):
    for box, score, unparsable, costly in (
        ("\\frac{1}{2}", 1, 0, 0),
        ("0.4", 0, 0, 0),
        ("\\qqq", 0, 1, 0),
        ("9^{9^{9^9}}", 0, 0, 1),
    ):
        verdict = verifier("", f"\\boxed{{{box}}}", "0.5")
        assert (verdict.score, verdict.acc, verdict.error) == (score, score, "")
        assert verdict.parts == {"unparsable": unparsable, "too_costly": costly}
    assert verifier("", "", "0.5").parts["unparsable"] == 1
    assert verifier("", "\\boxed{}", "").score == 0


def test_training_asks_for_a_marked_result(verifier):
    strict = MathAnswer(workers=1)
    try:
        assert strict("", "so it is 42", "42").score == 0
        assert verifier("", "so it is 42", "42").score == 1
        assert strict("", "\\boxed{42}", "42").score == 1
        assert strict("Q <think>", "\\boxed{42}", "42").score == 0
        assert strict("Q <think>", strict.spell("Q <think>", "\\frac12"), "0.5").score == 1
    finally:
        strict.close()


def test_the_labelled_cases(verifier, shared):
    """At least 97 % right and in time, at most 3 false accepts, none on thought, empty or hostile cases."""
    rows = [
        json.loads(line)
        for line in (shared / "data" / "verifier_cases.jsonl").read_text("utf-8").split("\n")
        if line
    ]
    wrong, false_accepts, late = [], [], []
    for row in rows:
        response = row["response"] if row["mode"] == "response" else f"\\boxed{{{row['response']}}}"
        began = time.perf_counter()
        verdict = verifier("", response, row["gold"])
        if time.perf_counter() - began > 2 * row.get(
            "must_return_within_s", 2
        ):  # this machine may be busy with other tests
            late.append(row["id"])
        assert not verdict.error
        if not row.get("disputed") and (verdict.score == 1) != row["expected"]:
            wrong.append(row["id"])
            false_accepts += [row["kind"]] * (verdict.score == 1)
    assert late == []
    assert len(wrong) <= 0.03 * sum(not row.get("disputed") for row in rows)
    assert len(false_accepts) <= 3
    assert not {"thought", "empty", "hostile"} & set(false_accepts)


def test_words_units_times_and_layouts_are_read_or_refused():
    wrong = [pair for pair in SAME if decided(pair[0], f"\\boxed{{{pair[1]}}}") != "right"]
    wrong += [pair for pair in OTHER if decided(pair[0], f"\\boxed{{{pair[1]}}}") == "right"]
    assert wrong == []


FOUND_ELSEWHERE = {
    *("hash-cut", "choice-several", "several-letters-asked", "phrase-denied", "unclosed-box"),
    *("box-without-braces", "several-boxes-and-tags"),
}
"""Families of cases about where a result is stated, or about choices."""


def test_the_cases_from_the_field(shared):
    """All cases about what a stated value means are right."""
    text = (shared / "data" / "verifier_cases_field.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.split("\n") if line]
    rows = [row for row in rows if row["mode"] == "answer" and row["family"] not in FOUND_ELSEWHERE]
    wrong = [
        row["id"]
        for row in rows
        if (decided(row["gold"], f"\\boxed{{{row['response']}}}") == "right") != row["expected"]
    ]
    assert (len(rows), wrong) == (213, [])


@pytest.mark.parametrize(("file", "count"), [("gsm8k_test.jsonl", 1319), ("math500.jsonl", 500)])
def test_every_gold_answer_is_right_by_its_own_verifier(verifier, shared, file, count):
    rows, _ = read_rows(shared / "data" / file)
    right = [verifier("", verifier.spell("", row["answer"]), row["answer"]).score for row in rows]
    assert sum(right) == len(right) == count


PAYLOADS = [
    "open('{}','w')",
    "__import__('os').system('touch {}')",
    "\\operatorname{{exec}}(open('{}','w'))",
    "\\text{{__import__('os').system('touch {}')}}",
    "Symbol(open('{}','w'))",
    "[open('{}','w').write('x'), 2]",
    "\\sum_{{k=1}}^{{n}} __import__('os').system('touch {}')",
    "\\lim_{{x \\to 0}} eval(compile('open({!r})','x','exec'))",
    "\\begin{{pmatrix}} open('{}','w') \\\\ 2 \\end{{pmatrix}}",
    "\\int_0^1 lambda: open('{}', 'w') dx",
    "\\input{{|touch {}}}",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_model_text_is_never_run(verifier, tmp_path, monkeypatch, payload):
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "canary"
    for gold in ("1", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\int_0^1 x dx", "\\sum_{k=1}^{n} k"):
        verdict = verifier("", f"\\boxed{{{payload.format(canary)}}}", gold)
        assert verdict.score == 0
        assert not verdict.error
    assert os.listdir(tmp_path) == []


def test_a_costly_answer_delays_nobody_else(verifier):
    """Both from threads: while one worker is busy with an integral that never ends, the other serves
    everybody else."""
    costly = "\\boxed{\\int_0^1 \\frac{\\sin(\\tan(x^x))}{\\ln(x+\\cos(x^x))} dx}"
    found = []
    thread = threading.Thread(target=lambda: found.append(verifier("", costly, "\\lim_{x\\to 0} x")))
    thread.start()
    began = time.perf_counter()
    served = 0
    while thread.is_alive():
        served += verifier("", "\\boxed{\\frac{\\sqrt{3}}{2}}", "\\sqrt{\\frac{3}{4}}").score
    assert served > 20
    assert time.perf_counter() - began < 10
    assert found[0].score == 0
    assert found[0].parts["too_costly"] == 1


def test_a_fault_of_the_verifier_is_an_error_and_no_zero(verifier, monkeypatch):
    def broken(*pair):
        raise Broken("no memory left")

    monkeypatch.setattr(verifier.pool, "ask", broken)
    verdict = verifier("", "\\boxed{x+1}", "1+x")
    assert math.isnan(verdict.score)
    assert math.isnan(verdict.acc)
    assert verdict.error == "the math verifier failed: no memory left"


def test_it_does_not_start_where_known_pairs_come_out_wrong(monkeypatch):
    monkeypatch.setattr(math_answer, "KNOWN", (("\\sqrt{8}", "2\\sqrt{2}", False),))
    with pytest.raises(
        UserError, match=r"finds 2\\sqrt\{2\} right where \\sqrt\{8\} is asked, in its self-test"
    ):
        MathAnswer(workers=1).build(Around())
