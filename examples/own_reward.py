"""A reward of your own: a right answer earns 1, and up to a half more the shorter it is.

Run it by `python examples/own_reward.py`; it takes about half a minute of one core. Settings can follow,
like `steps=30 seed=1`. It ends with:

    before: 0.26 right, 19 tokens
    after: 0.94 right, 42 tokens
"""

import sys

import menon


def score(prompt, completion, answer):
    """The built-in base model ends an answer with # and the result."""
    right = completion.strip().endswith(f"#{answer}")
    short = 10 / (10 + len(completion))
    return {
        "score": right * (1 + 0.5 * short),
        "acc": float(right),
    }  # acc: what counts as right, for the report


def main() -> None:
    settings = {"steps": 12, "prompts_per_step": 16, "heldout": 100, "report_questions": 0, "reward": score}
    report = menon.train("grpo", **settings | dict(word.split("=", 1) for word in sys.argv[1:]))
    for when in ("before", "after"):
        numbers = report[when]
        print(f"{when}: {numbers['accuracy']:.2f} right, {numbers['mean_length']:.0f} tokens")


if __name__ == "__main__":  # the reward's own process reads this file too
    main()
