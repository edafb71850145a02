"""How a question becomes the text that the policy reads (spec 8.2).

The published templates, exactly; base models are sensitive to every character of them.
"""

from difflib import get_close_matches

from menon.errors import UserError

_BOXED = "Please reason step by step, and put your final answer within \\boxed{}."

TEMPLATES: dict[str, str] = {
    "none": "{q}",
    # DeepSeek-R1-Zero, arXiv 2501.12948, table 1. The period after the question is in the paper.
    "r1_zero": (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant first "
        "thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning process and "
        "answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process "
        "here </think> <answer> answer here </answer>. User: {q}. Assistant:"
    ),
    # Open-Reasoner-Zero, arXiv 2503.24290, as its code renders it; the table in the paper differs.
    "orz": (
        "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The Assistant first "
        "thinks about the reasoning process in the mind and then provides the User with the answer. The reasoning process is "
        "enclosed within <think> </think> and answer is enclosed within <answer> </answer> tags, respectively, i.e., <think> "
        "reasoning process here </think> <answer> answer here </answer>. User: You must put your answer inside <answer> "
        "</answer> tags, i.e., <answer> answer here </answer>. And your final answer will be extracted automatically by the "
        "\\boxed{} tag.\n"
        "This is the problem:\n{q}\nAssistant: <think>"
    ),
    # "Beyond the 80/20 rule", arXiv 2506.01939.
    "8020": f"User:\n{{q}}\n{_BOXED}\n\nAssistant:\n",
    # Qwen's chat markup written out, so that it is the same for a tokenizer without a chat template.
    "qwen_boxed": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{{q}}\n{_BOXED}<|im_end|>\n<|im_start|>assistant\n"
    ),
    # Abel and SimpleRL-Zoo's simple prompt.
    "abel": "Question:\n{q}\nAnswer:\nLet's think step by step.\n",
}

CHAT = "chat"
"""The chat template of the model's own tokenizer."""


def find_template(name: str) -> str:
    """A text with `{q}`: one of `TEMPLATES` by its name, or the user's own. `chat` stays `chat`."""
    if name == CHAT:
        return CHAT
    if name in TEMPLATES:
        return TEMPLATES[name]
    if "{q}" in name:
        return name
    known = [*TEMPLATES, CHAT]
    near = get_close_matches(name, known, n=1)
    meant = f" (did you mean '{near[0]}'?)" if near else ""
    raise UserError(f"template '{name}' is none of {', '.join(known)}{meant}, and no text with {{q}} where the question goes")


def fill(template: str, question: str) -> str:
    """Only `{q}` is replaced: braces elsewhere, in the question above all, are text."""
    return template.replace("{q}", question)
