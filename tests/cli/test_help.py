"""Help of each command: its usage, what it does, and every setting with a sentence, without torch."""

import dataclasses
import os
import re
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import menon
from menon.cli import COMMANDS, HELP, main
from menon.cli.help import LEFT_OUT, SETTINGS, Setting, settings_of
from menon.recipes import RECIPES


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
    assert text_of([command, "-h"], capsys) == text


CLASSES = sorted({(module, cls) for places in SETTINGS.values() for _, module, cls in places})


@pytest.mark.parametrize(("module", "cls"), CLASSES)
def test_settings_are_the_fields_of_the_class(module, cls):
    """What the source says is what Python makes of it: names in their order, and defaults."""
    found = {one.name: one for one in settings_of(module, cls)}
    own = getattr(import_module(f"menon.{module}"), cls)
    fields = [field for field in dataclasses.fields(own) if field.name in vars(own)["__annotations__"]]
    assert [field.name for field in fields if (cls, field.name) not in LEFT_OUT] == list(found)
    for field in fields:
        if isinstance(field.default, int | float | str) and (cls, field.name) not in LEFT_OUT:
            value = field.default
            number = f"{value:g}" if isinstance(value, float) else str(value)
            plain = number.lower() if isinstance(value, bool) else number
            assert found[field.name].default == plain


@pytest.mark.parametrize("command", [*SETTINGS, "explain"])
def test_every_setting_is_listed_with_its_sentence(command, capsys):
    text = text_of([command, "--help"], capsys)
    places = SETTINGS["train" if command == "explain" else command]
    documented = {one.name for _, module, cls in places for one in settings_of(module, cls) if one.sentence}
    for owner, module, cls in places:
        assert not owner or f"settings of {owner}:" in text
        for one in settings_of(module, cls):
            assert re.search(rf"^  {one.name}(=|\s|$)", text, re.MULTILINE)
            assert one.name in documented, f"{cls}.{one.name} has no sentence"
            assert one_line(one.sentence) in one_line(text)


def test_types_and_defaults_in_words():
    source = {one.name: one for one in settings_of("config", "OnlineSource")}
    assert (source["heldout"].type, source["heldout"].default) == ("whole number", "200")
    assert (source["temperature"].type, source["temperature"].default) == ("number", "1")
    assert source["on_bad"].type == "stop or skip"
    assert source["rollout"].type.startswith("best_of, dynamic_sampling, ")
    assert source["data"] == Setting("data", "text", "", source["data"].sentence)
    assert source["data"].sentence.startswith(
        "Questions and answers: a JSONL, JSON, CSV or Parquet file, a folder"
    )
    adam = {one.name: one for one in settings_of("update.optimiser", "Optimiser")}
    assert (adam["betas"].type, adam["betas"].default) == ("list", "[0.9, 0.95]")
    answers = {one.name: one for one in settings_of("eval.config", "EvalConfig")}
    assert (answers["entropy_threshold"].default, answers["k"].default) == ("0.672", "1")
    drawn = {one.name: one for one in settings_of("assembly.sample", "SampleConfig")}
    assert drawn["max_new_tokens"].default == "96"  # of another module


def test_help_of_a_recipe(capsys):
    for name in RECIPES:
        text = text_of(["train", name, "--help"], capsys)
        function = getattr(import_module(f"menon.recipes.{name}"), name)
        assert one_line(function.__doc__) in one_line(text)
    assert "\ngrpo:\n" in text_of(["explain", "grpo", "--help"], capsys)
    assert "\ngrpo:\n" not in text_of(["train", "--help"], capsys)


def test_the_general_help_names_every_command():
    for command in COMMANDS:
        assert f"  menon {command} " in HELP


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys; from menon.cli import main; main(['train', 'grpo', '--help']); main(['eval', "
        "'--help']); "
        "print([name for name in ('torch', 'transformers', 'pydantic', 'numpy') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(menon.__file__).parents[1])}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.perf_counter() - start < 10  # .3 s on an idle machine; this one may be busy
