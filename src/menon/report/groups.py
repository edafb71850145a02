"""The answers to one question of a step in the terminal: what each earned and was credited."""

import math
from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from menon.report.answers import Row
from menon.report.terminal import SAMPLE_LINES, WIDTH, printable, shortened, wrapped

READ = [
    *("group", "prompt", "answer", "completion", "finish", "score", "acc", "error", "learn", "age"),
    *("node", "parent", "depth", "standard_error"),
    *("is_action", "reward", "advantage", "behaviour_logp", "entropy"),
]
"""The columns of a transcript that `told` and `trees.drawn` read, where the run kept them."""


def told(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of the question with the statistics of its rewards, then of every answer with its numbers."""
    gold = "" if rows[0]["answer"] is None else f"   the answer is {printable(rows[0]['answer'])}"
    yield f"{printable(rows[0]['prompt']).strip()}{gold}"
    yield statistics(rows)
    for number, row in enumerate(rows, start=1):
        yield ""
        yield f"{number}  {', '.join(facts(row))}"
        lines = wrapped(row["completion"].strip("\n").split("\n"), WIDTH)
        yield from (f"   | {line}" for line in shortened(lines, SAMPLE_LINES))


def statistics(rows: Sequence[Row]) -> str:
    """How many answers there are, and the mean and the deviation of what they earned.

    >>> statistics([{"score": 0.0}, {"score": 1.0}, {"score": math.nan}])
    '3 answers, mean reward 0.500, sample deviation 0.707'
    """
    scores = [row["score"] for row in rows if not math.isnan(row["score"])]
    count = f"{len(rows)} answer{'s' if len(rows) > 1 else ''}"
    average = f", mean reward {mean(scores):.3f}" if scores else ", none of which could be graded"
    return count + average + (f", sample deviation {stdev(scores):.3f}" if len(scores) > 1 else "")


def facts(row: Row) -> Iterator[str]:
    """What is known of an answer: reward, verdict, advantage, length, log-probability, entropy."""
    acts = row["is_action"]
    yield f"could not be graded: {row['error']}" if math.isnan(row["score"]) else f"reward {row['score']:g}"
    shaped = sum(row["reward"])
    if abs(shaped - row["score"]) > 1e-6:
        yield f"shaped to {shaped:.3f}"
    if row["acc"] in (0, 1):
        yield "right" if row["acc"] else "wrong"
    advantages = own(row.get("advantage"), acts)
    if advantages:
        low, high = min(advantages), max(advantages)
        yield f"advantage {low:+.3f}" if high - low < 1e-6 else f"advantages {low:+.3f} to {high:+.3f}"
    if not row["learn"]:
        yield "not learned from"
    count = sum(acts)
    yield f"{count} token{'' if count == 1 else 's'}" + (" (cut)" if row["finish"] == "length" else "")
    if log_probs := own(row.get("behaviour_logp"), acts):
        yield f"log-prob {sum(log_probs):.2f}"
    if entropies := own(row.get("entropy"), acts):
        yield f"entropy {mean(entropies):.3f} nats"


def own(values: Sequence[float] | None, acts: Sequence[bool]) -> list[float]:
    """The values of the tokens that the policy wrote; none where the run did not keep them."""
    kept = [value for value, act in zip(values or (), acts, strict=False) if act]
    return [] if any(math.isnan(value) for value in kept) else kept
