"""Whether a run learned, in one line: its held-out questions before and after, against the noise."""

from typing import Any, Literal

from menon.errors import UserError
from menon.eval.compare import compare_results
from menon.eval.stored import read_pair
from menon.record.reader import RunView

Found = Literal["learned", "within noise", "got worse"]
SAID: dict[Found, str] = {
    "learned": "it learned",
    "within noise": "within noise",
    "got worse": "it got worse",
}


def verdict(view: RunView) -> dict[str, Any] | None:
    """The difference between the evaluations before the first step and after the last one, with its paired
    95 % interval over questions; `found` is "within noise" if that interval holds 0. `noise` is half of its
    width: a smaller difference would not have been told from none. None where there are not both, or where
    their questions differ."""
    steps = view.answers.steps
    if len(steps) < 2 or steps[0] != 0:
        return None
    try:
        (_, before), (_, after) = read_pair([view.path])
        made = compare_results(before, after)
    except UserError:
        return None
    found: Found = "learned" if made.low > 0 else "got worse" if made.high < 0 else "within noise"
    sentence = (
        f"{made.measure} {made.a:.3f} to {made.b:.3f} on {made.n:,} question{'s' * (made.n != 1)}, "
        f"{made.difference:+.3f} (95 % interval {made.low:+.3f} to {made.high:+.3f}): {SAID[found]}"
    )
    return {
        "found": found,
        "measure": made.measure,
        "questions": made.n,
        "before": made.a,
        "after": made.b,
        "difference": made.difference,
        "low": made.low,
        "high": made.high,
        "noise": (made.high - made.low) / 2,
        "sentence": sentence,
    }
