"""Law 9: unknown configuration is refused; every recipe, and every part that a recipe can name, runs two
steps on a CPU."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

import menon
from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.arrange import ArrangePart
from menon.config import CreditPart, RunConfig, changed
from menon.correction import CorrectionPart
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.loss import LossPart
from menon.loss.aggregation import AggregationPart
from menon.recipes import ONLINE, TAUGHT, recipe
from menon.select import SelectPart
from menon.settings import read
from menon.shaping import ShapingPart
from menon.update.protocols import VALUE, Head

SHAPES = {part.kind for part in get_args(ShapingPart)}
AFTER = {"whiten", "kl_in_advantage"}
"""Kinds that change advantages."""
VOCABULARY = len(ALPHABET) + 1
"""So small that some answers end before they are cut."""
SMALL = {"steps": 2, "prompts_per_step": 4, "samples_per_prompt": 4, "heldout": 3, "max_new_tokens": 12} | {
    "threads": 1,
    "device": "cpu",
}
FROZEN = {"reference": "frozen"}

FITTED: dict[str, dict[str, Any]] = {
    **{name: {"advantage.overlong": {"limit": 12, "buffer": 6}} for name in ("dapo", "top_entropy")},
    "vapo": {"critic.pretrain_steps": 0},
    "spo_tree": {"branching": "1-4", "segment_tokens": 2, "samples_per_prompt": 1},
    "opd": {"teacher": "TEACHER"},
}
"""Recipes that know how long answers may be, in which the policy waits, or with a teacher."""


def kl(kind: str) -> dict[str, Any]:
    return {"objective.kl": {"loss": kind, "share": "token_mean", "coef": 0.1}, **FROZEN}


TEACHER = "TEACHER"
"""Stands for the folder of another model with the same vocabulary."""
WITH_TEACHER = {"teacher": TEACHER}
FULL_OPD = {"advantage.credit": None, "objective.policy.loss": {"kind": "distill", "divergence": "reverse"}}
OTHER_ANSWER = {"teacher": "start", "teacher_question": "{q} {right_answer}"}
REINFORCED_OPD = {"credit": "grpo", "teacher": {"kind": "teacher", "coef": 0.1, "adds": True}}

CASES: dict[str, tuple[str, Mapping[str, Any]]] = {
    **{name: (name, FITTED.get(name, {})) for name in ONLINE | TAUGHT},
    "grpo_passk": (
        "grpo_passk",
        {"samples_per_prompt": 2},
    ),  # of four, two right ones tie at the top and teach nothing
    "bfloat16": ("grpo", {"dtype": "bfloat16", "updates_per_step": 2}),
    "float64": ("ppo", {"dtype": "float64"}),
    "dynamic sampling": ("grpo", {"rollout": "dynamic_sampling"}),
    "kl in the loss": ("grpo", kl("kl") | {"updates_per_step": 2}),
    "kl in the reward": (
        "reinforce",
        {
            "advantage": {
                "kl": {"kind": "kl_in_reward", "target": 0.1},
                "credit": "reinforce",
                "whiten": "whiten",
            },
            **FROZEN,
        },
    ),
    "bypass": ("grpo", {"old": "behaviour", "updates_per_step": 2}),
    "by difficulty": ("dapo", {"order": "by_difficulty", **FITTED["dapo"]}),
    "hard reset": (
        "grpo",
        kl("kl") | {"reference_update": {"kind": "hard_reset", "every": 1}, "updates_per_step": 2},
    ),
    "moving average": ("grpo", kl("kl") | {"reference_update": "moving_average", "updates_per_step": 2}),
    "bootstrapped": ("ppo", {"advantage.credit.bootstrap_truncated": True, "advantage.credit.lam": 0.95}),
    "greedy baseline": ("grpo", {"rollout": "greedy_baseline", "advantage": {"credit": "remax"}}),
    "gspo": (
        "grpo",
        {"objective.policy.loss": "gspo", "objective.policy.share": "sequence_mean", "updates_per_step": 2},
    ),
    "80/20": (
        "grpo",
        {
            "objective.policy.select": "top_entropy",
            "objective.policy.share": "selected_mean",
            "updates_per_step": 2,
        },
    ),
    "dr grpo": (
        "grpo",
        {"advantage.credit.std_mode": "none", "objective.policy.share": {"kind": "constant", "length": 12}},
    ),
    "shared trunk": (
        "ppo",
        {"critic.shared_trunk": True, "critic.updates_per_step": 1, "critic.objective.value.coef": 0.5},
    ),
    "a tree that teaches nothing twice": (
        "spo_tree",
        {"branching": [4, 1, 1], "segment_tokens": [2, 3], "samples_per_prompt": 1}
        | {"rollout.max_age": 1, "advantage.credit.method": "leave_one_out"},
    ),
    "fixed segments": (
        "spo_chain",
        {"rollout": {"kind": "segments", "partition": "tokens", "segment_tokens": 5}},
    ),
    "equal parts": ("vineppo", {"rollout.partition": "parts", "rollout.max_values": 1}),
    "guess the number": ("grpo", {"environment": "guess_number", "environment.high": 20}),
    "a grid world": ("reinforce", {"environment": "grid_world"}),
    "an environment and dynamic sampling": ("calculator", {"rollout": "dynamic_sampling", "max_turns": 3}),
    "on-policy distillation on the whole vocabulary": ("opd", {**FULL_OPD, **WITH_TEACHER}),
    "distillation and reinforcement": (
        "opd",
        {"advantage": REINFORCED_OPD, "samples_per_prompt": 4, "updates_per_step": 2, **WITH_TEACHER},
    ),
    "several teachers": ("opd", {"teachers": {"chain_sum": TEACHER, "other": "start"}}),
    "self-distillation and reinforcement": (
        "sdpo",
        {"advantage.credit": "grpo", "objective.policy": {"loss": "ppo_clip"}, "teacher": "policy"}
        | {"teacher_rate": 0.0},
    ),
    "many updates": (
        "ppo",
        {"critic.updates_per_step": 2, "updates_per_step": 2, "advantage.credit.lam": 0.95},
    ),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "constant": {"length": 12},
    "overlong": {"limit": 12, "buffer": 6},
    "entropy_coefficient": {"target": 1.0},
    "answer_probability": {"marker": "1", "keep": 1.0, "least": 0.5},
}
"""Of parts without a default for everything."""
STEERED = {"kl_coefficient": "kl", "penalty_coefficient": "old_kl", "entropy_coefficient": "entropy"}
"""Parts that steer a term -> a loss for it."""
CORRECTIONS: dict[str, dict[str, Any]] = {"reject": {"high": 2.0, "low": 0.5}}
PAIRS = {"arrange.pairs": "best_worst"}
"""For losses over pairs."""


SHARES = {"sequence": "sequence_mean", "pair": "pair_mean", "group": "sequence_mean"}
"""Unit of a loss -> a share for it."""
FITS: dict[str, dict[str, Any]] = {
    "sequence_length_mean": {"objective.policy.loss": "gspo"},
    "pair_mean": {"objective.policy.loss": "dpo", **PAIRS, **FROZEN},
    "pair_mean_token_mean": {"objective.policy.loss": "nll", **PAIRS},
}
"""Share -> what it needs besides."""


def cases_of_parts() -> dict[str, tuple[str, dict[str, Any]]]:
    """Each part that a file can name, in an otherwise plain run."""
    cases: dict[str, tuple[str, dict[str, Any]]] = {}
    for part in [loss() for loss in get_args(LossPart)]:
        if all(need == VALUE for need in part.needs if isinstance(need, Head)):
            share = SHARES.get(part.unit, "token_mean")
            name = "policy" if "advantage" in part.reads else "more"
            recipe_name = "ppo" if VALUE in part.needs else "grpo"
            where = "critic.objective" if recipe_name == "ppo" else "objective"
            cases[f"loss {part.kind}"] = (
                recipe_name,
                {f"{where}.{name}": {"loss": part.kind, "share": share}, **FROZEN}
                | (PAIRS if part.unit == "pair" else {}),
            )
    for kind in ("distill", "features", "attention_maps"):
        cases[f"loss {kind}"][1].update(WITH_TEACHER)
    cases["loss pg"][1]["updates_per_step"] = 1  # it refuses more
    for part in get_args(CreditPart):
        given = {"kind": part.kind, **SETTINGS.get(part.kind, {})}
        reads = part(**SETTINGS.get(part.kind, {})).reads
        table: dict[str, Any] = {"credit": given}
        if part.kind in SHAPES:
            table = {"shape": given, "credit": "grpo"}
        elif part.kind in AFTER:
            table = {"credit": "grpo", "after": given}
        elif part.kind in STEERED:
            table = {"credit": "grpo", "steer": given}
        changes: dict[str, Any] = {"advantage": table, **FROZEN}
        if part.kind in STEERED:
            term = {"loss": STEERED[part.kind], "share": "token_mean"}
            changes |= {f"objective.{part(**SETTINGS.get(part.kind, {})).term}": term, "updates_per_step": 2}
        if "teacher_logp" in reads:
            changes |= WITH_TEACHER
        if "baseline" in reads:
            changes["rollout"] = "greedy_baseline"
        if "state_value" in reads:
            changes["rollout"] = {"kind": "segments", "value_samples": 2}
        if part.kind == "grpo_passk":
            changes["samples_per_prompt"] = 2  # or two right ones tie at the top, and nothing is learned
        cases[f"advantage {part.kind}"] = ("ppo" if "value" in reads else "grpo", changes)
    for part in get_args(AggregationPart):
        share = {"kind": part.kind, **SETTINGS.get(part.kind, {})}
        cases[f"share {part.kind}"] = ("grpo", {"objective.policy.share": share, **FITS.get(part.kind, {})})
    for part in get_args(ArrangePart):
        pairs = {"objective.policy": {"loss": "dpo", "share": "pair_mean"}, **FROZEN} if part.writes else {}
        cases[f"arrange {part.kind}"] = ("grpo", {"arrange.some": part.kind, **pairs})
    for part in get_args(SelectPart):
        cases[f"select {part.kind}"] = ("grpo", {"objective.policy.select": part.kind})
    cases["select hinted"][1].update(OTHER_ANSWER)
    for part in get_args(CorrectionPart):
        given = [{"kind": part.kind, **CORRECTIONS.get(part.kind, {})}]
        cases[f"correction {part.kind}"] = (
            "grpo",
            {"objective.policy.correction": given, "updates_per_step": 2},
        )
    return cases


CASES |= cases_of_parts()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3", vocab=VOCABULARY), tiny_tokenizer(VOCABULARY), path)
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher")
    export(tiny_model("qwen3", vocab=VOCABULARY, seed=5), tiny_tokenizer(VOCABULARY), path)
    return path


def taught_by(teacher: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    def named(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: named(item) for name, item in value.items()}
        return str(teacher) if value == TEACHER else value

    return {name: named(value) for name, value in changes.items()}


def half() -> Callable[..., float]:
    """A reward that gives a random model's answers 0 and 1 about equally. (A closure: one that could be
    imported would be, in a process of its own, and torch with it.)"""

    def score(prompt: str, completion: str, answer: str, completion_ids: list[int]) -> dict[str, float]:
        right = float(sum(completion_ids) % 2)
        return {"score": right, "acc": right}

    return score


@pytest.mark.parametrize("case", CASES)
def test_two_steps(case, model, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("menon.assembly.questions.TASK_ROWS", 50)
    monkeypatch.setattr("menon.assembly.run.use", lambda chosen, device: None)
    name, changes = CASES[case]
    changes = taught_by(teacher, changes)
    out = tmp_path / "run"
    report = menon.train(name, model=str(model), out=str(out), reward=half(), **{**SMALL, **changes})
    assert report["steps"] == 2
    assert report["before"].keys() >= {"accuracy", "mean_length", "entropy"}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert report["generated_tokens"] == sum(line["tokens/generated"] for line in lines) > 0
    for line in lines:
        assert line["update/skipped"] == 0
        assert line["grad_norm"] > 0
        assert all(value is not None for value in line.values()), line
    assert len({line["fingerprint"] for line in lines}) == 2  # the weights have moved
    settings = json.loads((out / "run.json").read_text())["settings"]
    expected = changed(recipe(name, "a folder"), changes)
    source = {**settings["source"], "reward": None}
    got = read(RunConfig, {**settings, "source": source, "own_code": {}})
    assert (got.objective, got.advantage, got.models.critic) == (
        expected.objective,
        expected.advantage,
        expected.models.critic,
    )
    assert (got.source.rollout, got.source.environment) == (
        expected.source.rollout,
        expected.source.environment,
    )


@pytest.mark.parametrize("name", [*ONLINE, *TAUGHT])
def test_the_same_seed_is_the_same_run(name, model, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("menon.assembly.questions.TASK_ROWS", 50)
    prints = []
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        menon.train(
            name,
            model=str(model),
            out=str(tmp_path / run),
            reward=half(),
            seed=seed,
            **SMALL | taught_by(teacher, FITTED.get(name, {})),
        )
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        prints.append([json.loads(line)["fingerprint"] for line in lines])
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


@pytest.mark.parametrize("name", ONLINE)
def test_unknown_configuration_is_refused(name):
    changes: list[dict[str, Any]] = [
        {"learning_rat": 1},
        {"objective.policy.loss.clip_hi": 1},
        {"optimiser.beta": 1},
        *({f"advantage.{part}.gama": 1} for part in recipe(name).advantage),
        *({f"arrange.{part}.kep": 1} for part in recipe(name).arrange),
    ]
    for change in changes:
        with pytest.raises(UserError, match=r"did you mean|there are"):
            changed(recipe(name), change)
