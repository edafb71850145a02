"""Our sampler against `transformers` (generate, and its continuous batching) and vLLM on a CPU, side by side.

    python benchmarks/sampler.py [--vllm-python PATH] [--model FOLDER] [--cases ragged-10 ...] [--repeats 3]
                                 [--quick]

PATH is the interpreter of an environment with vLLM for CPUs (docs/performance.md says how to make one);
without it vs_vllm is nan. FOLDER is a real model of about 135 million weights, with which the cases `*-135M`
are measured.

Every answer has a fixed length, the same for all sides: a fixed distribution over 1 to 96 with mean 10 or
mean 60 (`side_by_side/work.py`), or always 128, or 64 with a real model. The prompts of `long-prompt-135M`
have 1,000 tokens and 8 answers each; there vLLM is measured with its prefix cache, which is emptied before
each time, and without it, and `transformers` is left out, which would read each prompt eight times. No side
stops at an end-of-text token, so all sides write the same number of tokens for the same prompts at
temperature 1. The lengths are set for Menon and continuous
batching by the limit of each request, for vLLM by `max_tokens` with `ignore_eos`, and for generate by a
criterion that ends each row at its own length (a batch runs until its longest row is done, as always there).
Ours gives the log-prob and the entropy of every token and the text; the others give tokens alone.

Each side runs in a process of its own and is stopped while another works. A scan finds each side's fastest
threads, dtype, batch or mode for each case; then all take turns, and medians of tokens per second are
compared. Loading, compiling and warming up are not counted. Last line: `vs_hf=R vs_vllm=R`, over the better
mode of transformers, the smallest of the ragged cases and of those with a real model.
"""

import argparse
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

from menon.base import WEIGHTS
from menon.errors import UserError
from side_by_side import models
from side_by_side.crew import AS_THE_COMMAND, Crew, Process
from side_by_side.report import (
    Scan,
    Setting,
    alternate,
    cores,
    dtypes,
    last_line,
    machine,
    measure_with,
    row,
    spread,
    thread_counts,
    times_faster,
)
from side_by_side.work import Work, dense, ragged

VLLM = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "WARNING"}
"""Environment variables of vLLM; the cache is in GiB."""
VLLM_LONGEST, LONGER = 256, 1152
"""Context that vLLM is started with: the longest prompt and answer fit, those of a long prompt into the
second."""
REAL, PLAIN = models.REAL, "vllm without its prefix cache"
LONG_PROMPT = 1000


@dataclass(frozen=True)
class Case:
    name: str
    model: str
    """base, a size of `models.SIZES`, or `REAL`."""
    prompts: int
    limits: tuple[int, ...]
    """[prompts * samples] new tokens of each answer."""
    prompt: int | None = None
    """Tokens of each prompt; None: those of a question."""

    @property
    def threads(self) -> list[int]:
        """Counts to try; a real model is fastest on all cores, on every side."""
        return [cores()] if self.model == REAL else thread_counts()

    @property
    def longest(self) -> int:
        return VLLM_LONGEST if self.prompt is None else LONGER


def all_cases(quick: bool = False) -> list[Case]:
    part = 4 if quick else 1
    found = [Case(f"ragged-{mean}", "base", 64 // part, ragged(512 // part, mean)) for mean in (10, 60)]
    sizes = ["0.8M"] if quick else ["0.8M", "4.8M", "25M"]
    found += [Case(f"dense-{size}", size, 16 // part, dense(128 // part, 128)) for size in sizes]
    short = dense(64 // part, 64)
    return [
        *found,
        Case(f"dense-{REAL}", REAL, 8 // part, short),
        Case(f"ragged-{REAL}", REAL, 32 // part, ragged(256 // part, 60)),
        Case(f"long-prompt-{REAL}", REAL, 8 // part, short, LONG_PROMPT),
    ]


def ours_settings(scan: Scan, folder: str, answers: int, counts: list[int]) -> Setting:
    def setting(threads: int, dtype: str, slots: int, processes: int = 1) -> Setting:
        environment = AS_THE_COMMAND if processes > 1 else {}
        process = Process("menon_sampler_side", {"folder": folder}, environment=environment)
        request = {"threads": threads, "dtype": dtype, "slots": slots, "processes": processes}
        how = f"{threads} threads" if processes == 1 else f"{processes} processes"
        return Setting(f"{how} {dtype} {slots} slots", process, request)

    ways = list(product(counts, dtypes()))
    several = [setting(n, dtype, answers, n) for n, dtype in ways if n > 1]
    best = scan([setting(threads, dtype, answers) for threads, dtype in ways] + several)
    half = dict(best.request) | {"slots": max(1, answers // 2)}
    return scan([setting(**half)])


def hf_settings(scan: Scan, folder: str, answers: int, counts: list[int]) -> Setting:
    """Generate with all answers in one batch, then in two, then continuous batching."""
    process = Process("hf_side", {"folder": folder})

    def setting(threads: int, dtype: str, mode: str, batch: int) -> Setting:
        request = {"threads": threads, "dtype": dtype, "mode": mode, "batch": batch}
        return Setting(
            f"{mode} {threads} threads {dtype}" + f" batch {batch}" * (mode == "generate"), process, request
        )

    ways = product(counts, dtypes())
    best = scan([setting(threads, dtype, "generate", answers) for threads, dtype in ways])
    best = scan([setting(**(dict(best.request) | {"batch": max(1, answers // 2)}))])
    dtype = best.request["dtype"]
    return scan([setting(threads, dtype, "continuous", answers) for threads in counts])


def vllm_in_one(python: str, folder: str, case: Case, prefixes: bool = True) -> list[Setting]:
    """Settings with the engine in the worker's own process; `prefixes`: with its prefix cache."""
    found = []
    for dtype in dtypes():
        start = {"folder": folder, "dtype": dtype, "sequences": len(case.limits), "longest": case.longest}
        start |= {} if prefixes else {"enable_prefix_caching": False}
        environment = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": str(cores())}
        process = Process("vllm_side", start, python, VLLM | environment)
        found += [Setting(f"{n} threads {dtype}", process, {"threads": n}) for n in case.threads]
    return found


def vllm_apart(best: Setting, counts: list[int]) -> list[Setting]:
    """The same start with the engine and its worker in processes of their own, the worker bound to cores."""
    found = []
    for threads in counts:
        bound = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
        environment = VLLM | {"VLLM_CPU_OMP_THREADS_BIND": bound, "OMP_NUM_THREADS": str(threads)}
        label = f"{threads} threads {best.process.start['dtype']} own processes"
        found.append(Setting(label, replace(best.process, environment=environment)))
    return found


def measured(
    case: Case, folder: str, crew: Crew, repeats: int, vllm_python: str | None
) -> Mapping[str, float]:
    """Prints the case; returns how many times faster Menon is than each side."""
    reads = folder if case.model == REAL else str(WEIGHTS)
    work = Work(models.prompts(case.prompts, reads, case.prompt), case.limits)
    measure = measure_with(crew, **work.plain())
    print(
        f"\n{case.name}: {len(work.limits)} answers to {case.prompts} prompts, {work.tokens:,} tokens",
        flush=True,
    )

    def scan_of(side: str) -> Scan:
        return Scan(side, measure, lambda seconds: f"{work.tokens / seconds:>8,.0f} tokens/s")

    answers = len(work.limits)
    best = {"menon": ours_settings(scan_of("menon"), folder, answers, case.threads)}
    if case.prompt is None:
        best["transformers"] = hf_settings(scan_of("transformers"), folder, answers, case.threads)
    if vllm_python:
        scan = scan_of("vllm")
        best["vllm"] = scan(vllm_apart(scan(vllm_in_one(vllm_python, folder, case)), case.threads))
        if case.prompt is not None:
            scan = scan_of("vllm, no prefixes")
            best[PLAIN] = scan(vllm_in_one(vllm_python, folder, case, prefixes=False))
    seconds = alternate(best, measure, repeats)
    print("\n" + row("side", "setting", "tokens/s", "ours is faster by") + "\n" + row(*["---"] * 4))
    for side, times in seconds.items():
        rates = [work.tokens / each for each in times]
        print(
            row(
                side, best[side].label, spread(rates, ",.0f"), f"{times_faster(seconds, 'menon', [side]):.2f}"
            )
        )
    sides = {"hf": "transformers", "vllm": "vllm", "plain_vllm": PLAIN}
    return {f"vs_{name}": times_faster(seconds, "menon", [side]) for name, side in sides.items()}


def chosen_cases(quick: bool, names: list[str] | None, model: str | None) -> list[Case]:
    """The named cases, or all that there is a model for. UserError for a case that needs one."""
    cases = [case for case in all_cases(quick) if names is None or case.name in names]
    if model is None and names is not None and any(case.model == REAL for case in cases):
        raise UserError(f"the cases {REAL} need a real model; name its folder with --model")
    return [case for case in cases if model is not None or case.model != REAL]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--vllm-python", help="interpreter of an environment with vLLM for CPUs")
    asked.add_argument("--model", help=f"folder of a real model, for the cases {REAL}")
    asked.add_argument("--cases", nargs="+", choices=[case.name for case in all_cases()], help="only these")
    asked.add_argument("--repeats", type=int, default=3, help="turns of each side")
    asked.add_argument(
        "--quick",
        action="store_true",
        help="a quarter of the work, the small model and 2 turns: a look, no result",
    )
    given = asked.parse_args()
    print(machine())
    chosen = chosen_cases(given.quick, given.cases, given.model)
    ratios: dict[str, Mapping[str, float]] = {}
    for model, own in groupby(chosen, key=lambda case: case.model):
        with Crew() as crew:
            folder = models.folder_of(model, given.model, crew.folder)
            for case in own:
                ratios[case.name] = measured(
                    case, folder, crew, 2 if given.quick else given.repeats, given.vllm_python
                )
                print(f"{case.name} {last_line(**ratios[case.name])}", flush=True)
    held = [ratio for name, ratio in ratios.items() if name.startswith("ragged") or name.endswith(REAL)]
    held = held or list(ratios.values())
    print("\n" + last_line(**{name: least([ratio[name] for ratio in held]) for name in ("vs_hf", "vs_vllm")}))


def least(ratios: Sequence[float]) -> float:
    """The smallest of those that were measured; NaN where none was."""
    return min((ratio for ratio in ratios if not math.isnan(ratio)), default=math.nan)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
