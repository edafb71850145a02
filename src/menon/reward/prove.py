"""Checks data before training: every gold answer must earn the full reward by its own verifier."""

from collections.abc import Callable, Sequence

from menon.errors import Fault, OnBad, refuse_rows
from menon.reward.grade import Grading
from menon.thought import CLOSING, opens_thought
from menon.types import Prompt, Verdict

SHOWN_LETTERS = 40


def prove_golds(
    prompts: Sequence[Prompt], grading: Grading, spell: Callable[[str, str], str], on_bad: OnBad = "stop"
) -> tuple[list[Prompt], int]:
    """The prompts whose gold answer is right by their own verifier, and the number of the other prompts.

    `spell(prompt, answer)` writes a text that states an answer (`ExactMatch.spell`); so this is for built-in
    rewards, for which it is known how an answer is stated. UserError names the rows that fail,
    unless they are to be skipped and others remain.
    """
    proved: list[Prompt] = []
    faults: list[Fault] = []
    refuses = getattr(grading.reward, "refuses", lambda answer: "")
    for prompt in prompts:
        verdict = prove(prompt, grading, spell)
        if verdict.acc == 1:
            proved.append(prompt)
        else:
            cannot = verdict.error or refuses(prompt.answer or "")
            why = (
                f"its own answer {'cannot be graded: ' if verdict.error else ''}{cannot}"
                if cannot
                else f"its own answer earns {verdict.score:g} and is not counted as correct"
            )
            faults.append(Fault(f"row {prompt.index + 1}", why, f"{begin(prompt)}, answer {prompt.answer!r}"))
    if faults and (on_bad == "stop" or not proved):
        refuse_rows("gold answers", faults, total=len(prompts))
    return proved, len(faults)


def prove(prompt: Prompt, grading: Grading, spell: Callable[[str, str], str]) -> Verdict:
    """The verdict on the gold answer itself. A thought that the prompt opened is closed first."""
    close = CLOSING if opens_thought(prompt.text) else ""
    return grading.judge(prompt, close + spell(prompt.text, prompt.answer or ""))


def begin(prompt: Prompt) -> str:
    """The beginning of the question, by which a row can be found if rows before it were held out or left
    out."""
    text = str(prompt.columns.get("question", prompt.text))
    return repr(text if len(text) <= SHOWN_LETTERS else text[: SHOWN_LETTERS - 3] + "...")
