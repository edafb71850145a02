"""Help of each command and of each name: usage, what it does, each setting with a sentence; without torch."""

import dataclasses
import os
import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest

import menon
from menon.cli import COMMANDS, HELP, main
from menon.cli.catalogue import GROUPS, OWNERS, STAGES, TABLES, all_parts, in_group, page_of, run_settings
from menon.cli.help import SETTINGS
from menon.cli.source_text import LEFT_OUT, Setting, members, settings_of
from menon.config import changed
from menon.errors import UserError
from menon.recipes import RECIPES, recipe

ROOT = Path(__file__).parents[2]


def text_of(words: list[str], capsys: Any) -> str:
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_of_its_own(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = text_of([command, "--help"], capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(f"  menon {command} ")
    module, _, name = COMMANDS[command].partition(":")
    function = getattr(import_module(f"menon.cli.{module}"), name)
    assert one_line(function.__doc__.partition("UserError:")[0]) in one_line(text)
    assert "UserError" not in text
    assert text_of([command, "-h"], capsys) == text_of(["help", command], capsys) == text


# The source that is read, and what Python makes of it

CLASSES = {(module, cls) for places in SETTINGS.values() for _, module, cls in places} | set(OWNERS.values())
PARTS = {(part.module, part.cls) for _, part in all_parts()}


@pytest.mark.parametrize(("module", "cls"), sorted(CLASSES | PARTS))
def test_settings_are_the_fields_of_the_class(module, cls):
    """Names in their order, defaults, and a sentence for each."""
    found = {one.name: one for one in settings_of(module, cls)}
    own = getattr(import_module(f"menon.{module}"), cls)
    fields = [field for field in dataclasses.fields(own) if field.name in vars(own)["__annotations__"]]
    fields = [field for field in fields if field.init and field.name != "kind"]
    fields = [field for field in fields if (cls, field.name) not in LEFT_OUT]
    assert [field.name for field in fields] == list(found)
    for field in fields:
        one = found[field.name]
        assert one.sentence.endswith((".", "...")), f"{cls}.{field.name} has no sentence"
        if isinstance(field.default, int | float | str):
            value = field.default
            number = f"{value:g}" if isinstance(value, float) else str(value).replace("\n", "\\n")
            assert one.default == (number.lower() if isinstance(value, bool) else number)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_kinds_of_a_stage_are_those_of_the_union(stage):
    union = getattr(import_module(f"menon.{stage.module}"), stage.union)
    classes = {cls.kind: cls.__name__ for cls in get_args(union)}
    assert classes == {part.kind: part.cls for part in stage.parts}
    for part in stage.parts:
        page = ROOT / page_of(part.kind, stage)
        assert re.search(rf"\b{part.kind}\b", page.read_text(encoding="utf-8")), f"{part.kind}: {page}"


def test_types_and_defaults_in_words():
    source = {one.name: one for one in settings_of("config", "OnlineSource")}
    assert (source["heldout"].type, source["heldout"].default) == ("whole number", "200")
    assert (source["temperature"].type, source["temperature"].default) == ("number", "1")
    assert source["on_bad"].type == "stop or skip"
    assert source["rollout"].type.startswith("best_of, dynamic_sampling, ")
    assert source["rollout"].default == "groups"
    assert source["data"] == Setting("data", "", source["data"].sentence)
    assert source["data"].first == "Questions and answers: a file or folder, or hub:NAME"
    adam = {one.name: one for one in settings_of("update.optimiser", "Optimiser")}
    assert (adam["betas"].type, adam["betas"].default) == ("list", "[0.9, 0.95]")
    answers = {one.name: one for one in settings_of("eval.config", "EvalConfig")}
    assert (answers["entropy_threshold"].default, answers["k"].default) == ("0.672", "1")
    words = {one.name: one.short_type for one in (*source.values(), *adam.values())}
    assert (words["heldout"], words["task"], words["on_bad"], words["columns"]) == (
        *("whole", "part", "choice"),
        "table",
    )
    assert (words["reward"], words["betas"], words["schedule"]) == ("part", "list", "choice")
    assert members("select", "SelectPart")[0].cls == "Correct"


# The settings of a run


def test_every_setting_of_a_run_is_in_one_group():
    names = [one.short for group in GROUPS for one in in_group(group)]
    assert len(names) == len(set(names))
    assert set(names) == set(run_settings())
    above = {full.rpartition(".")[0] for full in (one.full for one in run_settings().values())}
    assert above >= TABLES - {"models.policy"}


@pytest.mark.parametrize("short", run_settings())
def test_the_short_name_is_understood(short):
    """It stands for its full name: a wrong value is refused under the full one."""
    name = "trpo" if short.startswith("natural") else "sft" if short.startswith("rows") else "ppo"
    whole = changed(recipe(name), {"adapter": {}} if short.startswith("adapter") else {})
    tree: Any = whole
    for key in run_settings()[short].full.split("."):
        tree = tree[key] if isinstance(tree, dict) else getattr(tree, key)
    odd = [{"not": {"a": "setting"}}]
    with pytest.raises(UserError) as refused:
        changed(whole, {short: odd})
    assert run_settings()[short].full in str(refused.value)


def test_a_setting_has_one_line_where_there_is_room(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    lines = text_of(["train", "--help"], capsys).splitlines()
    for group in GROUPS:
        assert f"{group.name}: {group.sentence}" in lines
        for one in in_group(group):
            shown = [line for line in lines if re.match(rf"  {re.escape(one.short)}(=| )", line)]
            assert len(shown) == 1, one.short
            assert one.setting.first in shown[0]
            assert one.setting.default in shown[0]
    assert max(map(len, lines)) <= 110
    assert len(lines) < 160


def test_help_of_a_recipe(capsys):
    for name in RECIPES:
        function = getattr(import_module(f"menon.recipes.{name}"), name)
        for words in (["train", name, "--help"], ["help", name]):
            assert one_line(function.__doc__) in one_line(text_of(words, capsys))
        assert (ROOT / page_of(name)).exists()
    assert "\ngrpo:\n" in text_of(["explain", "grpo", "--help"], capsys)
    assert "\ngrpo:\n" not in text_of(["train", "--help"], capsys)


def test_the_general_help_names_every_command():
    for command in COMMANDS:
        assert f"  menon {command} " in HELP


# A name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "gspo",
            ["recipe gspo", "loss gspo", "l_i = mean over", "clip_high=0.0004", "docs/algorithms/gspo.md"],
        ),
        ("GSPO", ["loss gspo"]),
        ("reward", ["reward, set as", "  math ", "  mix ", "docs/rewards.md"]),
        ("loss", ["  ppo_clip ", "  vespo "]),
        ("aggregation", ["  token_mean "]),
        ("advantage", ["  grpo ", "advantage.credit"]),
        ("steps", ["setting steps, in full control.steps", "whole number; default 30"]),
        ("control.steps", ["setting steps, in full control.steps"]),
        ("steps=20", ["setting steps, in full control.steps"]),
        ("--steps", ["setting steps, in full control.steps"]),
        ("learning_rate", ["in full models.policy.optimiser.learning_rate", "metric learning_rate"]),
        ("clip_high", ["setting clip_high of objective.NAME.loss", "  gspo=0.0004"]),
        ("objective.policy.loss.clip_high", ["setting clip_high of objective.NAME.loss"]),
        ("critic.init", ["models.critic.init", "zero or orz"]),
        ("question", ["in full source.columns.question"]),
        ("k", ["setting k of menon eval"]),
        ("clip/frac", ["metric clip/frac", "unit: share"]),
        ("loss/policy", ["metric loss/policy", "numerics 4.3"]),
        ("critic/grad_norm", ["of the critic: norm of the gradient"]),
        ("kl", ["loss kl", "kl/ref_k3"]),
        ("metrics", ["entropy/lt001", "memory/gib"]),
        ("recipes", ["vineppo", "dapo"]),
        (
            "num_generations",
            ["num_generations is samples_per_prompt here", "in full source.samples_per_prompt"],
        ),
        ("beta", ["kl_in_reward=0.001", "beta is the coefficient of the KL term here"]),
        ("critic", ["settings of critic", "  critic.pretrain_steps=0"]),
        ("optimiser", ["settings of optimiser", "  learning_rate=0.0001"]),
        ("models.policy", ["  model=base", "  updates_per_step=1"]),
        ("critic.learning_rate", ["setting learning_rate, in full models.policy.optimiser.learning_rate"]),
        ("advantage.credit", ["advantage, set as advantage.NAME"]),
        ("objective.policy.loss", ["setting objective.policy.loss", "  ppo_clip "]),
        ("loss.gspo", ["loss gspo"]),
        ("template", ["setting template", "template: none, chat, r1_zero, ", "docs/data.md"]),
        ("qwen_boxed", ["template qwen_boxed, set as template=qwen_boxed"]),
        ("gsm8k", ["set gsm8k, set as set=gsm8k", "docs/evaluation.md"]),
        ("Learning_Rate", ["setting learning_rate"]),
        ("lora", ["there is no LoRA here"]),
    ],
)
def test_help_on_a_name(name, parts, capsys):
    text = text_of(["help", name], capsys)
    assert [part for part in parts if part not in text] == []


def test_every_name_that_can_be_looked_up_has_help(monkeypatch):
    from menon.cli.lookup import help_for, known

    monkeypatch.setenv("COLUMNS", "80")
    assert len(known()) > 400
    for name in known() - set(COMMANDS):
        assert help_for(name).count("\n") > 1, name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gspoo", "there is no help on 'gspoo'; did you mean 'gspo'"),
        ("zzzzz", "there is no help on 'zzzzz'; `menon train --help` lists the settings"),
    ],
)
def test_help_on_an_unknown_name(name, sentence, capsys):
    assert main(["help", name]) == 2
    assert capsys.readouterr().err.startswith(f"menon: {sentence}")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from menon.cli import main; main(['train', 'grpo', '--help']); main(['help', 'eval']); "
        "main(['help', 'gspo', 'reward', 'clip/frac', 'num_generations']); "
        "print([name for name in ('torch', 'transformers', 'pydantic', 'numpy') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(menon.__file__).parents[1])}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - start < 10  # .3 s on an idle machine; this one may be busy
