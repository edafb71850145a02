import math
import time

import pytest

from menon.errors import UserError
from menon.parts import Around
from menon.reward import rules
from menon.reward.choice import MultipleChoice
from menon.reward.code.signatures import Asked, judge
from menon.reward.exact import ExactMatch
from menon.reward.format import Format, TagCount
from menon.reward.grade import BatchGrading, grading_of
from menon.reward.json_answer import JsonAnswer
from menon.reward.math.answer import MathAnswer
from menon.reward.numeric import Numeric
from menon.reward.pattern import Pattern
from menon.reward.preference import Preference
from menon.reward.repetition import Repetition
from menon.reward.rules import Cosine, Mix, Staged, Stopped, Weighted, reward_from
from menon.reward.words import Language, Overlap
from menon.settings import read, reader
from menon.types import Verdict


def build(rule):
    return reward_from(rule, Around())


WELL = "<think>a</think> <answer>\\boxed{5}</answer>"


def score(rule, completion, answer="5", prompt="", **columns):
    return rule(prompt, completion, answer, **columns).score


@pytest.mark.parametrize(
    ("gold", "said", "expected"),
    [
        ("10", "10.1", 1),
        ("10", "10.11", 0),
        ("10", "9.9", 1),
        ("-10", "-10.05", 1),
        ("-10", "10", 0),
        ("0", "0", 1),
        ("0", "0.0001", 0),
        ("1/4", "0.2501", 1),
        ("0.25", "1/4", 1),
        ("1,000", "\\$1001", 1),
        ("5e-3", "0.005", 1),
        ("12", "12\\%", 1),
        ("12", "1e999999", 0),
        ("12", "1/0", 0),
        ("12", "twelve", 0),
        ("12", "1 2", 0),
        ("12", "12 %", 1),
        ("1200", "1 200", 1),
        ("12", "12%%", 0),
        ("1/4", "1 / 4", 1),
        ("-12", "- 12", 1),
        ("12", "nan", 0),
        ("x", "x", 0),
    ],
)
def test_numeric_is_within_its_tolerance_and_exact_about_it(gold, said, expected):
    assert score(Numeric(relative=0.01), f"\\boxed{{{said}}}", gold) == expected


def test_numeric_tolerances_add_up():
    assert score(Numeric(relative=0, absolute=0.5), "#### 10.5", "10") == 1
    assert score(Numeric(relative=0, absolute=0.5), "#### 10.51", "10") == 0
    assert score(Numeric(relative=0.05, absolute=0.5), "#### 11", "10") == 1
    for said, unread in (("#### 11", 0), ("#### eleven", 1), ("11", 1)):
        assert Numeric()("", said, "10").parts == {"unparsable": unread}
    with pytest.raises(UserError, match="neither can be negative"):
        Numeric(relative=-1.0)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("B", 1),
        ("b", 1),
        ("(B)", 1),
        ("\\text{(B)}", 1),
        ("B. Paris", 1),
        ("B) 12", 1),
        ("Option B", 1),
        ("A", 0),
        ("A, B", 0),
        ("A or B", 0),
        ("AB", 0),
        ("", 0),
        ("Berlin", 0),
        ("2", 0),
        ("not B", 0),
    ],
)
def test_choice(said, expected):
    assert score(MultipleChoice(), f"\\boxed{{{said}}}", "B") == expected


def test_a_gold_that_is_no_letter_is_no_choice():
    assert score(MultipleChoice(), "\\boxed{B}", "Berlin") == 0


def test_format_wants_each_tag_once_and_nothing_around():
    assert score(Format(), WELL) == 1
    assert score(Format(), " \n" + WELL + "\n") == 1
    for text in (
        "x" + WELL,
        WELL + "x",
        WELL.replace("</think>", ""),
        "<think></think>" + WELL,
        WELL.replace("think", "thought"),
        "",
    ):
        assert score(Format(), text) == 0
    assert score(Format(), "a</think><answer>5</answer>", prompt="Q <think>") == 1
    assert score(Format(), WELL, prompt="Q <think>") == 0
    assert math.isnan(Format()("", WELL).acc)
    assert [
        score(TagCount(), text) for text in (WELL, "<think></think>", "<answer><answer></answer>", "")
    ] == [1, 0.5, 0.25, 0]


def test_overlap_are_the_baselines_by_rule():
    """gold: new york city; answer: city, of, new, york: 3 of 4 words are common."""
    assert score(Overlap(), "It is New York City!", "new york city") == 1
    assert score(Overlap(), "the city of New York", "New York City") == 0
    assert score(Overlap(soft=True), "the city of New York", "New York City") == 0.75
    assert score(Overlap(), "<think>New York City</think> Boston", "New York City") == 0
    assert score(Overlap(), "Yorkshire", "York") == 0
    assert score(Overlap(), "anything", "") == 0


def test_language_is_the_share_of_its_words():
    assert score(Language(), "so we get 7") == 1
    assert score(Language(), "so 我们 get") == 0.5
    assert score(Language("zh"), "so 我们 get") == 0.5
    assert score(Language(), "это so") == 0.5
    assert score(Language("zh"), "$x+y$ \\frac{1}{2} 答案") == 1
    assert score(Language(), "12 + 3") == 1
    with pytest.raises(UserError, match="choose en or zh"):
        Language("fr")


def test_repetition_counts_distinct_ngrams_of_tokens():
    assert score(Repetition(n=2), "", completion_ids=[1, 1, 1, 1]) == pytest.approx(
        -2 / 3
    )  # 11 11 11: one of three
    assert score(Repetition(n=2, most=0.5), "", completion_ids=[1, 1, 1, 1]) == pytest.approx(-1 / 3)
    assert score(Repetition(n=2), "", completion_ids=[1, 2, 3]) == 0
    assert score(Repetition(n=2), "", completion_ids=[1]) == 0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{"b": [1.0, 2], "a": null}', 1),
        ('<answer>{"a": null, "b": [1, 2]}</answer>', 1),
        ('Here:\n```json\n{"a": null, "b": [1, 2]}\n```\nDone.', 1),
        ('<answer>```JSON\n{"a": null, "b": [1, 2]}\n```</answer>', 1),
        ('<answer></answer>\n```json\n{"a": null, "b": [1, 2]}\n```', 0),
        ('{"a": null, "b": [2, 1]}', 0),
        ('{"a": null, "b": [1, true]}', 0),
        ('{"a": null, "a": null, "b": [1, 2]}', 0),
        ('{"a": null, "b": [1, 2], "c": 0}', 0),
        ('{"a": NaN}', 0),
        ("{'a': None}", 0),
        ("[" * 100_000, 0),
        ("", 0),
    ],
)
def test_json(said, expected):
    assert score(JsonAnswer(), said, '{"a": null, "b": [1, 2]}') == expected


def test_json_by_keys():
    partial = JsonAnswer(partial=True)("", '{"a": 1, "b": 3, "c": 4}', '{"a": 1, "b": 2}')
    assert (partial.score, partial.acc) == (pytest.approx(1 / 3), 0)
    assert JsonAnswer()("", "no", "{}").parts == {"unparsable": 1}
    assert JsonAnswer()("", '<answer>{"a": "**x**"}</answer>', '{"a": "**x**"}').score == 1


def test_pattern_takes_a_row_or_its_own_and_never_hangs():
    matcher = build(Pattern())
    try:
        assert score(matcher, "\\boxed{2024-01-31}", r"\d{4}-\d\d-\d\d") == 1
        assert score(matcher, "\\boxed{2024-01-31!}", r"\d{4}-\d\d-\d\d") == 0
        began = time.perf_counter()
        verdict = matcher("", "\\boxed{" + "a" * 60 + "!}", r"(a+)+b")
        assert (verdict.score, verdict.parts) == (0, {"too_costly": 1})
        assert time.perf_counter() - began < 8
        assert "cannot be matched" in matcher("", "\\boxed{a}", "(").error
    finally:
        matcher.close()
    own = build(Pattern("yes.*", whole=True))
    assert score(own, "yes,\nindeed", "") == 1
    own.close()
    with pytest.raises(UserError, match="is no regular expression"):
        Pattern("(")


def test_cosine():
    """Example of docs/numerics.md, 19.5: at most 100 tokens; right at 0, 50, 100: 1, .75, .5; wrong: -1,
    -.75, -.5."""
    rule = Cosine(max_tokens=100)
    assert [rule.of_length(True, tokens) for tokens in (0, 50, 100, 200)] == pytest.approx(
        [1, 0.75, 0.5, 0.5]
    )
    assert [rule.of_length(False, tokens) for tokens in (0, 50, 100, 200)] == pytest.approx(
        [-1, -0.75, -0.5, -0.5]
    )
    made = build(Cosine(max_tokens=4, answer=ExactMatch()))
    verdict = made("", "\\boxed{5}", "5", completion_ids=[1, 2])
    assert (verdict.score, verdict.acc) == (pytest.approx(0.75), 1)


def test_open_reasoner_zero_wants_an_end():
    made = build(Stopped(answer=ExactMatch()))
    assert score(made, "\\boxed{5}") == 1
    assert score(made, "\\boxed{6}") == 0
    cut = made("", "\\boxed{5}", "5", finish="length")
    assert (cut.score, cut.acc) == (0, 1)


def test_stages():
    """Logic-RL: 1 + 2, 1 - 1.5, 1 - 2, -1 - 2."""
    made = build(Staged())
    try:
        assert score(made, WELL) == 3
        assert score(made, WELL.replace("5", "6")) == -0.5
        assert score(made, "<think>a</think><answer>\\qqq</answer>") == -1
        assert score(made, "\\boxed{5}") == -3
    finally:
        made.close()


def test_a_mixture_is_the_weighted_sum_of_its_named_parts():
    made = build(Mix({"exact": 1.0, "format": 0.5, "brief": Weighted(Repetition(n=1), 0.1)}))
    verdict = made("", WELL, "5", completion_ids=[7, 7])
    assert verdict.score == pytest.approx(1 + 0.5 - 0.05)
    assert verdict.acc == 1
    assert verdict.parts == {"exact": 1, "format": 1, "brief": -0.5}
    assert made("", "\\boxed{6}", "5").acc == 0
    alone = build(Mix({"format": 1.0}))
    assert math.isnan(alone("", WELL, "5").acc)


def test_a_mixture_says_what_its_parts_say(tmp_path):
    lines = 'def own(completion, **_): return {"score": 0.5, "feedback": "not " + completion}'
    (tmp_path / "own.py").write_text(lines)
    made = build(Mix({"exact": 1.0, "mine": Weighted(f"{tmp_path}/own.py:own")}))
    verdict = made("", "7", "8")
    made.close()
    assert (verdict.score, verdict.feedback) == (0.5, "not 7")


def test_a_mixture_is_graded_as_in_a_run():
    """A run asks rewards through `judge`, which remembers what a function takes."""
    made = build(Mix({"exact": 1.0, "format": 0.5}))
    for _ in range(2):
        assert judge(made, "menon", Asked("", WELL, "5")) == Verdict(1.5, 1.0, {"exact": 1.0, "format": 1.0})
    assert made == build(Mix({"exact": 1.0, "format": 0.5})) != build(Mix({"exact": 1.0, "format": 1.0}))


def test_a_part_of_a_mixture_is_for_its_rows_only():
    sums = Weighted(ExactMatch(), 2.0, only={"kind": "sum"})
    made = build(Mix({"sum": sums, "format": 1.0, "said": Weighted(Overlap(), 0.0, {"kind": "remark"})}))
    assert made("", WELL, "5", kind="sum") == Verdict(3.0, 1.0, {"sum": 1.0, "format": 1.0})
    assert made("", WELL, "5", kind="remark") == Verdict(1.0, 1.0, {"said": 1.0, "format": 1.0})
    assert made("", WELL, "5").parts == {"format": 1.0}
    assert math.isnan(made("", WELL, "5").acc)
    alone = build(Mix({"sum": Weighted("exact", only={"kind": "sum", "level": "3"})}))
    assert alone("", WELL, "5", kind="sum", level=3).score == 1
    assert not alone("", WELL, "5", kind="sum", level=4).applies


def test_a_model_in_a_mixture_is_asked_once_for_all_its_rows():
    calls = []

    def lengths(texts):
        calls.append(list(texts))
        return [float(len(text)) for text in texts]

    model = Weighted(Preference(lengths), 0.5, only={"kind": "remark"})
    made = build(Mix({"exact": 1.0, "model": model}))
    kinds = ("remark", "sum", "remark")
    asked = [Asked("q", f"#### {place}", "1", {"kind": kind}) for place, kind in enumerate(kinds)]
    verdicts = made.many(asked)
    assert calls == [["q#### 0", "q#### 2"]]
    assert [verdict.score for verdict in verdicts] == [0.5 * 7, 1.0, 0.5 * 7]
    assert [verdict.acc for verdict in verdicts] == [0, 1, 0]
    assert verdicts[0].parts == {"exact": 0.0, "model": 7.0, "raw": 7.0}
    assert isinstance(grading_of(made), BatchGrading)
    assert not made.apart
    assert build(Mix({"math": 1.0})).apart == getattr(MathAnswer(), "apart", False)


def test_a_model_that_fails_fails_the_mixture():
    def broken(texts):
        raise ValueError("no")

    made = build(Mix({"exact": 1.0, "model": Weighted(Preference(broken))}))
    verdict = made.many([Asked("q", "#### 1", "1")])[0]
    assert math.isnan(verdict.score)
    assert verdict.error.startswith("model: the preference model raised ValueError: no")


def test_a_mixture_fails_with_its_part(tmp_path):
    (tmp_path / "own.py").write_text("def own(completion, **rest):\n    raise ValueError('no')\n")
    made = build(Mix({"exact": 1.0, "mine": Weighted(f"{tmp_path}/own.py:own")}))
    try:
        verdict = made("", "\\boxed{5}", "5")
        assert math.isnan(verdict.score)
        assert verdict.error.startswith("mine: the reward function raised ValueError: no")
    finally:
        made.close()


def test_a_part_that_does_not_apply_leaves_the_sum_to_the_others(tmp_path):
    """Two functions of TRL for rows of different tasks, as its documentation has them."""
    (tmp_path / "own.py").write_text(
        "def of(kind, score):\n"
        "    return lambda tasks, n: [score if task == kind else None for task in tasks]\n\n"
        "def maths(prompts, completions, task, **kwargs):\n    return of('maths', 1.0)(task, completions)\n\n"
        "def code(prompts, completions, task, **kwargs):\n    return of('code', 0.5)(task, completions)\n"
    )
    names = {name: Weighted(f"{tmp_path}/own.py:{name}", 2.0) for name in ("maths", "code")}
    made, both = build(Mix(names)), build(Mix({**names, "format": 1.0}))
    try:
        assert made("", "x", "5", task="maths") == Verdict(2.0, 1.0, {"maths": 1.0})
        assert made("", "x", "5", task="code").acc != 0  # .5 says nothing of it
        assert not made("", "x", "5", task="law").applies
        assert both("", WELL, "5", task="law").parts == {"format": 1.0}
    finally:
        made.close()
        both.close()


def test_rules_by_name():
    for kind, cls in rules.KINDS.items():
        if kind != "mix":
            assert reader(rules.RulePart)(kind) == cls()
    assert read(
        Mix, {"parts": {"math": 1, "a": {"rule": {"kind": "numeric", "relative": 0.1}, "only": {"k": "v"}}}}
    ) == Mix({"math": 1.0, "a": Weighted(Numeric(relative=0.1), only={"k": "v"})})
    assert isinstance(reader(rules.RulePart)("choice"), MultipleChoice)
    for wrong, said in (({"parts": {"mth": 1}}, "there is no reward 'mth'"), ({}, "mix holds no part")):
        with pytest.raises(UserError, match=said):
            read(Mix, wrong)
    with pytest.raises(UserError, match="math knows no way 'box'"):
        MathAnswer(ways=("box",))


def test_many_answers_at_once_come_back_in_order():
    made = build(MathAnswer(ways=("boxed",), worked=False))
    try:
        asked = [Asked("", f"\\boxed{{\\sqrt{{{place * place}}}}}", str(place)) for place in range(40)]
        asked[7] = Asked("", "#### 7", "7")
        assert [verdict.score for verdict in made.many(asked)] == [1] * 7 + [0] + [1] * 32
    finally:
        made.close()
