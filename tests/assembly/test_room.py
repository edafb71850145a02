"""Whether a run fits into memory and onto the disk is said before a model is loaded."""

import resource
import shutil
from collections import namedtuple
from dataclasses import replace

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.assembly import room
from menon.assembly.derived import size_of_model
from menon.assembly.room import check_disk, check_memory, check_room, checkpoint_bytes
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


def size_of(folder):
    size = size_of_model(str(folder))
    assert size is not None
    return size


def free(monkeypatch, count):
    monkeypatch.setattr(room, "free_bytes", lambda device: count)


def test_what_learns_takes_sixteen_bytes_a_weight(folder, monkeypatch):
    """One byte too few is refused; an adapter, which would fit, is proposed."""
    config, size = config_of(folder), size_of(folder)
    assert room.held(config, size)[0] == 16 * size.parameters
    free(monkeypatch, 2**40)
    check_memory(config, size, pytest.fail)
    said = []
    free(monkeypatch, 16 * size.parameters)
    check_memory(config, size, said.append)
    assert len(said) == 1
    assert "if the run is killed, lower tokens_per_forward" in said[0]
    free(monkeypatch, 16 * size.parameters - 1)
    with pytest.raises(UserError, match=r"training all weights of .* take a model of at most 0 million"):
        check_memory(config, size, said.append)


def test_an_adapter_is_proposed_where_it_fits(folder, monkeypatch):
    monkeypatch.setattr(room, "RANK", 1)
    config, size = config_of(folder), size_of(folder)
    small, *_ = room.held(config_of(folder, "adapter.rank=1"), size)
    assert small < 16 * size.parameters
    free(monkeypatch, small)
    with pytest.raises(UserError, match=r"take adapter\.rank=1 \(0\.0 GiB\), or a model of at most"):
        check_memory(config, size, pytest.fail)
    free(monkeypatch, small - 1)
    with pytest.raises(UserError, match="free; take a model of at most"):
        check_memory(config, size, pytest.fail)
    with pytest.raises(UserError, match=r"training an adapter of .* free; take a model of at most"):
        check_memory(config_of(folder, "adapter.rank=1"), size, pytest.fail)


def test_a_teacher_that_is_too_large_is_named(folder, monkeypatch):
    export(tiny_model(layers=40, hidden=32), tiny_tokenizer(), folder.parent / "teacher")
    config = config_of(folder, f"teacher={folder.parent / 'teacher'}", recipe="opd")
    size, teacher = size_of(folder), 4 * size_of(folder.parent / "teacher").parameters
    assert room.held(config, size)[0] == 16 * size.parameters + teacher
    free(monkeypatch, teacher)
    with pytest.raises(UserError, match=r"the teacher of .* free; take a smaller teacher, or learn from"):
        check_memory(config, size, pytest.fail)


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
    found, _ = checkpoint_bytes(config_of(folder, *words, recipe=recipe), size, folder)
    assert found == bytes_a_weight * size.parameters


@pytest.mark.parametrize(("words", "count"), [(("save_every=0",), 1), (("save_every=2", "steps=9"), 3)])
def test_a_disk_that_is_too_small_for_checkpoints(folder, monkeypatch, words, count):
    config, size = config_of(folder, *words), size_of(folder)
    each, _ = checkpoint_bytes(config, size, folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, count * each))
    check_disk(config, size, folder, folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, count * each - 1))
    with pytest.raises(UserError, match=f"writes {count} checkpoint.* free; make room, set out=") as error:
        check_disk(config, size, folder, folder.parent)
    assert ("save_every=0" in str(error.value)) == (count > 1)


def test_checkpoints_that_are_there_are_counted(folder, monkeypatch):
    config = config_of(folder, "save_every=2", "steps=9")
    each, _ = checkpoint_bytes(config, size_of(folder), folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, 2 * each))
    free(monkeypatch, 2**40)
    with pytest.raises(UserError, match="writes 3 checkpoints"):
        check_room(config, folder.parent / "run", pytest.fail)
    (folder.parent / "run" / "checkpoints" / "step_000002").mkdir(parents=True)
    check_room(config, folder.parent / "run", pytest.fail)


def test_files_that_the_system_cuts(folder, monkeypatch):
    config, size = config_of(folder), size_of(folder)
    _, largest = checkpoint_bytes(config, size, folder)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (largest, largest))
    check_disk(config, size, folder, folder.parent)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (largest - 1, largest))
    with pytest.raises(UserError, match="raise it by `ulimit -f unlimited`"):
        check_disk(config, size, folder, folder.parent)


def test_nothing_is_made_before(folder, monkeypatch):
    """The folder of a run that is refused is not there, and one that cannot be made is refused first."""
    free(monkeypatch, 0)
    config = config_of(folder)
    with pytest.raises(UserError, match="training all weights"):
        check_room(config, folder.parent / "run", pytest.fail)
    assert not (folder.parent / "run").exists()
    (folder.parent / "run").write_text("")
    with pytest.raises(UserError, match=r"the run folder .*run cannot be written \(not a directory\)"):
        check_room(config, folder.parent / "run", pytest.fail)
    on_ranks = replace(config, engine=replace(config.engine, ranks=2))
    assert not room.holds_models(on_ranks)


def test_as_many_are_kept_as_the_checkpoints_say():
    assert checkpoint.KEEP == 2  # `checkpoints_at_once` and its examples
