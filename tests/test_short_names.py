"""What a name without dots stands for: the setting of the first owner that has it, and which one is said."""

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from menon.config import OWNERS, RunConfig, changed
from menon.errors import UserError
from menon.recipes import recipe
from menon.reward.judge import Judge
from menon.rollout.dynamic import DynamicSampling
from menon.settings import nested, override, plain_data, read
from menon.short_names import spelt_out


def at(config: RunConfig, path: str) -> Any:
    """The setting at a dotted path."""
    return reduce(
        lambda whole, name: whole[name] if isinstance(whole, dict) else getattr(whole, name),
        path.split("."),
        config,
    )


def spelt(name: str, change: dict[str, Any]) -> Any:
    return spelt_out(nested(change), plain_data(recipe(name)), RunConfig, OWNERS)


@pytest.mark.parametrize(
    ("name", "short", "value", "path"),
    [
        ("grpo", "steps", 3, "control.steps"),
        ("grpo", "out", "a", "control.out"),
        ("grpo", "prompts_per_step", 3, "source.prompts_per_step"),
        ("grpo", "question", "q", "source.columns.question"),
        ("spo_chain", "threshold", 0.8, "source.rollout.threshold"),
        ("grpo", "model", "m", "models.policy.model"),
        ("ppo", "updates_per_step", 3, "models.policy.updates_per_step"),
        ("ppo", "learning_rate", 0.5, "models.policy.optimiser.learning_rate"),
        ("trpo", "max_kl", 0.5, "models.policy.natural.max_kl"),
        ("grpo", "reference", "frozen", "models.reference"),
        ("grpo", "slots", 3, "engine.slots"),
        ("ppo", "lam", 0.5, "advantage.credit.lam"),
        ("grpo", "clip_high", 0.5, "objective.policy.loss.clip_high"),
        ("ppo", "coef", 0.5, "objective.policy.coef"),
        ("ppo", "pretrain_steps", 3, "models.critic.pretrain_steps"),
        ("ppo", "clip", 0.5, "models.critic.objective.value.loss.clip"),
        ("r1_zero", "every", 3, "models.reference_update.every"),
        ("grpo", "scale", "laptop", "scale"),
    ],
)
def test_the_first_owner_that_has_it(name, short, value, path):
    tree: Any = value
    for key in reversed(path.split(".")):
        tree = {key: tree}
    assert spelt(name, {short: value}) == tree
    before = recipe(name)
    if short == "question":  # of columns, which need data
        before = changed(before, {"data": "x.jsonl"})
    assert at(changed(before, {short: value}), path) == value
    assert short == "scale" or at(before, path) != value


@pytest.mark.parametrize(
    ("name", "dotted", "path"),
    [
        ("ppo", "critic.learning_rate", "models.critic.optimiser.learning_rate"),
        ("ppo", "critic.optimiser.learning_rate", "models.critic.optimiser.learning_rate"),
        ("ppo", "models.critic.learning_rate", "models.critic.optimiser.learning_rate"),
        ("ppo", "critic.huber", "models.critic.objective.value.loss.huber"),
        ("ppo", "policy.weight_decay", "models.policy.optimiser.weight_decay"),
        ("ppo", "optimiser.weight_decay", "models.policy.optimiser.weight_decay"),
        ("grpo", "objective.policy.clip_high", "objective.policy.loss.clip_high"),
        ("spo_tree", "source.max_age", "source.rollout.max_age"),
    ],
)
def test_short_names_below_an_owner(name, dotted, path):
    assert at(changed(recipe(name), {dotted: 7}), path) == 7


def test_an_owners_own_setting_goes_before_those_of_its_parts():
    """A judge has a model too, and stands in the source, which is searched before the policy."""
    config = changed(
        recipe("grpo"), {"reward": {"kind": "judge", "model": "j"}}, {"model": "m", "soft": True}
    )
    assert config.source.reward == Judge(model="j", soft=True)
    assert config.models.policy.model == "m"
    assert changed(config, {"reward.model": "k"}).source.reward == Judge(model="k", soft=True)


@pytest.mark.parametrize(
    "words",
    [
        ["rollout=dynamic_sampling", "max_rounds=3", "lo=.2"],
        ["rollout={kind: dynamic_sampling, max_rounds: 3, lo: .2}"],
        ["rollout=dynamic_sampling", "rollout.max_rounds=3", "source.rollout.lo=.2"],
        ["source.rollout=dynamic_sampling", "source.max_rounds=3", "lo=.2"],
    ],
)
def test_a_rollout_and_its_settings_in_one_command_line(words):
    changes = [dict([override(word)]) for word in words]
    assert changed(recipe("grpo"), *changes).source.rollout == DynamicSampling(max_rounds=3, lo=0.2)


def test_in_one_table_the_order_does_not_matter():
    for table in (
        {"max_rounds": 3, "rollout": "dynamic_sampling"},
        {"rollout": "dynamic_sampling", "max_rounds": 3},
    ):
        assert changed(recipe("grpo"), table).source.rollout == DynamicSampling(max_rounds=3)
    seen = changed(recipe("grpo"), {"difficulty": 3, "task": "countdown", "steps": 2})
    assert (plain_data(seen.source.task), seen.control.steps) == ({"difficulty": 3, "kind": "countdown"}, 2)


BOTH = "; write the one that you mean"


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (
            "spo_chain",
            {"below": 0.5},
            "'below' could be advantage.credit.below and advantage.whiten.below and "
            f"objective.policy.select.below{BOTH}",
        ),
        ("grpo_paper", {"coef": 0.5}, f"'coef' could be objective.policy.coef and objective.kl.coef{BOTH}"),
        (
            "ppo",
            {"models.learning_rate": 0.5},
            "'learning_rate' could be models.policy.optimiser.learning_rate and "
            f"models.critic.optimiser.learning_rate{BOTH}",
        ),
        ("grpo", {"learning_rat": 1}, "unknown setting 'learning_rat'; did you mean 'learning_rate'?"),
        ("grpo", {"clip_hihg": 1}, "unknown setting 'clip_hihg'; did you mean 'clip_high'?"),
        ("grpo", {"advantag": 1}, "unknown setting 'advantag'; did you mean 'advantage'?"),
        ("grpo", {"zzz": 1}, "unknown setting 'zzz'; `menon train --help` lists them all"),
        (
            "grpo",
            {"max_rounds": 3},
            "this run has no setting 'max_rounds'; it belongs to rollout=dynamic_sampling, which must come "
            "before it",
        ),
        (
            "grpo",
            {"segment_tokens": 3},
            "this run has no setting 'segment_tokens'; it belongs to rollout=segments or rollout=tree, which "
            "must come before it",
        ),
        (
            "grpo",
            {"pretrain_steps": 3},
            "this run has no setting 'pretrain_steps'; it belongs to critic, which must come before it",
        ),
        ("grpo", {"source.stepz": 1}, "unknown setting 'source.stepz'; did you mean 'source.stop'?"),
    ],
)
def test_what_is_said_of_other_names(name, change, sentence):
    with pytest.raises(UserError) as error:
        changed(recipe(name), change)
    assert str(error.value) == sentence


OWN = """
from dataclasses import dataclass, replace
from typing import ClassVar

@dataclass(frozen=True)
class Doubled:
    strength: float = 2.0
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, batch):
        return replace(batch, advantage=batch.reward * self.strength)

@dataclass(frozen=True)
class Riddles:
    hardness: int = 1

    def reset(self, prompt, seed): ...
    def step(self, text): ...

def right(prompt, completion, answer):
    return 1.0
"""


def test_parts_of_ones_own(tmp_path: Path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    named = {"advantage.credit": f"{file}:Doubled", "environment": f"{file}:Riddles"}
    config = changed(recipe("grpo"), named, {"strength": "3", "hardness": "4"})
    assert (config.advantage["credit"].strength, config.source.environment.hardness) == (3.0, 4)
    assert read(RunConfig, json.loads(json.dumps(plain_data(config)))) == config
    with pytest.raises(UserError, match="unknown setting 'strenght'; did you mean 'strength'"):
        changed(config, {"strenght": 1})


def test_a_function_as_reward_is_not_loaded_to_find_a_name(tmp_path: Path):
    """It has no settings, and its file runs in a process of its own."""
    file = tmp_path / "reward.py"
    file.write_text("raise SystemExit('loaded')\n")
    config = changed(recipe("grpo"), {"reward": f"{file}:right"}, {"clip_high": 0.5, "learning_rate": 0.25})
    assert config.source.reward == f"{file}:right"
    assert config.objective["policy"].loss.clip_high == 0.5
    assert config.models.policy.optimiser.learning_rate == 0.25


def test_every_owner_comes_back_from_json():
    change = {
        "seed": 5,
        "tracker": "wandb",
        "stop": ["\n"],
        "top_p": 0.5,
        "columns": {"question": "q"},
        "data": "x",
        "betas": [0.5, 0.75],
        "old": "behaviour",
        "reference": "frozen",
        "reference_update": "hard_reset",
        "dtype": "float64",
        "threads": 2,
        "advantage.whiten": "whiten",
        "clip_high": 0.5,
    }
    config = changed(recipe("grpo"), change)
    again = read(RunConfig, json.loads(json.dumps(plain_data(config))))
    assert again == config
    assert again != recipe("grpo")
    owners = (again.control, again.source, again.models, again.engine, again.advantage, again.objective)
    plain_grpo = recipe("grpo")
    before = (
        plain_grpo.control,
        plain_grpo.source,
        plain_grpo.models,
        plain_grpo.engine,
        plain_grpo.advantage,
        plain_grpo.objective,
    )
    assert all(now != then for now, then in zip(owners, before, strict=True))
