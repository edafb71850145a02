"""`menon rescore RUN --reward X`: what another reward says of the answers that a run has stored."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from menon.cli.check_verifier import reward_named
from menon.cli.plain_json import json_alone, print_json
from menon.cli.words import understand
from menon.errors import UserError
from menon.parts import close
from menon.reward.code.signatures import Asked, judge
from menon.reward.protocols import BatchReward, Reward
from menon.truth import settled_verdicts
from menon.types import Verdict

if TYPE_CHECKING:
    from menon.record.reader import RunView

READ = ["step", "prompt", "answer", "completion", "finish", "score", "acc", "tokens", "is_action"]
GRADED = ["graded_text"]
"""A column that only answers in turns have: what the grader read in place of the completion."""


def rescore(words: Sequence[str]) -> int:
    """Grades the answers that a run has stored with another reward (--reward X; for math also ways=lenient).
    Prints the means of both rewards and where they differ, and stores these numbers in the run's folder as
    rescore_NAME.json. --json prints these numbers as JSON and nothing else."""
    rest, alone = json_alone(words)
    view, reward, ways = asked_by(rest)
    made = reward_named(reward, ways)
    try:
        pairs = regrade(view, made)
    finally:
        close(made)
    numbers = {"reward": reward, "ways": ways, **summary(pairs)}
    from menon.record import disk

    file = view.path / f"rescore_{re.sub(r'[^A-Za-z0-9]+', '_', reward).strip('_')}.json"
    disk.write_json(file, numbers)
    if alone:
        print_json(numbers)
        return 0
    for line in table(numbers):
        print(line)
    print(f"stored in {file}")
    return 0


def asked_by(words: Sequence[str]) -> tuple["RunView", str, str]:
    """The run, the reward (`--reward X` or `reward=X`), and where `math` looks for results
    (`ways=lenient`)."""
    no_option = "menon rescore takes no option '{option}'; it takes a run's folder and --reward X"
    found = understand(words, ("reward",), no_option=no_option)
    plain, settings = found.plain, found.settings
    reward = found.options.get("reward") or str(settings.pop("reward", None) or "")
    ways = str(settings.pop("ways", "strict"))
    if len(plain) != 1 or not reward or settings:
        raise UserError(
            "menon rescore takes a run's folder and a reward, like menon rescore runs/mine --reward math"
        )
    from menon.record.reader import RunView

    view = RunView.open(plain[0])
    view.transcripts.require()
    return view, reward, ways


def regrade(view: "RunView", reward: Reward) -> list[tuple[Verdict, Verdict]]:
    """For each stored answer the verdict that it was given in the run, and the verdict of the reward."""
    pairs: list[tuple[Verdict, Verdict]] = []
    for step in view.transcripts.steps:
        rows = view.transcripts.rows(step, READ + GRADED * (GRADED[0] in view.transcripts.columns(step)))
        given = [Verdict(row["score"], row["acc"]) for row in rows]
        pairs += zip(given, verdicts(reward, [asked_of(row) for row in rows]), strict=True)
    return pairs


def asked_of(row: Mapping[str, Any]) -> Asked:
    """The question as it was asked in the run, without the row's other columns, which a run does not
    store."""
    ids = [token for token, mine in zip(row["tokens"], row["is_action"], strict=True) if mine]
    text = row.get(GRADED[0], row["completion"])
    return Asked(row["prompt"], text, row["answer"], {}, row["finish"], ids)


def verdicts(reward: Reward, asked: Sequence[Asked]) -> Sequence[Verdict]:
    """The reward's verdicts of the answers, in their order."""
    return (
        reward.many(asked)
        if isinstance(reward, BatchReward)
        else [judge(reward, "menon", one) for one in asked]
    )


def summary(pairs: Sequence[tuple[Verdict, Verdict]]) -> dict[str, Any]:
    """The mean of each reward over the answers that it could grade, and a table of how often the old and the
    new reward call an answer right or wrong."""
    then, now = (settled_verdicts(side) for side in zip(*pairs, strict=True)) if pairs else ((), ())
    both = [
        (old.acc == 1, new.acc == 1)
        for old, new in zip(then, now, strict=True)
        if not (math.isnan(old.acc) or math.isnan(new.acc))
    ]
    name = {True: "right", False: "wrong"}
    return {
        "answers": len(pairs),
        "same_score": sum(old.score == new.score for old, new in pairs),
        "old": side([old for old, _ in pairs]),
        "new": side([new for _, new in pairs]),
        "confusion": {
            f"{name[o]}_{name[n]}": both.count((o, n)) for o in (True, False) for n in (True, False)
        },
    }


def side(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The numbers of one reward: mean score, accuracy (None where it is not known), and how often it
    failed."""
    verdicts = settled_verdicts(verdicts)
    scores = [verdict.score for verdict in verdicts if not math.isnan(verdict.score)]
    accs = [verdict.acc for verdict in verdicts if not math.isnan(verdict.acc)]
    return {
        "mean": mean(scores),
        "accuracy": mean(accs) if accs else None,
        "failed": len(verdicts) - len(scores),
    }


def mean(values: Sequence[float]) -> float:
    """The mean; 0 without values."""
    return math.fsum(values) / len(values) if values else 0.0


def cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def table(numbers: Mapping[str, Any]) -> list[str]:
    """The lines of the table that compares the old and the new reward."""
    old, new, confusion = numbers["old"], numbers["new"], numbers["confusion"]
    return [
        f"{numbers['answers']} answers, {numbers['same_score']} with the same score",
        f"{'':<10}{'mean':>9}{'accuracy':>10}{'failed':>8}",
        f"{'then':<10}{old['mean']:>9.4f}{cell(old['accuracy']):>10}{old['failed']:>8}",
        f"{'now':<10}{new['mean']:>9.4f}{cell(new['accuracy']):>10}{new['failed']:>8}",
        f"{'':<12}{'now right':>10}{'now wrong':>11}",
        f"{'then right':<12}{confusion['right_right']:>10}{confusion['right_wrong']:>11}",
        f"{'then wrong':<12}{confusion['wrong_right']:>10}{confusion['wrong_wrong']:>11}",
    ]
