"""Whether a run's disk holds its checkpoints is said before a model is loaded."""

import resource
import shutil
from collections import namedtuple

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.derived import size_of_model
from menon.assembly.room import check_disk, check_folder, checkpoint_bytes
from menon.assembly.run import configured
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.record import checkpoint
from menon.settings import override

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def folder(tmp_path):
    export(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def config_of(folder, *words, recipe="grpo"):
    given = (f"model={folder}", f"out={folder.parent / 'run'}", "max_new_tokens=16", *words)
    return configured(recipe, [dict([override(word)]) for word in given], 1)


def saved(config):
    return config.models, config.control.save_dtype


def size_of(folder):
    size = size_of_model(str(folder))
    assert size is not None
    return size


@pytest.mark.parametrize(
    ("words", "recipe", "bytes_a_weight"),
    [
        ((), "grpo", 4 + 8),
        (("save_dtype=bfloat16",), "grpo", 2 + 4 + 8),
        ((), "ppo", 4 + 8 + 4 + 8),
        (("natural={}",), "grpo", 4),
    ],
)
def test_the_bytes_of_a_checkpoint(folder, words, recipe, bytes_a_weight):
    size = size_of(folder)
    found, _ = checkpoint_bytes(*saved(config_of(folder, *words, recipe=recipe)), size, folder)
    assert found == bytes_a_weight * size.parameters


@pytest.mark.parametrize(("words", "count"), [(("save_every=0",), 1), (("save_every=2", "steps=9"), 3)])
def test_a_disk_that_is_too_small_for_checkpoints(folder, monkeypatch, words, count):
    config, size = config_of(folder, *words), size_of(folder)
    each, _ = checkpoint_bytes(*saved(config), size, folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, count * each))
    check_disk(config.models, config.control, size, folder, folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, count * each - 1))
    with pytest.raises(UserError, match=f"writes {count} checkpoint.* free; make room, set out=") as error:
        check_disk(config.models, config.control, size, folder, folder.parent)
    assert ("save_every=0" in str(error.value)) == (count > 1)


def test_checkpoints_that_are_there_are_counted(folder, monkeypatch):
    config = config_of(folder, "save_every=2", "steps=9")
    each, _ = checkpoint_bytes(*saved(config), size_of(folder), folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, 2 * each))
    with pytest.raises(UserError, match="writes 3 checkpoints"):
        check_folder(config.models, config.control, folder.parent / "run")
    (folder.parent / "run" / "checkpoints" / "step_000002").mkdir(parents=True)
    check_folder(config.models, config.control, folder.parent / "run")


def test_files_that_the_system_cuts(folder, monkeypatch):
    config, size = config_of(folder), size_of(folder)
    _, largest = checkpoint_bytes(*saved(config), size, folder)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (largest, largest))
    check_disk(config.models, config.control, size, folder, folder.parent)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (largest - 1, largest))
    with pytest.raises(UserError, match="raise it by `ulimit -f unlimited`"):
        check_disk(config.models, config.control, size, folder, folder.parent)


def test_a_place_that_cannot_be_written(folder):
    config = config_of(folder)
    (folder.parent / "run").write_text("")
    with pytest.raises(UserError, match=r"the run folder .*run cannot be written \(not a directory\)"):
        check_folder(config.models, config.control, folder.parent / "run")


def test_as_many_are_kept_as_the_checkpoints_say():
    assert checkpoint.KEEP == 2  # `checkpoints_at_once` and its examples
