import re

import pytest

from menon.base import corpus, search
from menon.errors import UserError
from menon.prompts.tasks import Countdown
from menon.prompts.template import TEMPLATES, Template, fill, find_template

RENDERED = {
    "none": "What is {x}?",
    "abel": "Question:\nWhat is {x}?\nAnswer:\nLet's think step by step.\n",
    "8020": "User:\nWhat is {x}?\nPlease reason step by step, and put your final answer within "
    "\\boxed{}.\n\nAssistant:\n",
    "deepseek_math": "User: What is {x}?\nPlease reason step by step, and put your final answer within "
    "\\boxed{}.\n\nAssistant:",
    "qwen_math": (
        "<|im_start|>system\nPlease reason step by step, and put your final answer within "
        "\\boxed{}.<|im_end|>\n"
        "<|im_start|>user\nWhat is {x}?<|im_end|>\n<|im_start|>assistant\n"
    ),
    "answer": "Answer: What is {x}?",
    "steps": "Steps: What is {x}?",
    "q_a": "Q: What is {x}?\nA:",
    "cot": "Q: What is {x}?\nA: Let's think step by step.",
    "q_steps": "What is {x}?\nSteps:",
    "qwen_boxed": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nWhat is "
        "{x}?\nPlease reason step by step, "
        "and put your final answer within \\boxed{}.<|im_end|>\n<|im_start|>assistant\n"
    ),
}


@pytest.mark.parametrize("name", RENDERED)
def test_short_templates_to_the_letter(name):
    assert fill(find_template(name), {"question": "What is {x}?"}) == RENDERED[name]


SPECIFIED = (
    "r1_zero",
    "orz",
    "abel",
    "8020",
    "deepseek_math",
    "qwen_math",
    "none",
    "dapo",
    "tinyzero_base",
    "logic_rl",
)


@pytest.mark.parametrize("name", SPECIFIED)
def test_templates_agree_with_the_specification(shared, name):
    lines = (shared / "spec" / "algorithms.md").read_text().splitlines()
    [row] = [line for line in lines if line.startswith(f"| `{name}` | `")]
    shown = row.split("| `", 2)[2].split("`", 1)[0].replace("\\|", "|")
    assert TEMPLATES[name].text == shown.replace("\\n", "\n")


def test_every_specified_template_is_there(shared):
    text = (shared / "spec" / "algorithms.md").read_text().split("### 8.2 Templates")[1].split("\n- ")[0]
    names = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert len(names) == 14
    assert set(names) <= set(TEMPLATES)


def test_templates_that_are_told_by_their_difference():
    orz, drgrpo = TEMPLATES["orz"], TEMPLATES["drgrpo_r1"]
    start = orz.text.split(" User: You must")[0]
    assert start.endswith("<answer> answer here </answer>.")
    assert drgrpo.text == start + "\nUser: {q}\nAssistant: <think>"
    assert (orz.stop, drgrpo.stop) == (("User:", "Human:", "Assistant:", "</answer>"), ("</answer>",))
    r1 = TEMPLATES["r1_zero"].text
    assert TEMPLATES["prime_zero"].text.endswith(
        "User: {q}\n\nPresent the answer in LaTex format: \\boxed{Your answer}. Assistant:"
    )
    assert TEMPLATES["prime_zero"].text.split("User: {q}")[0] == r1.split("User: {q}")[0]
    roll = (
        r1.replace(
            "with the answer. The",
            "with the answer, ensuring that the final result in the answer is enclosed in \\boxed{}. The",
        )
        .replace(
            "<think> </think> and <answer> </answer> tags",
            "'<think>' '</think>' and '<answer>' '</answer>' tags",
        )
        .replace("{q}. Assistant:", "{q} Assistant:")
    )
    assert TEMPLATES["roll_base"].text == roll != r1


def test_the_base_models_have_seen_their_templates():
    seen = {template.text for template in TEMPLATES.values()}
    habits = [*corpus.HABITS.values(), *search.HABITS.values()]
    assert {habit.template for habit in habits} <= seen


def test_only_the_fields_are_replaced_and_only_once():
    own = find_template("{q} {answer} {} {0!r} {q}")
    assert (
        fill(own, {"question": "a {q} b {c}", "answer": "no"}) == "a {q} b {c} {answer} {} {0!r} a {q} b {c}"
    )
    row = {"question": "3,8>11=?", "nums": [3, "{target}"], "target": 11, "q": "no"}
    assert "Using the numbers [3, '{target}'], create an equation that equals 11. You" in fill(
        TEMPLATES["tinyzero_base"], row
    )


def test_countdown_has_what_its_template_wants():
    task = Countdown(4)
    for row in task.rows("heldout", 20, seed=0):
        text = fill(TEMPLATES["tinyzero_base"], row)
        assert f"Using the numbers {row['nums']}, create an equation that equals {row['target']}. You" in text
        columns = {name: value for name, value in row.items() if name != "answer"}
        assert (
            task.grade(text, f" ...</think>\n<answer> {row['answer']} </answer>", row["answer"], **columns)
            == 1.0
        )


def test_own_text_is_taken():
    assert find_template("Q: {q}\nA:\n") == Template("Q: {q}\nA:\n")


def test_anything_else_is_refused_with_the_nearest_name():
    with pytest.raises(
        UserError,
        match=r"no template 'r1_zer0' \(did you mean 'r1_zero'\?\); .*steps, and a text of your own needs",
    ):
        find_template("r1_zer0")
    with pytest.raises(
        UserError,
        match=r"^the template 'Question: \{\} Answer:' has no \{q\}; add \{q\} where the question goes$",
    ):
        find_template("Question: {} Answer:")
