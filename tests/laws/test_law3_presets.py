"""Law 3 for every recipe: before the first update the policy is the one that wrote the text, and the
reference."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import menon
from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.engines.hf_models import export
from menon.metric_names import described
from menon.recipes import ONLINE, recipe

VOCABULARY = len(ALPHABET) + 1
SMALL = {
    "steps": 1,
    "prompts_per_step": 4,
    "samples_per_prompt": 4,
    "heldout": 1,
    "max_new_tokens": 12,
    "threads": 1,
}
ONE_UPDATE = {"updates_per_step": 1, "device": "cpu"}
SHORTER = {name: {"advantage.overlong": {"limit": 12, "buffer": 6}} for name in ("dapo", "top_entropy")} | {
    "spo_tree": {"branching": "2-2", "segment_tokens": 4, "samples_per_prompt": 1}
}
AT_ONCE = {"vapo": {"critic.pretrain_steps": 0}}
TO_THE_SAMPLER = {"spo_tree"}
"""Recipes whose ratio is to the sampler's log-probs: 1 within rounding."""
WITHOUT_RATIO = {"reinforce", "rloo", "opo", "gpg", "maxrl", "remax", "raft", "rest_em", "iterative_dpo"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3", vocab=VOCABULARY), tiny_tokenizer(VOCABULARY), path)
    return path


def odd() -> Callable[..., float]:
    """A reward of 0 or 1 about equally, in a closure, so that it stays in this process."""

    def score(prompt: str, completion: str, answer: str, completion_ids: list[int]) -> dict[str, float]:
        right = float(sum(completion_ids) % 2)
        return {"score": right, "acc": right}

    return score


@pytest.mark.parametrize("name", ONLINE)
def test_the_first_update(name, model, tmp_path, monkeypatch):
    monkeypatch.setattr("menon.assembly.questions.TASK_ROWS", 50)
    monkeypatch.setattr("menon.assembly.run.use", lambda chosen, device: None)
    out = tmp_path / "run"
    settings = {**SMALL, **ONE_UPDATE, **SHORTER.get(name, {}), **AT_ONCE.get(name, {})}
    menon.train(name, model=str(model), out=str(out), reward=odd(), **settings)
    line = json.loads((out / "metrics.jsonl").read_text())
    assert [name for name in line if described(name) is None] == []
    assert line["mismatch/abs"] < 1e-6
    ratios = {key: line[key] for key in ("ratio/mean", "ratio/max") if key in line}
    if name in TO_THE_SAMPLER:
        ratios = {key: round(ratio, 5) for key, ratio in ratios.items()}
    assert ratios == ({} if name in WITHOUT_RATIO else {"ratio/mean": 1.0, "ratio/max": 1.0})
    distances = [line[key] for key in ("kl/ref_k1", "kl/ref_k3") if key in line]
    assert len(distances) == (2 if recipe(name).models.reference == "frozen" else 0)
    assert all(abs(distance) <= (1e-6 if name in TO_THE_SAMPLER else 0) for distance in distances)
