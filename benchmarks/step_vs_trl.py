"""A GRPO step of ours against one of TRL 1.16, side by side.

    python benchmarks/step_vs_trl.py [--trl-python PATH] [--model FOLDER] [--cases base-20 ...]
        [--repeats 3] [--quick]

PATH is an interpreter with trl 1.16; without it the one that runs this (the extra `bench` brings TRL).
FOLDER is a real model of about 135 million weights for the case 135M, which is left out without it: 16
prompts of about 40 tokens, 8 answers to each, 1 to 64 tokens with a mean of 16.

Equal on both sides: the model, 320 questions of chain_sum (32 a step), 8 answers to each, at most 96 new
tokens, temperature 1, one reward function (the share of digits: it differs within every group, so no group
can be left out), advantages over the group's deviation, PPO's clip of .2 with every token of the step
weighing the same, no KL, one update a step, AdamW at 1e-6 with the gradient's norm clipped at 1. The answers'
lengths are fixed beforehand: a fixed distribution over 1 to 96 (`side_by_side/work.py`) with mean 20 or 50,
what the base writes before and after training, and 35 for a model of 25 M weights. Ours gets them as limits
of its requests; TRL's generate as a criterion that ends each row, its end-of-text token put there.

A step is rollout, reward, advantage, update, and weights to the sampler. Neither side logs or saves. Ours
also keeps the sampler's log-probs and entropies and makes the step's report; TRL makes its metrics.

Each side runs in processes of its own and is stopped while the other works. A scan finds each side's fastest
threads and dtype (float32 or bfloat16 autocast), and TRL's micro-batch and way of generating. Then both take
turns; the ratio is of medians. Last line: `ratio=R`, the smaller one of the two cases of the base.
"""

import sys
from dataclasses import dataclass
from functools import partial

from menon.errors import UserError
from side_by_side import duel, models
from side_by_side.crew import Crew, Process
from side_by_side.report import Scan, Setting, last_line, machine, row, spread, times_faster
from side_by_side.task import write_questions
from side_by_side.work import LONGEST, ragged

SAMPLES, QUESTIONS = 8, 320
REAL = models.REAL
ASKED = "Add the numbers one after another, and write the running sum in every line. {question}"
"""The question as a real model gets it."""


@dataclass(frozen=True)
class Case:
    model: str
    mean: int
    """Mean of the answers' lengths."""
    prompts: int = 32
    """Questions of a step."""
    longest: int = LONGEST
    largest: int = 10_000
    """Most rows of a forward pass of TRL, where memory bounds it."""

    @property
    def name(self) -> str:
        return REAL if self.model == REAL else f"{self.model}-{self.mean}"


CASES = (Case("base", 20), Case("base", 50), Case("25M", 35), Case(REAL, 16, 16, 64, 32))


def measured(case: Case, folder: str, crew: Crew, python: str, repeats: int, prompts: int) -> float:
    """Prints the case; returns how many times faster Menon's step is."""
    rows = models.questions(QUESTIONS)
    if case.model == REAL:
        rows = [{**row, "question": ASKED.format(question=row["question"])} for row in rows]
    questions = write_questions(rows, crew.folder / "questions.jsonl")
    limits = ragged(prompts * SAMPLES, case.mean, case.longest)
    start = {"folder": folder, "questions": questions, "samples": SAMPLES, "limits": limits}
    print(f"\n{case.name}: {prompts} x {SAMPLES} answers, {sum(limits):,} new tokens a step", flush=True)

    def setting(mode: str, dtype: str, micro: int, threads: int) -> Setting:
        process = Process("trl_side", start | {"mode": mode, "dtype": dtype, "micro": micro}, python)
        return Setting(f"{threads} threads {dtype} {mode} {micro} a forward", process, {"threads": threads})

    def theirs(scan: Scan) -> Setting:
        """Generate with the whole step in one forward pass (or as many rows as fit), then in four, then
        continuous batching."""
        best = duel.trl(scan, partial(setting, "generate"), min(len(limits), case.largest))
        made = best.process.start
        return scan([setting("continuous", made["dtype"], made["micro"], best.request["threads"])])

    ours = partial(duel.ours, module="menon_step_side", start=start)
    best, seconds = duel.in_turns(crew, ours, theirs, ".2f", repeats)
    print("\n" + row("side", "setting", "s a step") + "\n" + row(*["---"] * 3))
    for side, times in seconds.items():
        print(row(side, best[side].label, spread(times, ".2f")))
    return times_faster(seconds, "menon", ["trl"])


def main() -> None:
    cases = [case.name for case in CASES]
    asked = duel.parser(__doc__, cases, "8 prompts, the base alone and 2 turns")
    asked.add_argument("--model", help="folder of a model for the case 135M")
    given = asked.parse_args()
    if REAL in (given.cases or []) and not given.model:
        raise UserError(f"the case {REAL} needs a real model; name its folder with --model")
    print(machine())
    ratios: dict[str, float] = {}
    for case in CASES:
        left_out = (given.quick and case.model != "base") or (case.model == REAL and not given.model)
        if case.name in (given.cases or [case.name]) and not left_out:
            with Crew() as crew:
                size = (2, case.prompts // 4) if given.quick else (given.repeats, case.prompts)
                folder = models.folder_of(case.model, given.model, crew.folder)
                ratios[case.name] = measured(case, folder, crew, given.trl_python, *size)
            print(f"{case.name} {last_line(ratio=ratios[case.name])}", flush=True)
    held = [ratio for name, ratio in ratios.items() if name.startswith("base")] or list(ratios.values())
    print("\n" + last_line(ratio=min(held)))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
