"""PPO against a learned reward on the built-in base, and what each part of its recipe is worth.

    python scripts/preference_ppo.py [out=runs/preference_ppo] [seeds=0,1,2] [steps=10]
                                     [arms=all,whiten,batch,reference]

Each seed trains its own reward model on the pairs of scripts/given_text.py, takes mean and deviation of its
scores of held-out preferred answers, and runs `realhf_ppo` against it: whole, and without one of its three
parts at a time, with as many answers. A run that is there already is read and not repeated.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from given_text import HELD_OUT, TRAIN, markdown, pair, run, written

import menon
from menon.record.layout import Layout
from menon.settings import override

SMALL = 4
"""Questions a step without the large batch, which has 32."""
ARMS: dict[str, dict[str, Any]] = {
    "all": {},
    "whiten": {"advantage.whiten": None},
    "batch": {"prompts_per_step": SMALL},
    "reference": {"models.reference_update": None},
}
"""What is taken away: nothing, normalised advantages, the large batch, the moving reference."""
NAMES = {
    "all": "whole recipe",
    "whiten": "advantages not normalised",
    "batch": "batch of 32 answers",
    "reference": "reference does not move",
}
SHOWN = ("accuracy", "reward", "mean_length")


def main() -> None:
    asked = dict(map(override, sys.argv[1:]))
    out = Path(str(asked.get("out", "runs/preference_ppo")))
    seeds = [int(seed) for seed in str(asked.get("seeds", "0,1,2")).split(",")]
    steps, arms = int(asked.get("steps", 10)), str(asked.get("arms", ",".join(ARMS))).split(",")
    files = {
        ("pairs", split): written(out / f"pairs_{split}.jsonl", split, n, pair)
        for split, n in (("train", TRAIN), ("heldout", HELD_OUT))
    }
    rewards = {
        seed: reward_of(out / f"reward_model-{seed}", run("reward_model", seed, 60, out, files))
        for seed in seeds
    }
    lines = [["arm", "seed", *(f"{name}, {when}" for name in SHOWN for when in ("before", "after")), "signs"]]
    for arm in arms:
        for seed in seeds:
            report = ppo(arm, seed, steps, out, rewards[seed])
            numbers = [f"{report[when][name]:.3f}" for name in SHOWN for when in ("before", "after")]
            lines.append([NAMES[arm], str(seed), *numbers, "; ".join(report["warnings"])])
    print(markdown(lines))
    print(markdown([["seed", "reward.mean", "reward.std"], *scales(rewards)]))


def reward_of(folder: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """The reward that a run's model gives, on the scale of held-out preferred answers."""
    after = report["after"]
    scale = {"mean": after["pairs/chosen_reward"], "std": after["pairs/chosen_deviation"]}
    return {"kind": "preference", "model": str(Layout(folder).latest), **scale}


def scales(rewards: Mapping[int, Mapping[str, Any]]) -> list[list[str]]:
    return [[str(seed), f"{one['mean']:.3f}", f"{one['std']:.3f}"] for seed, one in rewards.items()]


def ppo(arm: str, seed: int, steps: int, out: Path, reward: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report of a run, made now unless it is there."""
    folder = out / f"ppo-{arm}-{seed}"
    done = Layout(folder).report
    if done.exists():
        report: Mapping[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return report
    changes = ARMS[arm]
    return menon.train(
        "realhf_ppo",
        task="chain_sum",
        seed=seed,
        steps=steps * 32 // changes.get("prompts_per_step", 32),
        out=str(folder),
        threads=1,
        heldout=HELD_OUT,
        report_questions=0,
        save_every=0,
        **{f"reward.{name}": value for name, value in reward.items()},
        **changes,
    )


if __name__ == "__main__":
    main()
