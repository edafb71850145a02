"""Random and mutated answers through the math verifier: no crash, no hang, no leak of memory, processes or
files.

    python scripts/fuzz_verifier.py --count 50000 [--cases FILE.jsonl] [--seed 0] [--workers 2]

`--cases` gives golds and responses to mutate (fields as in docs/rewards.md); without it a few built-in ones
are used. The last line counts; exit code 0 means no error, nothing slower than 10 s, less than 64 MB of
growth after the first tenth, and no processes or files remaining.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from menon.reward.extract import LENIENT, names
from menon.reward.math.answer import MathAnswer

SEEDS = [
    ("\\frac{1}{2}", "\\boxed{0.5}"),
    ("(1, 2) \\cup [3, \\infty)", "<think>so</think> \\boxed{(1,2)\\cup[3,\\infty)}"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\[\\boxed{\\begin{bmatrix}1\\\\2\\end{bmatrix}}\\]"),
    ("x^2 - 1", "The answer is $(x-1)(x+1)$."),
    ("\\sum_{k=1}^{n} k", "\\boxed{\\frac{n(n+1)}{2}}"),
    ("3 \\pm 2\\sqrt{2}", "#### 3"),
    ("\\text{Monday}", "Answer: Monday"),
    ("42\\%", "42 percent of them"),
]
PIECES = [
    *(
        "\\boxed{",
        "\\frac{",
        "\\sqrt",
        "\\left(",
        "\\right)",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "\\\\",
        "&",
        "\\text{",
        "\\pm",
        "\\cup",
    ),
    *(
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "|",
        "^",
        "_",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "=",
        "<",
        ">",
        ",",
        ";",
        "!",
        "%",
        "/",
        "*",
        "+",
        "-",
    ),
    *(
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "<|im_end|>",
        "####",
        "Answer: ",
        "the answer is ",
        " and ",
        " or ",
        "\n",
        " ",
        "\\",
    ),
    *(
        "\\int_0^1",
        "\\sum_{n=1}^{\\infty}",
        "\\lim_{x \\to 0}",
        "dx",
        "x",
        "y",
        "e",
        "i",
        "\\pi",
        "\\infty",
        "\\sin",
        "\\log_",
        "9^{9^{9}}",
        "!",
    ),
    *(
        "0",
        "1",
        "7",
        "10",
        "1e308",
        "99999999999",
        "0.3333",
        ".",
        "1/0",
        "\\overline{3}",
        "\\binom{100}{50}",
        "_2",
        "½",
        "√",
        "²",
        "π",
        "∞",
    ),
    *(
        "\x00",
        "\ud800",
        "\u202e",
        "\u200b",
        "\U0001d465",
        "４",
        "。",
        "答案是",
        "é",
        "__import__('os').system('touch canary')",
        "\\operatorname{eye}(9999)",
    ),
]


def main() -> int:
    options = arguments()
    seeds = [(row["gold"], row["response"]) for row in read(options.cases)] if options.cases else SEEDS
    random_numbers = random.Random(options.seed)
    os.chdir(tempfile.mkdtemp())
    others = set(psutil.Process().children(recursive=True))
    verifier = MathAnswer(names(LENIENT), workers=options.workers, worked=False)
    tally: Counter[str] = Counter()
    slowest, early = 0.0, 0.0

    def one(pair: tuple[str, str]) -> tuple[float, str]:
        began = time.perf_counter()
        verdict = verifier("", pair[1], pair[0])
        kinds = [name for name, value in verdict.parts.items() if value]
        state = verdict.error or ("right" if verdict.score == 1 else kinds[0] if kinds else "wrong")
        return time.perf_counter() - began, state

    with ThreadPoolExecutor(options.workers) as threads:
        for start in range(0, options.count, 1000):
            pairs = [pair(random_numbers, seeds) for _ in range(min(1000, options.count - start))]
            for seconds, state in threads.map(one, pairs):
                tally[state] += 1
                slowest = max(slowest, seconds)
            early = early or (memory() if start + 1000 >= options.count / 10 else 0.0)
    growth = memory() - early
    verifier.close()
    left = len(set(psutil.Process().children(recursive=True)) - others)
    errors = sum(
        n for state, n in tally.items() if state not in ("right", "wrong", "unparsable", "too_costly")
    )
    for state in tally.keys() - {"right", "wrong", "unparsable", "too_costly"}:
        print(state)
    if os.listdir("."):
        print(f"files appeared: {os.listdir('.')}")
    print(
        f"answers={options.count} errors={errors} slowest_s={slowest:.2f} right={tally['right']} "
        f"wrong={tally['wrong']} "
        f"unparsable={tally['unparsable']} too_costly={tally['too_costly']} growth_mb={growth:.0f} "
        f"processes_left={left}"
    )
    return 0 if not errors and slowest < 10 and growth < 64 and not left and not os.listdir(".") else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def pair(numbers: random.Random, seeds: list[tuple[str, str]]) -> tuple[str, str]:
    """A gold answer and a response: one of the seeds changed in a few places, or pieces at random in a
    box."""
    gold, response = numbers.choice(seeds)
    if numbers.random() < 0.3:
        return gold, "\\boxed{" + "".join(
            numbers.choices(PIECES, k=numbers.randint(0, 30))
        ) + "}" * numbers.randint(0, 3)
    for _ in range(numbers.randint(1, 4)):
        response = mutated(numbers, response)
    return (mutated(numbers, gold) if numbers.random() < 0.1 else gold), response


def mutated(numbers: random.Random, text: str) -> str:
    """The text with a piece added or removed, two pieces exchanged, one repeated, or one sign changed."""
    low, high = sorted(numbers.randint(0, len(text)) for _ in range(2))
    high = min(high, low + 40)
    way = numbers.randrange(5)
    if way == 0:
        return text[:low] + numbers.choice(PIECES) + text[low:]
    if way == 1:
        return text[:low] + text[high:]
    if way == 2:
        return text[:low] + text[low:high] * numbers.choice((2, 3, 10)) + text[high:]
    if way == 3:
        return text[:low] + text[low:high][::-1] + text[high:]
    return (
        text[:low]
        + chr(numbers.choice((numbers.randrange(32, 127), numbers.randrange(0x110000))))
        + text[low + 1 :]
    )


def memory() -> float:
    """MB that this process and its workers hold."""
    process = psutil.Process()
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().uss
        except psutil.Error:
            continue
    return total / 2**20


if __name__ == "__main__":
    sys.exit(main())
