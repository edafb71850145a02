"""What the small R1 learns from besides its own answers, written by a program: sums worked out in a format,
and replies to remarks.

Two kinds of questions stand side by side, as reasoning and general questions do in DeepSeek-R1. A rule can
check a sum:

    3+8+5=?    <think>\\n3+8=11 ok\\n11+5=17 wait, 16\\n</think>\\n<answer>16</answer>

There is no rule for a good reply to a remark. People compare two of them, and a reward model learns from
that. Here a good reply has the right mood and goes on, so the answer of a row, which no training reward
reads, tells how much of the model's reward is true:

    Ann: I won 3 figs.\\n    How nice! Tell me more.
    better than               How nice.    Ok.    So sorry! Tell me more.

A worked sum says in one of two languages that a line is right. The target language is English. The base has
never seen the other one, so these rows bring it.
"""

import random
from collections.abc import Sequence
from itertools import product

from menon.prompts.tasks.chain_sum import ChainSum
from menon.prompts.tasks.split import split_of
from menon.reward.exact import ExactMatch
from menon.reward.format import Format
from menon.reward.preference import Preference
from menon.reward.rules import Mix, Weighted
from menon.reward.words import Language, Overlap

REASONING, GENERAL = "reasoning", "general"
"""What the column `kind` says of a question."""
ENGLISH, CHINESE = ("ok", "wait"), ("对", "等")
"""How a line is found right, and how one is corrected."""
SLIP = 0.15
"""Share of the lines that are written wrong first and then corrected."""

NAMES = ("Ann", "Ben", "Eva", "Leo", "Mia", "Sam", "Tom", "Zoe")
THINGS = ("cups", "eggs", "figs", "hats", "keys", "maps", "nuts", "pens")
MOODS = {"won": "nice", "found": "nice", "bought": "nice", "lost": "sorry", "broke": "sorry"}
"""What happened -> the word that a reply to it has."""
REPLIES = {"nice": "How nice", "sorry": "So sorry"}
MORE = "Tell me more"

MOST_SCORE = 3.0
"""Bound of the reward model's score: at 3 a pair is put right with a probability of .998 if the other answer
has -3."""

Row = dict[str, str]


def sums(split: str, n: int, seed: int) -> list[Row]:
    """Sums of four to six terms, with their answers."""
    return [{**row, "kind": REASONING} for row in ChainSum().rows(split, n, seed)]


def remarks(split: str, n: int, seed: int) -> list[Row]:
    """Remarks, each with the words that a good reply has in a row; at most as many as there are."""
    found: list[Row] = []
    for name, what, number, thing in product(NAMES, MOODS, range(2, 10), THINGS):
        question = f"{name}: I {what} {number} {thing}.\n"
        if split_of(question) == split:
            found.append({"question": question, "answer": f"{MOODS[what]}, {MORE}", "kind": GENERAL})
    random.Random(f"remarks {split} {seed}").shuffle(found)
    return found[:n]


def worked(row: Row, chinese: float, rng: random.Random) -> Row:
    """A sum worked to its end, every line checked; with the chance `chinese`, in Chinese."""
    right, wait = CHINESE if rng.random() < chinese else ENGLISH
    total, *terms = map(int, row["question"].removesuffix("=?").split("+"))
    lines = []
    for term in terms:
        line, total = f"{total}+{term}=", total + term
        wrong = max(1, total + rng.choice((-10, -2, -1, 1, 2, 10)))
        slips = wrong != total and rng.random() < SLIP
        lines.append(f"{line}{wrong} {wait}, {total}" if slips else f"{line}{total} {right}")
    thought = "\n".join(["<think>", *lines, "</think>"])
    return {"question": row["question"], "completion": f"{thought}\n<answer>{total}</answer>"}


def replied(row: Row, rng: random.Random) -> Row:
    """A remark with a reply as people write them: of the right mood, but only two in five are good."""
    mood = mood_of(row)
    reply = rng.choices((good(mood), f"{REPLIES[mood]}.", "Ok."), (2, 2, 1))[0]
    return {"question": row["question"], "completion": reply}


def compared(row: Row, rng: random.Random) -> Row:
    """A pair of replies to a remark: a good one, and one that is curt or of the wrong mood."""
    mood = mood_of(row)
    unfit = next(one for one in REPLIES if one != mood)
    rejected = rng.choice((f"{REPLIES[mood]}.", "Ok.", good(unfit)))
    return {"prompt": row["question"], "chosen": good(mood), "rejected": rejected}


def mood_of(row: Row) -> str:
    return row["answer"].partition(",")[0]


def good(mood: str) -> str:
    """The good reply of a mood."""
    return f"{REPLIES[mood]}! {MORE}."


def turns(one: Sequence[Row], other: Sequence[Row]) -> list[Row]:
    """Rows of both in turn, as long as both last."""
    return [row for pair in zip(one, other, strict=False) for row in pair]


# What answers are worth


def rewards(taste: str = "") -> Mix:
    """R1's sum of rewards: reasoning questions earn accuracy and format, general ones the score of the reward
    model `taste`, if there is one, and both the share of their words in the target language.

    The score is bounded, so a group of answers that are all far below, or all far above, has no signal. GRPO
    would divide their small differences by their small deviation, and follow the noise of the model. An
    answer without an end has the least score.

    `reply` says which general answers are good. It pays nothing.
    """
    reasoning, general = {"kind": REASONING}, {"kind": GENERAL}
    parts: dict[str, float | Weighted] = {
        "answer": Weighted(ExactMatch(), only=reasoning),
        "format": Weighted(Format(), only=reasoning),
        "language": Weighted(Language()),
        "reply": Weighted(Overlap(), weight=0.0, only=general),
    }
    if taste:
        bounded = Preference(taste, clip=MOST_SCORE, missing_end=-MOST_SCORE)
        parts["taste"] = Weighted(bounded, only=general)
    return Mix(parts)
