"""Menon's step on given text, as the recipes sft and dpo build it, on the same rows each time."""

from collections.abc import Callable
from functools import partial
from typing import Any

from menon.assembly.given import build_given
from menon.config import changed
from menon.recipes import recipe
from side_by_side.channel import serve
from side_by_side.menon_steps import OPEN, Steps, answering


def steps_of(name: str, folder: str, rows: str, count: int, dtype: str, device: str = "cpu") -> Steps:
    """The recipe `name` with all `count` rows in every step, one update a step and TRL's numbers for
    AdamW."""
    changes = {
        "model": folder,
        "data": rows,
        "heldout_data": rows,
        "heldout": 1,
        "rows_per_step": count,
        "learning_rate": 1e-6,
        "warmup_updates": 0,
        "optimiser.betas": (0.9, 0.999),
        "dtype": dtype,
        "device": device,
    }
    run = OPEN.enter_context(build_given(changed(recipe(name), changes)))
    return Steps(run, run.source)


def build(**start: Any) -> Callable[..., dict[str, Any]]:
    return answering(partial(steps_of, **start), lambda steps: {"tokens": steps.metric("tokens/generated")})


if __name__ == "__main__":
    serve(build)
