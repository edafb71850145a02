"""How a question becomes the text that the policy reads.

The published templates are here character by character, because base models are sensitive to every character.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from menon.errors import UserError


@dataclass(frozen=True)
class Template:
    text: str
    """The text, with a field in braces for each column of the row that is put in, `{q}` for the question.
    Other braces are text."""
    fields: tuple[str, ...] = ("q",)
    """The columns that are put in; `q` is the question."""
    as_turn: bool = False
    """The filled-in text becomes the user's turn in the tokenizer's own chat template."""
    stop: tuple[str, ...] = ()
    """Strings at which answers were cut in the publication; runs that name no stop strings use them."""


_BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
_TAGS = "<think> reasoning process here </think> <answer> answer here </answer>"

_R1 = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first "
    "thinks about the reasoning process in the mind and then provides the user with the answer. The "
    "reasoning process and "
    f"answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., {_TAGS}. "
    "User: {q}. Assistant:"
)
_ORZ = (
    "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. "
    "The Assistant first "
    "thinks about the reasoning process in the mind and then provides the User with the answer. The "
    "reasoning process is "
    "enclosed within <think> </think> and answer is enclosed within <answer> </answer> tags, "
    f"respectively, i.e., {_TAGS}."
)
_TINYZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first "
    "thinks about the reasoning process in the mind and then provides the user with the answer.\n"
    "User: Using the numbers {nums}, create an equation that equals {target}. You can use basic "
    "arithmetic operations "
    "(+, -, *, /) and each number can only be used once. Show your work in <think> </think> tags. And "
    "return the final answer "
    "in <answer> </answer> tags, for example <answer> (1 + 2) / 3 </answer>.\n"
    "Assistant: Let me solve this step by step.\n<think>"
)
_LOGIC = (
    "<|im_start|>system\nYou are a helpful assistant. The assistant first thinks about the reasoning "
    "process in the mind and "
    "then provides the user with the answer. The reasoning process and answer are enclosed within <think> "
    "</think> "
    "and<answer> </answer> tags, respectively, i.e., <think> reasoning process here </think><answer> "
    "answer here </answer>.  "
    "Now the user asks you to solve a logical reasoning problem. After thinking, when you finally reach a "
    "conclusion, clearly "
    "state the identity of each character within <answer> </answer> tags. i.e., <answer> (1) Zoey is a "
    "knight\n"
    "(2) ... </answer>.\n<|im_end|>\n<|im_start|>user\n{q}\n<|im_end|>\n<|im_start|>assistant\n<think>"
)
_ROLL = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first "
    "thinks about the reasoning process in the mind and then provides the user with the answer, ensuring "
    "that the final result "
    "in the answer is enclosed in \\boxed{}. The reasoning process and answer are enclosed within "
    "'<think>' '</think>' and "
    f"'<answer>' '</answer>' tags, respectively, i.e., {_TAGS}. User: {{q}} Assistant:"
)
_DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer "
    "(without quotes) where $Answer is the answer to the problem.\n\n{q}\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)

CHAT = "chat"
"""The chat template of the model's own tokenizer; a question may also be a list of messages."""

NONE = "none"
"""The question as it is."""

TEMPLATES: dict[str, Template] = {
    NONE: Template("{q}"),
    CHAT: Template("{q}", as_turn=True),
    # DeepSeek-R1-Zero, arXiv 2501.12948, table 1. The period after the question is in the paper.
    "r1_zero": Template(_R1),
    # Open-Reasoner-Zero, arXiv 2503.24290, as its code renders it; the table in the paper differs.
    "orz": Template(
        f"{_ORZ} User: You must put your answer inside <answer> </answer> tags, i.e., <answer> answer "
        "here </answer>. And your "
        "final answer will be extracted automatically by the \\boxed{} tag.\nThis is the "
        "problem:\n{q}\nAssistant: <think>",
        stop=("User:", "Human:", "Assistant:", "</answer>"),
    ),
    # "Understanding R1-Zero-like training" (Dr.GRPO), arXiv 2503.20783.
    "drgrpo_r1": Template(f"{_ORZ}\nUser: {{q}}\nAssistant: <think>", stop=("</answer>",)),
    # PRIME, arXiv 2502.01456, for its runs from a base model.
    "prime_zero": Template(
        _R1.replace("{q}", "{q}\n\nPresent the answer in LaTex format: \\boxed{Your answer}")
    ),
    # ROLL's format for base models.
    "roll_base": Template(_ROLL),
    # TinyZero's countdown; needs the columns of `task=countdown` or of its own data set.
    "tinyzero_base": Template(_TINYZERO, fields=("nums", "target")),
    # Logic-RL, arXiv 2502.14768; the spacing is the source's.
    "logic_rl": Template(_LOGIC),
    # "Beyond the 80/20 rule", arXiv 2506.01939.
    "8020": Template(f"User:\n{{q}}\n{_BOXED}\n\nAssistant:\n"),
    # DeepSeekMath, arXiv 2402.03300.
    "deepseek_math": Template(f"User: {{q}}\n{_BOXED}\n\nAssistant:"),
    # Qwen's chat markup written out, so that it is the same for a tokenizer without a chat template.
    "qwen_boxed": Template(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{{q}}\n{_BOXED}<|im_end|>\n<|im_start|>assistant\n"
    ),
    "qwen_math": Template(
        f"<|im_start|>system\n{_BOXED}<|im_end|>\n<|im_start|>user\n{{q}}<|im_end|>\n<|im_start|>assistant\n"
    ),
    # DAPO, arXiv 2503.14476: the turn of the user.
    "dapo": Template(_DAPO, as_turn=True),
    # Zero-shot chain of thought, arXiv 2205.11916.
    "cot": Template("Q: {q}\nA: Let's think step by step."),
    # Abel and SimpleRL-Zoo's simple prompt.
    "abel": Template("Question:\n{q}\nAnswer:\nLet's think step by step.\n"),
    # The templates that the built-in base models were trained on, the base of sums first: one is biased to
    # bare answers, the other to working.
    "q_a": Template("Q: {q}\nA:"),
    "q_steps": Template("{q}\nSteps:"),
    "answer": Template("Answer: {q}"),
    "steps": Template("Steps: {q}"),
}


def find_template(name: str) -> Template:
    """One of `TEMPLATES` by its name, or the user's own text with `{q}`."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    if "{q}" in name:
        return Template(name)
    if not re.fullmatch(r"[\w-]+", name):
        raise UserError(f"the template {name!r} has no {{q}}; add {{q}} where the question goes")
    near = get_close_matches(name, TEMPLATES, n=1)
    meant = f" (did you mean '{near[0]}'?)" if near else ""
    known = ", ".join(TEMPLATES)
    raise UserError(
        f"there is no template '{name}'{meant}; there are {known}, and a text of your own needs {{q}} where "
        "the question goes"
    )


def fill(template: Template, row: Mapping[str, Any]) -> str:
    """The text for one row, with its `question` and other columns. Only the template's own fields are
    replaced, once and in one pass: braces elsewhere, in the question above all, are text. KeyError names a
    column that the row lacks."""
    values = {"{" + name + "}": str(row["question" if name == "q" else name]) for name in template.fields}
    return re.sub("|".join(map(re.escape, values)), lambda field: values[field.group()], template.text)
