"""The math verifier on labelled cases: accuracy, false accepts, times, throughput; compared with `exact` and
plain Math-Verify.

    python benchmarks/verifier.py CASES.jsonl [--golds FILE.jsonl ...]

Cases have the fields of docs/rewards.md. Math-Verify extracts by itself (a gold answer without any sign of
LaTeX is put between dollar signs for it) and has its own limit of 5 s. Hostile cases are not given to it: it
reads plain expressions with sympy's `parse_expr`, which runs them. Prints Markdown.
"""

import argparse
import json
import logging
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from menon.prompts.reader import read_rows
from menon.reward.exact import ExactMatch
from menon.reward.extract import LENIENT, names
from menon.reward.math.answer import MathAnswer
from menon.reward.protocols import Reward

Case = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", type=Path)
    parser.add_argument("--golds", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    cases = [
        json.loads(line) for line in options.cases.read_text(encoding="utf-8").split("\n") if line.strip()
    ]
    tame = [case for case in cases if "hostile" not in case.get("group", "") + case.get("kind", "")]
    started = time.perf_counter()
    verifier = MathAnswer(names(LENIENT), worked=False)
    started = time.perf_counter() - started
    lenient, exact = accepted_by(verifier), accepted_by(ExactMatch())
    print(
        "| verifier | cases | right | false accepts | median ms | mean ms | slowest s "
        "|\n|---|---|---|---|---|---|---|"
    )
    print(row("`math`, ways of an evaluation", cases, lenient))
    for name, accepts in (("`math`", lenient), ("`exact`", exact), ("Math-Verify", math_verify())):
        print(row(f"{name}, without hostile cases", tame, accepts))
    rate = throughput(verifier, cases)
    print(
        f"\nStart, self-test included: {started:.1f} s. Throughput, two workers, all cases: {rate:.0f} "
        "verdicts/s."
    )
    if options.golds:
        print("\n| gold answers of | right |\n|---|---|")
    for path in options.golds:
        rows, _ = read_rows(path)
        right = sum(
            verifier("", verifier.spell("", gold["answer"]), gold["answer"]).score == 1 for gold in rows
        )
        print(f"| {path.name} | {right} of {len(rows)} |")
    verifier.close()


def accepted_by(reward: Reward) -> Callable[[Case], bool]:
    return lambda case: reward("", response(case), case["gold"]).score == 1


def response(case: Case) -> str:
    return f"\\boxed{{{case['response']}}}" if case.get("mode") == "answer" else case["response"]


def row(name: str, cases: Sequence[Case], accepts: Callable[[Case], bool]) -> str:
    right = false = counted = 0
    times = []
    for case in cases:
        began = time.perf_counter()
        accepted = accepts(case)
        times.append(time.perf_counter() - began)
        if not case.get("disputed"):
            counted += 1
            right += accepted == case["expected"]
            false += accepted and not case["expected"]
    tame = [
        t
        for t, case in zip(times, cases, strict=True)
        if "hostile" not in case.get("group", "") + case.get("kind", "")
    ]
    median, mean = (1000 * measure(tame) for measure in (statistics.median, statistics.mean))
    return (
        f"| {name} | {counted} | {right / counted:.4f} | {false} | {median:.2f} | {mean:.2f} | "
        f"{max(times):.2f} |"
    )


def throughput(verifier: MathAnswer, cases: Sequence[Case]) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda case: verifier("", response(case), case["gold"]), cases))
    return len(cases) / (time.perf_counter() - began)


def math_verify() -> Callable[[Case], bool]:
    from math_verify import parse, verify

    logging.disable(logging.WARNING)

    def accepts(case: Case) -> bool:
        gold = case["gold"] if re.search(r"\$|\\boxed|\\\(|\\\[", case["gold"]) else f"${case['gold']}$"
        return bool(verify(parse(gold), parse(response(case))))

    return accepts


if __name__ == "__main__":
    main()
