"""The thought never counts: one function cuts it off, for every reward and environment that reads text."""

import sys
from types import SimpleNamespace

import pytest

from menon.eval.ifeval import Instructions
from menon.eval.measure import WithinTolerance
from menon.prompts.tasks import Boolean, ChainSum, Countdown, Sorting, WordProblems
from menon.reward.choice import MultipleChoice
from menon.reward.code.tests import CodeTests
from menon.reward.exact import ExactMatch
from menon.reward.f1 import WordF1
from menon.reward.json_answer import JsonAnswer
from menon.reward.judge import Judge
from menon.reward.numeric import Numeric
from menon.reward.pattern import Pattern
from menon.reward.preference import Preference
from menon.reward.words import Overlap
from menon.rollout.environments.reasoning_gym import ReasoningGym
from menon.thought import after_thinking, before_thinking, opens_thought
from menon.types import Prompt, no_tokens

QWEN = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("prompt", "completion", "answer"),
    [
        ("Q:", "7", "7"),
        ("Q:", "  7", "  7"),
        ("Q:", "<think>8</think>\n\n7", "7"),
        ("Q:", "<think>8</think>7</think>6", "6"),
        ("Q:", "<think>8</think>7<think>6", None),
        ("Q:", "<think>a</think>x<think>b</think>7", "7"),
        ("Q:", "<think>7", None),
        ("Q:", "7<think>", None),
        ("Q:", "<think>7</think>", ""),
        ("Q:", "8</think>7", "7"),
        ("Q:", "<THINK>8</Think>7", "7"),
        ("Q:", "<thinking>8</thinking>7", "7"),
        ("Q:", "<thought>7", None),
        ("Q:", "[THINK]8[/THINK]7", "7"),
        ("Q:", "[think] 7", "[think] 7"),
        ("Q:", "<|begin_of_thought|>8<|end_of_thought|>\n7", "7"),
        ("Q:", "<seed:think>8</seed:think>7", "7"),
        ("Q:", "<|channel|>analysis<|message|>8<|end|><|channel|>final<|message|>7", "7"),
        ("Q:", "<|channel|>analysis<|message|>7", None),
        ("Q:", "<thinks>7", "<thinks>7"),
        ("Q:", "< think >8</ think>7", "7"),
        ("Q:", "<reasoning>8</reasoning>7", "7"),
        ("Q:", "<scratchpad>8</scratchpad>", ""),
        ("Q:", "◁think▷8◁/think▷7", "7"),
        ("Q:", "◁think▷8", None),
        ("Q: <think>\n", "7", None),
        ("Q: <think>", "8</think>7", "7"),
        ("Q: <think>", "<think>8</think>7", "7"),
        (QWEN + "<think>\n", "8", None),
        (QWEN + "<think>\n\n</think>\n\n", "7", "7"),
        (QWEN + "<think>\nOkay, so", " 8", None),
        ("Assistant: <think> Let me see.", " 8</think>7", "7"),
        ("Write <think> </think>. Q:", "7", "7"),
        ("Put your thoughts into <think> tags. Q: 3 + 4?", "7", "7"),
        ("Begin with <think>\nas usual.\nQ: 3 + 4?", "7", "7"),
    ],
)
def test_only_what_follows_the_thought_is_the_answer(prompt, completion, answer):
    assert after_thinking(prompt, completion) == answer


def test_the_prompt_without_the_thought_that_it_opens():
    assert before_thinking(QWEN + "<think>\n") == QWEN
    assert before_thinking("Write <think> tags. Q:") == "Write <think> tags. Q:"
    assert not opens_thought("")


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


SEVEN = [{"input": "", "output": "7"}]
WORD = "{question}{final_step}{reference}"


def judge(prompt, completion, answer):
    said = Judge(lambda asked: [("YES" if "7" in one else "NO", {}) for one in asked], prompt=WORD)
    return said(prompt, completion, answer="seven", question="q")


def code(prompt, completion, answer):
    return CodeTests()(prompt, completion, answer, tests=SEVEN)


def preference(prompt, completion, answer):
    return Preference(lambda texts: [float("7" in text) for text in texts])("Q" + prompt, completion, answer)


RULES = {
    "exact": (ExactMatch(), "\\boxed{7}", "7"),
    "numeric": (Numeric(), "\\boxed{7}", "7"),
    "within": (WithinTolerance(), "\\boxed{7}", "7"),
    "f1": (WordF1(), "Answer: red", "red"),
    "choice": (MultipleChoice(), "Answer: B", "B"),
    "json": (JsonAnswer(), '{"a": 7}', '{"a": 7}'),
    "overlap": (Overlap(), "red house", "red house"),
    "pattern": (Pattern(whole=True), "red", "red"),
    "code": (code, fenced("print(7)"), "7"),
    "judge": (judge, "It is 7", "seven"),
    "preference": (preference, "It is 7", ""),
    "chain_sum": (ChainSum().grade, "3+4=7#7", "7"),
    "sorting": (Sorting().grade, "#1,2", "1,2"),
    "boolean": (Boolean().grade, "#TF", "TF"),
    "word_problems": (WordProblems().grade, "#7", "7"),
    "countdown": (
        lambda prompt, completion, answer: Countdown().grade(
            prompt, completion, answer, question="4,7,11>7=?"
        ),
        "#11-4",
        "",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_draft_in_the_thought_earns_nothing(name):
    rule, right, gold = RULES[name]

    def score(text, prompt=""):
        verdict = rule(prompt, text, gold)
        return verdict if isinstance(verdict, float) else verdict.score

    assert score(right) == 1
    assert score(f"<think>a draft</think>\n{right}") == 1
    assert score(f"a draft</think>\n{right}", QWEN + "<think>\n") == 1
    for text, prompt in (
        (f"<think>{right}</think>\nNo idea", ""),
        (f"<think>{right}", ""),
        (f"<think>{right}\n", QWEN),
        (right, "Assistant: <think>"),
        (right, QWEN + "<think>\nOkay,"),
        (f"{right}</think>", QWEN + "<think>\n"),
    ):
        assert score(text, prompt) == 0, (text, prompt)
    if hasattr(rule, "close"):
        rule.close()


def test_instructions_are_checked_in_the_text_after_the_thought(monkeypatch):
    seen: list[str] = []

    def check(asked, completion):
        seen.append(completion)
        return SimpleNamespace(follow_instruction_list=[bool(completion)])

    published = SimpleNamespace(
        InputExample=lambda *given: given,
        test_instruction_following_strict=check,
        test_instruction_following_loose=check,
    )
    monkeypatch.setattr("menon.eval.ifeval.published_checks", lambda: published)
    row = {"instruction_id_list": ["a"], "kwargs": [{}]}
    scores = [
        Instructions()(prompt, text, None, **row).score
        for prompt, text in (
            ("", "<think>Hm,</think>\n\nOne\n\nTwo"),
            ("<think>", "Hm"),
            ("", "<think>Hm"),
            ("", " as it is"),
        )
    ]
    assert seen[::2] == ["One\n\nTwo", "", "", " as it is"]
    assert scores == [1, 0, 0, 1]


def test_reasoning_gym_scores_the_text_after_the_thought(monkeypatch):
    """Also in the thought that the prompt opened; the last line counts only where it follows the thought."""
    said: list[str | None] = []
    library = SimpleNamespace(
        create_dataset=lambda name, **settings: SimpleNamespace(
            score_answer=lambda answer, entry: float(said.append(answer) or answer == "7")
        )
    )
    monkeypatch.setitem(sys.modules, "reasoning_gym", library)
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", SimpleNamespace(DATASETS={"sums"}))

    def extract_answer(text):
        return text.split("<answer>")[1].split("</answer>")[0] if "<answer>" in text else None

    monkeypatch.setitem(sys.modules, "reasoning_gym.utils", SimpleNamespace(extract_answer=extract_answer))
    gym = ReasoningGym("sums")
    for prompt, text in (
        ("Q", "<think>5</think>\n7"),
        ("Q", "<think><answer>7</answer></think>\n6"),
        ("Q", "<think><answer>7</answer>"),
        ("Q <think>", "<answer>7</answer>"),
        ("Q <think>", "5</think><answer>7</answer>"),
    ):
        gym.reset(Prompt(0, no_tokens(), prompt, "7", {"entry": {}}), 0)
        gym.step(text)
    assert said == ["7", "6", None, None, "7"]
