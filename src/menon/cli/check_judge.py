"""`menon check judge FILE.jsonl model=FOLDER`: does a judge say what labelled answers deserve, and how far
can its probabilities be trusted?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from menon.cli.check_verifier import read_cases
from menon.errors import UserError
from menon.eval.agreement import agreement, bins_of, decided, lines_of
from menon.types import Verdict

SHOWN = 10
"""How many of the cases that the judge decides otherwise are printed."""


def check_judge(
    path: str,
    model: str = "",
    url: str = "",
    prompt: str = "",
    max_new_tokens: str = "16",
    soft: str = "true",
) -> int:
    """Asks a judge about the cases of a file, and prints how far it agrees with their labels: the share,
    Cohen's kappa, and expected against observed yes by its probability. Returns 0 if every case got a
    verdict.

    Cases have gold, response, expected (true or false) and mostly question. The other parameters are those of
    `reward=judge`; with soft=false the judge is asked for no probabilities. UserError: the file cannot be
    read, or there is no such model.
    """
    cases = read_cases(path)
    if not max_new_tokens.isdigit() or soft not in ("true", "false"):
        raise UserError(
            f"max_new_tokens is '{max_new_tokens}' and soft '{soft}'; one is a number of tokens, like 16, "
            "the other true or false"
        )
    from menon.assembly.judging import asked_of, judge_of

    judge = judge_of(model, url, prompt, int(max_new_tokens), soft == "true")
    verdicts = judge.many([asked_of(case) for case in cases])
    found = agreement(cases, verdicts, judge.soft)
    for line in [*lines_of(found), *bins_of(found.bins), *disagreed(cases, verdicts)]:
        print(line)
    return 0 if not found.failed else 1


def disagreed(cases: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]) -> list[str]:
    """Cases without a verdict, and those that the judge decides otherwise."""
    failed = [f"no verdict: {v.error}" for v in verdicts if math.isnan(v.score)][:1]
    wrong = [(case, v) for case, v in decided(cases, verdicts) if bool(v.acc) != case["expected"]]
    lines = [
        f"  says {'yes' if v.acc else 'no'} ({v.score:.2f}): {case['response']!r} for {case['gold']!r}"
        for case, v in wrong[:SHOWN]
    ]
    more = [f"  and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    return [*failed, *lines, *more]
