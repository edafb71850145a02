"""Multiple choice: compares the letter that an answer states."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from menon.reward.extract import WAYS, Way, stated
from menon.types import Verdict

LONGEST = 40
"""Characters of a gold answer that may be a letter with its wrapping."""
_GOLD = re.compile(r"\$?(?:\\(?:text\w*|mathrm|mathbf)\{)?[(\[]?([A-J])[)\].:]?\}?\.?\$?")
_WRAPPING = re.compile(r"\\(?:text\w*|mathrm|mathbf|textbf|boxed|mbox)\s*\{|[{}$*\"'“”‘’`]|\\[()\[\],;! ]")
_LETTER = re.compile(
    r"(?:the )?(?:correct )?(?:final )?(?:option|choice|answer|选项|选)? ?(?:is)? ?:? ?"
    r"(?:\( ?([A-J]) ?\)|\[ ?([A-J]) ?\]|([A-J])(?=$| ?[.:)。,，;：、]| (?-i:[A-Z(])))(.*)",
    re.IGNORECASE,
)
_ANOTHER = re.compile(
    r"^\s*(?:[,，、;/&]|and\b|or\b)\s*(?:and\b|or\b)?\s*[(\[]?\s*[A-J]\s*(?:[)\].,]|$|\s+(?:and|or)\b)",
    re.IGNORECASE,
)
_MENTIONED = re.compile(
    r"\b(?:option|choice|choose|chose|select|pick|answer)\s+(?:is\s+)?\(?([A-J])\b(?!')|\(?\b([A-J])\b\)?\s+is\s+(?:the\s+)?(?:correct|right)"
)


def gold_letter(gold: str) -> str | None:
    """`B` of `B`, `(B)`, `\\text{(B)}`, `B.`; None where the gold is no letter from A to J."""
    found = _GOLD.fullmatch("".join(gold.split())) if len(gold) <= LONGEST else None
    return found[1] if found else None


def letter(text: str) -> str | None:
    """The letter that an answer begins with: `B`, `b`, `(B) 42`, `Option B`, `B. because`; None for several
    or none."""
    found = _LETTER.match(" ".join(_WRAPPING.sub("", text[:300]).split()))
    if found is None or _ANOTHER.match(found[4]):
        return None
    return (found[1] or found[2] or found[3]).upper()


def mentioned(text: str) -> str | None:
    """The last letter that a text calls its choice without marking it: `I choose C`, `D is the correct
    answer`."""
    found = _MENTIONED.findall(text[-1000:])
    return (found[-1][0] or found[-1][1]) if found else None


@dataclass(frozen=True)
class MultipleChoice:
    """1 if the stated letter is the gold one, else 0; if the gold answer is no letter from A to J, no answer
    is right."""

    kind: Literal["choice"] = "choice"
    ways: ClassVar[tuple[Way, ...]] = WAYS
    """Where the letter may be stated; a subclass for evaluation is more lenient."""

    def __call__(self, prompt: str, completion: str, answer: str, **columns: object) -> Verdict:
        found = stated(prompt, completion, self.ways)
        score = float(
            found is not None and letter(found) is not None and letter(found) == gold_letter(answer)
        )
        return Verdict(score, acc=score)

    def spell(self, prompt: str, answer: str) -> str:
        return f"\\boxed{{{answer}}}"
