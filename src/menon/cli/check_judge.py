"""`menon check judge FILE.jsonl model=FOLDER`: does a judge say what labelled answers deserve, and how far
can its probabilities be trusted?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from menon.cli.check_verifier import read_cases
from menon.errors import UserError
from menon.eval.agreement import Bin, calibration, calibration_error, kappa
from menon.parts import Around
from menon.reward.code.signatures import Asked
from menon.reward.judge import Judge
from menon.types import Verdict

SHOWN = 10
"""How many of the cases that the judge decides otherwise are printed."""


@dataclass(frozen=True)
class Agreement:
    """A judge's decisions about labelled answers; those that failed are in no other number."""

    cases: int
    failed: int
    unparsable: int
    """Replies that are neither yes nor no; they count as no, and are in no bin."""
    share: float
    """Equal decisions."""
    kappa: float
    bins: list[Bin]
    """By the probability of yes; none where the judge gives no probabilities."""


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
    judge = judge_named(model, url, prompt, max_new_tokens, soft)
    verdicts = judge.many([asked_of(case) for case in cases])
    found = agreement(cases, verdicts, judge.soft)
    for line in [*lines_of(found), *bins_of(found.bins), *disagreed(cases, verdicts)]:
        print(line)
    return 0 if not found.failed else 1


def judge_named(model: str, url: str, prompt: str, max_new_tokens: str, soft: str = "true") -> Judge:
    """The judge as it is asked; its soft reward is the probability of yes among yes and no."""
    if not max_new_tokens.isdigit() or soft not in ("true", "false"):
        raise UserError(
            f"max_new_tokens is '{max_new_tokens}' and soft '{soft}'; one is a number of tokens, like 16, "
            "the other true or false"
        )
    asks = soft == "true"
    part = Judge(model, url, soft=asks, renorm=asks, prompt=prompt, max_new_tokens=int(max_new_tokens))
    from menon.assembly.placement import device_of
    from menon.assembly.reward_models import with_models

    return part.build(with_models(Around(), lambda: device_of("auto")))


def asked_of(case: Mapping[str, Any]) -> Asked:
    question = str(case.get("question") or "")
    return Asked(question, case["response"], case["gold"], {"question": question})


def agreement(cases: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict], soft: bool) -> Agreement:
    """The numbers of a judge's verdicts: `acc` is its decision and, if it is `soft`, `score` its probability
    of yes."""
    known = [(case["expected"], v) for case, v in decided(cases, verdicts)]
    labels, said = [label for label, _ in known], [bool(v.acc) for _, v in known]
    clear = [(label, v.score) for label, v in known if soft and v.parts.get("judge_unparsable") != 1]
    return Agreement(
        len(cases),
        len(cases) - len(known),
        sum(v.parts.get("judge_unparsable") == 1 for _, v in known),
        sum(a == b for a, b in zip(said, labels, strict=True)) / len(known) if known else math.nan,
        kappa(said, labels),
        calibration([p for _, p in clear], [label for label, _ in clear]),
    )


def decided(
    cases: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]
) -> list[tuple[Mapping[str, Any], Verdict]]:
    """The cases with a verdict."""
    pairs = zip(cases, verdicts, strict=True)
    return [(case, verdict) for case, verdict in pairs if not math.isnan(verdict.score)]


def lines_of(found: Agreement) -> list[str]:
    error = f", calibration error {calibration_error(found.bins):.3f}" if found.bins else ""
    return [
        f"{found.cases} labelled answers, {found.failed} without a verdict, {found.unparsable} replies that "
        "are neither yes nor no",
        f"agreement {found.share:.3f}, kappa {found.kappa:.3f}{error}",
    ]


def bins_of(bins: Sequence[Bin]) -> list[str]:
    """The table of the calibration."""
    head = f"{'probability of yes':<20}{'cases':>7}{'expected':>10}{'observed':>10}"
    rows = [
        f"{f'{one.low:.1f} to {one.high:.1f}':<20}{one.count:>7}{one.expected:>10.3f}{one.observed:>10.3f}"
        for one in bins
    ]
    return [head, *rows] if rows else []


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
