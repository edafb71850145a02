import pytest

from menon.errors import UserError
from menon.prompts.template import TEMPLATES, fill, find_template

RENDERED = {
    "none": "What is {x}?",
    "abel": "Question:\nWhat is {x}?\nAnswer:\nLet's think step by step.\n",
    "8020": "User:\nWhat is {x}?\nPlease reason step by step, and put your final answer within \\boxed{}.\n\nAssistant:\n",
    "qwen_boxed": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nWhat is {x}?\nPlease reason step by step, "
        "and put your final answer within \\boxed{}.<|im_end|>\n<|im_start|>assistant\n"
    ),
}


@pytest.mark.parametrize("name", RENDERED)
def test_short_templates_to_the_letter(name):
    assert fill(find_template(name), "What is {x}?") == RENDERED[name]


def test_long_templates_agree_with_the_specification(shared):
    lines = (shared / "spec" / "algorithms.md").read_text().splitlines()
    for name in ("r1_zero", "orz", "abel", "8020"):
        [row] = [line for line in lines if line.startswith(f"| `{name}` | `")]
        shown = row.split("| `", 2)[2].split("`", 1)[0]
        assert TEMPLATES[name] == shown.replace("\\n", "\n")


def test_only_the_question_is_replaced():
    assert fill("{q} {answer} {} {0!r} {q}", "a {q} b {c}") == "a {q} b {c} {answer} {} {0!r} a {q} b {c}"


def test_own_text_and_chat_are_taken():
    assert find_template("Q: {q}\nA:") == "Q: {q}\nA:"
    assert find_template("chat") == "chat"


def test_anything_else_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"'r1_zer0' is none of .*chat \(did you mean 'r1_zero'\?\), and no text with \{q\}"):
        find_template("r1_zer0")
    with pytest.raises(UserError, match=r"'Question: \{\} Answer:' is none of"):
        find_template("Question: {} Answer:")
