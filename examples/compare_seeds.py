"""Two methods over the same seeds: is the difference more than chance?

A seed draws questions and answers, and with the same seed both methods see the same questions. So the
difference is taken seed by seed. Run it by `python examples/compare_seeds.py`; it takes about a minute of one
core. Settings can follow, like `steps=12`. It ends with:

    | method | seed 0 | seed 1 | seed 2 | mean |
    | -- | -- | -- | -- | -- |
    | grpo | 0.82 | 0.73 | 0.80 | 0.78 |
    | rloo | 0.82 | 0.80 | 0.82 | 0.81 |
    rloo - grpo: +0.030, standard error 0.021
"""

import statistics
import sys
import time

import menon

ARMS = {"grpo": {"advantage.credit": "grpo"}, "rloo": {"advantage.credit": "rloo"}}
SEEDS = (0, 1, 2)


def main() -> None:
    folder = f"runs/compare-{time.strftime('%Y%m%d-%H%M%S')}"
    settings = {"steps": 5, "prompts_per_step": 16, "heldout": 100, "report_questions": 0}
    settings |= dict(word.split("=", 1) for word in sys.argv[1:])
    after = {arm: [] for arm in ARMS}
    for seed in SEEDS:
        for arm, change in ARMS.items():
            run = {"seed": seed, "out": f"{folder}/{arm}-{seed}"}
            after[arm].append(menon.train("grpo", **settings | change | run)["after"]["accuracy"])
    print(
        f"| method | {' | '.join(f'seed {seed}' for seed in SEEDS)} | mean |\n|{' -- |' * (len(SEEDS) + 2)}"
    )
    for arm, right in after.items():
        print(f"| {arm} | {' | '.join(f'{one:.2f}' for one in right)} | {statistics.mean(right):.2f} |")
    first, second = after.values()
    apart = [b - a for a, b in zip(first, second, strict=True)]
    error = statistics.stdev(apart) / len(SEEDS) ** 0.5
    print(f"{' - '.join(reversed(ARMS))}: {statistics.mean(apart):+.3f}, standard error {error:.3f}")


if __name__ == "__main__":
    main()
