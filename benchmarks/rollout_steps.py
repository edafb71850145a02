"""How full the slots are while a recipe writes its text: decoding steps, and the mean number of sequences in
one.

    python benchmarks/rollout_steps.py [--recipes calculator spo_tree] [--steps 5] [--threads 1]

Trains each recipe at laptop scale on the built-in base and counts, for each training step, the decoding steps
of this process, the sequences that each of them computed, and the seconds of the rollout. Counts do not
depend on the machine but for the last bits of its arithmetic. Last line: `RECIPE=steps,sequences,seconds
...`, medians over the training steps.
"""

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from menon.assembly.build import build
from menon.config import changed
from menon.engines.decoding.decoder_slots import DecoderSlots
from menon.recipes import recipe
from tree_rollout import one_step


@contextmanager
def counted() -> Iterator[list[int]]:
    """Sequences of every decoding step."""
    rows: list[int] = []
    decode = DecoderSlots.decode

    def counting(self: DecoderSlots, token: Any, position: Any) -> Any:
        rows.append(len(token))
        return decode(self, token, position)

    DecoderSlots.decode = counting  # type: ignore[method-assign]
    try:
        yield rows
    finally:
        DecoderSlots.decode = decode  # type: ignore[method-assign]


def measured(name: str, steps: int, seed: int) -> Iterator[tuple[int, float, float]]:
    """Of each training step: decoding steps, sequences in one of them, seconds of the rollout."""
    settings = {"threads": torch.get_num_threads(), "seed": seed, "heldout": 1}
    with build(changed(recipe(name), settings)) as run:
        state = run.plan.initial_state()
        for step in range(1, steps + 1):
            with counted() as rows:
                numbers, state = one_step(run, step, state)
            found = len(rows), sum(rows) / len(rows), numbers["time/rollout"]
            print(
                f"{name:<10} step {step}: {numbers['tokens/generated']:>6,.0f} tokens, {found[0]} decoding "
                f"steps of {found[1]:.1f} sequences, {found[2]:.2f} s",
                flush=True,
            )
            yield found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=["calculator", "spo_tree"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    line = []
    for name in asked.recipes:
        found = list(measured(name, asked.steps, asked.seed))
        steps, sequences, seconds = (statistics.median(numbers) for numbers in zip(*found, strict=True))
        line.append(f"{name}={steps:.0f},{sequences:.1f},{seconds:.2f}")
    print(" ".join(line))


if __name__ == "__main__":
    main()
