"""A reward function written for TRL, on rows laid out as in GSM8K: working, then #### and the answer.

The function gets lists, with the columns of the data by name, and returns a list of numbers. Menon calls it
as it is. Run it by `python examples/trl_reward.py`; it takes about half a minute of one core. It ends with:

    before: 0.27 right of 99 questions
    after: 0.98 right of 99 questions
"""

import json
import random
import re
import sys
import tempfile
from pathlib import Path

import menon


def last_number(prompts, completions, answer, **kwargs):
    """1 where the last number of the answer is the gold one."""
    numbers = [re.findall(r"-?\d+", completion) for completion in completions]
    return [float(bool(found) and found[-1] == gold) for found, gold in zip(numbers, answer, strict=True)]


def rows(count):
    """Sums, which the built-in base model can read; your own data would be a file of this shape already."""
    draw = random.Random(0)
    for _ in range(count):
        terms = [draw.randint(1, 9) for _ in range(draw.randint(4, 6))]
        working = "".join(
            f"{sum(terms[:i])}+{terms[i]}={sum(terms[: i + 1])}\n" for i in range(1, len(terms))
        )
        yield {"question": "+".join(map(str, terms)) + "=?", "answer": f"{working}#### {sum(terms)}"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows(1000)))
        settings = {"steps": 12, "prompts_per_step": 16, "report_questions": 0, "data": str(data)}
        words = dict(word.split("=", 1) for word in sys.argv[1:])
        report = menon.train("grpo", **settings | {"reward": last_number, "learning_rate": 3e-4} | words)
    for when in ("before", "after"):
        print(f"{when}: {report[when]['accuracy']:.2f} right of {report[when]['n']:.0f} questions")


if __name__ == "__main__":  # the reward's own process reads this file too
    main()
