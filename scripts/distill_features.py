"""Distils the built-in base into a smaller model with random weights, and prints the table.

    python scripts/distill_features.py [out=runs/distill_features] [seeds=0,1,2] [steps=150]

The student has two layers of width 64, where the base has four of width 128. The rows are texts of the base's
own corpus (docs/base.md); held-out rows are of other questions. A run that is there already is read and not
repeated.
"""

import json
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers

import menon
from menon.base import BASES
from menon.base.corpus import PretrainRecipe
from menon.engines.hf_models import export, load_policy
from menon.record.layout import Layout
from menon.settings import override

ROWS = 4000
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "`sft`": ("sft", {}),
    "`distill_logits`": ("distill_logits", {}),
    **{
        f"`distill_features`, {distance}, beta {beta:g}": (
            "distill_features",
            {"objective.features.loss.distance": distance, "objective.features.coef": beta},
        )
        for distance, betas in (("mse", (1, 0.1, 0.01)), ("normalised", (1, 0.1)), ("cosine", (1, 0.1)))
        for beta in betas
    },
    "`distill_features`, normalised, beta 1, last layer alone": (
        "distill_features",
        {
            "objective.features.loss.distance": "normalised",
            "objective.features.coef": 1,
            "objective.features.loss.layers": [[2, 4]],
        },
    ),
    "`distill_logits` and attention maps": ("distill_logits", {"objective.maps.loss": "attention_maps"}),
    "`distill_features`, cosine, beta 1, last layer alone": (
        "distill_features",
        {
            "objective.features.loss.distance": "cosine",
            "objective.features.coef": 1,
            "objective.features.loss.layers": [[2, 4]],
        },
    ),
}


def main() -> None:
    asked = dict(map(override, sys.argv[1:]))
    out, steps = Path(str(asked.get("out", "runs/distill_features"))), int(asked.get("steps", 150))
    seeds = [int(seed) for seed in str(asked.get("seeds", "0,1,2")).split(",")]
    data = written(out / "rows.jsonl")
    print("| way | loss on held-out rows, nats a token | mean | divergence of the base | mean |")
    print("| -- | -- | -- | -- | -- |")
    for number, (label, (recipe, change)) in enumerate(WAYS.items()):
        found = [
            run(
                out / f"{number}_{seed}",
                recipe,
                seed,
                change,
                student(out / f"student_{seed}", seed),
                data,
                steps,
            )
            for seed in seeds
        ]
        columns = [[report["after"].get(name) for report in found] for name in ("nll", "distill/divergence")]
        print("| " + " | ".join([label, *(cell for column in columns for cell in cells(column))]) + " |")


def cells(numbers: list[float | None]) -> tuple[str, str]:
    known = [number for number in numbers if number is not None]
    if not known:
        return "", ""
    return ", ".join(f"{n:.4f}" for n in known), f"{sum(known) / len(known):.4f}"


def written(path: Path) -> Path:
    """The corpus' first texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"question": q, "completion": a} for q, a in islice(PretrainRecipe().documents(), ROWS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def student(folder: Path, seed: int) -> Path:
    """A model of the base's kind with half its depth and width, with random weights."""
    base, tokenizer = load_policy(BASES["base"])
    sizes = {"hidden_size": 64, "intermediate_size": 192, "head_dim": 16, "num_hidden_layers": 2}
    config = type(base.config)(**base.config.to_dict() | sizes | {"layer_types": ["full_attention"] * 2})
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.generation_config = base.generation_config
    export(model.float(), tokenizer, folder)
    return folder


def run(
    folder: Path, recipe: str, seed: int, change: Mapping[str, Any], model: Path, data: Path, steps: int
) -> dict[str, Any]:
    if not Layout(folder).report.exists():
        teacher = {} if recipe == "sft" else {"teacher": "base"}
        given = {"model": str(model), "data": str(data), "out": str(folder), "steps": steps, "seed": seed}
        menon.train(
            recipe,
            **given,
            **teacher,
            **change,
            rows_per_step=64,
            learning_rate=3e-3,
            threads=1,
            save_every=0,
        )
    report: dict[str, Any] = json.loads(Layout(folder).report.read_text(encoding="utf-8"))
    return report


if __name__ == "__main__":
    main()
