"""A task of your own: sums of three numbers that grow, like 2+5+9=?.

Run it by `python examples/own_task.py`; it takes about half a minute of one core. Settings can follow, like
`steps=30 task.largest=7`. It ends with:

    before: 0.41 right of 17 questions
    after: 1.00 right of 17 questions
"""

import random
import sys
from dataclasses import dataclass
from itertools import combinations

import menon


@dataclass(frozen=True)
class Rising:
    largest: int = 9

    def sums(self, split):
        """Every fifth one is held out, so that no question is trained on and evaluated with."""
        every = list(combinations(range(1, self.largest + 1), 3))
        return [terms for i, terms in enumerate(every) if (i % 5 == 0) == (split == "heldout")]

    def room(self, split):
        return len(self.sums(split))

    def rows(self, split, n, seed):
        drawn = random.Random(f"{split} {seed}").sample(self.sums(split), n)
        return [{"question": "+".join(map(str, terms)) + "=?", "answer": str(sum(terms))} for terms in drawn]

    def grade(self, prompt, completion, answer, **columns):
        return float(completion.strip().endswith(f"#{answer}"))


def main() -> None:
    settings = {"steps": 12, "prompts_per_step": 16, "report_questions": 0, "task": Rising()}
    report = menon.train("grpo", **settings | dict(word.split("=", 1) for word in sys.argv[1:]))
    for when in ("before", "after"):
        print(f"{when}: {report[when]['accuracy']:.2f} right of {report[when]['n']:.0f} questions")


if __name__ == "__main__":
    main()
