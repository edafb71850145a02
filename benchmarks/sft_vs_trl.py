"""A step on given text of ours against one of TRL 1.16: SFT in tokens a second, DPO in pairs a second.

    python benchmarks/sft_vs_trl.py [--trl-python PATH] [--model FOLDER] [--cases sft-base ...]
        [--repeats 3] [--quick]

PATH is an interpreter with trl 1.16; without it the one that runs this (the extra `bench` brings TRL).
FOLDER is a model for the cases sft-model and dpo-model, which are left out without it.

Equal on both sides: the model, the same 32 rows in every step (sums and worked answers of 60 characters or
more with the base, 4 rows of 200 or more with a model), the loss on the answer's tokens alone, beta .1 and a
frozen reference for DPO, one update a step, AdamW at 1e-6 with the gradient's norm clipped at 1. Neither side
logs or saves. Ours also makes the step's report. TRL scores the reference in every step, as ours does.

Each side runs in processes of its own and is stopped while the other works. A scan finds each side's fastest
threads and dtype (float32 or bfloat16 autocast), and TRL's micro-batch. Then both take turns; the ratio is of
medians. Last line: `sft=R dpo=R`, of the base where it was measured.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import median

from menon.base import WEIGHTS
from menon.errors import UserError
from side_by_side import duel
from side_by_side.crew import Crew, Process
from side_by_side.given import write_rows
from side_by_side.report import Setting, last_line, machine, row, spread, times_faster

RECIPES = ("sft", "dpo")
SIZES = {"base": (32, 60), "model": (4, 200)}
"""Model -> rows of a step, and least characters of an answer."""
CASES = tuple(f"{name}-{model}" for model in SIZES for name in RECIPES)


def measured(case: str, folder: str, crew: Crew, given: argparse.Namespace) -> float:
    """Prints the case; returns how many times faster Menon's step is."""
    name, _, model = case.partition("-")
    count, characters = SIZES[model]
    count, repeats = (min(count, 8), 1) if given.quick else (count, given.repeats)
    rows = write_rows(Path(crew.folder) / f"{case}.jsonl", count, characters, pairs=name == "dpo")
    start = {"name": name, "folder": folder, "rows": rows, "count": count}
    print(f"\n{case}: {count} {'pairs' if name == 'dpo' else 'rows'} a step", flush=True)

    def theirs(dtype: str, micro: int, threads: int) -> Setting:
        process = Process("trl_given_side", start | {"dtype": dtype, "micro": micro}, given.trl_python)
        return Setting(f"{threads} threads {dtype} {micro} a forward", process, {"threads": threads})

    ours = partial(duel.ours, module="menon_given_side", start=start)
    best, seconds = duel.in_turns(crew, ours, lambda scan: duel.trl(scan, theirs, count), ".3f", repeats)
    tokens = crew.ask(best["menon"].process, **best["menon"].request)["tokens"]
    amount, what = (count, "pairs") if name == "dpo" else (tokens, "learned tokens")
    print("\n" + row("side", "setting", "s a step", f"{what} a second") + "\n" + row(*["---"] * 4))
    for side, times in seconds.items():
        print(row(side, best[side].label, spread(times, ".3f"), f"{amount / median(times):,.1f}"))
    return times_faster(seconds, "menon", ["trl"])


def main() -> None:
    asked = duel.parser(__doc__, CASES, "8 rows and 1 turn")
    asked.add_argument("--model", help="folder of a model for the cases sft-model and dpo-model")
    given = asked.parse_args()
    print(machine())
    folders = {"base": str(WEIGHTS)} | ({"model": given.model} if given.model else {})
    ratios: dict[str, float] = {}
    for case in given.cases or CASES:
        folder = folders.get(case.partition("-")[2])
        if folder is not None:
            with Crew() as crew:
                ratios[case] = measured(case, folder, crew, given)
            print(f"{case} {last_line(ratio=ratios[case])}", flush=True)
    found = {name: ratio for case, ratio in reversed(ratios.items()) if (name := case.partition("-")[0])}
    print("\n" + last_line(**{name: found[name] for name in RECIPES if name in found}))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
