"""What is checked before a run reads a model or starts a process: the room, libraries, samplers."""

import sys
import types
from dataclasses import replace

import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.assembly import before
from menon.assembly.before import check_before, check_room
from menon.assembly.derived import GIB, ModelSize
from menon.assembly.memory import Needs
from menon.cli import main
from menon.config import changed
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.recipes import recipe

SHAPE = ModelSize(
    parameters=1000, layers=2, hidden=16, intermediate=32, kv=32, vocabulary=50, outside=200, layer=400
)
SMALL = {"prompts_per_step": 2, "samples_per_prompt": 4, "device": "cpu", "tokens_per_forward": 500}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def checked(monkeypatch, free, *changes, shape=SHAPE):
    monkeypatch.setattr(before, "free_bytes", lambda device: free)
    notes: list[str] = []
    check_room(Needs.of(changed(recipe("grpo"), SMALL, *changes)), shape, notes.append)
    return notes


def test_too_many_ranks_are_refused_with_the_number_that_fits(monkeypatch):
    """A model of 4 GB; with gradient and moments 16 GB in parts of two ranks, and the sampler's weights."""
    large = replace(SHAPE, parameters=10**9)
    assert checked(monkeypatch, 22e9, {"ranks": 2}, shape=large) == []
    with pytest.raises(UserError, match=r"each of 8 ranks.*are free here; set ranks=\d; `menon explain`"):
        checked(monkeypatch, 38e9, {"ranks": 8}, shape=large)
    with pytest.raises(UserError, match=r"free here; take a model of at most \d\d\d million weights"):
        checked(monkeypatch, 5e9, {"ranks": 8}, shape=large)


def test_the_advice_is_followed_with_success(monkeypatch):
    large, free = replace(SHAPE, parameters=10**9), 38e9
    with pytest.raises(UserError) as refused:
        checked(monkeypatch, free, {"ranks": 8}, shape=large)
    ranks = int(str(refused.value).partition("set ranks=")[2].partition(";")[0])
    checked(monkeypatch, free, {"ranks": ranks}, shape=large)
    with pytest.raises(UserError):
        checked(monkeypatch, free, {"ranks": ranks + 1}, shape=large)


def test_vllms_cache_is_lowered(monkeypatch):
    vllm = {"sampler": {"kind": "vllm", "python": "p", "cache_gib": 500}}
    with pytest.raises(UserError, match=r"500\.\d GiB for vLLM.*set sampler\.cache_gib=0\.25"):
        checked(monkeypatch, 20 * GIB, vllm)


def test_what_text_may_take_is_said_and_not_refused(monkeypatch):
    """Passes of a million tokens; a single process fits its keys and values to the memory itself."""
    much = {"tokens_per_forward": 10**6, "prompts_per_step": 10**4, "max_new_tokens": 10**4, "slots": 1}
    for ranks in (1, 2):
        (note,) = checked(monkeypatch, 2 * GIB, much, {"ranks": ranks})
        assert "lower tokens_per_forward, slots or max_new_tokens" in note
    long = {"max_new_tokens": 200, "slots": 10**7, "prompts_per_step": 10**7, "tokens_per_forward": 1}
    assert checked(monkeypatch, 2 * GIB, long) == []
    assert checked(monkeypatch, 2 * GIB, long, {"ranks": 2}) != []


def test_what_learns_takes_sixteen_bytes_a_weight(monkeypatch):
    """One byte too few is refused; an adapter, which would fit, is proposed."""
    large = replace(SHAPE, parameters=10**9, linears=(("q", 4, 4),))
    assert len(checked(monkeypatch, 16 * 10**9, shape=large)) == 1
    with pytest.raises(
        UserError, match=r"take adapter\.rank=32 \(3\.7 GiB\), or a model of at most 1\.0 billion weights"
    ):
        checked(monkeypatch, 16 * 10**9 - 1, shape=large)
    with pytest.raises(UserError, match=r"free here; take a model of at most \d+ million weights"):
        checked(monkeypatch, 10**9, {"adapter": {"rank": 1}}, shape=large)


def test_a_teacher_that_is_too_large_is_named(monkeypatch, tmp_path):
    export(tiny_model(layers=40, hidden=32), tiny_tokenizer(), tmp_path / "teacher")
    config = changed(recipe("opd"), {**SMALL, "teacher": str(tmp_path / "teacher")})
    monkeypatch.setattr(before, "free_bytes", lambda device: 2**20)
    with pytest.raises(UserError, match=r"take a smaller teacher, or learn from texts"):
        check_room(Needs.of(config), SHAPE, pytest.fail)


def test_processes_on_a_cluster_are_not_counted_here(monkeypatch):
    large = replace(SHAPE, parameters=10**9)
    joined = {"placement": {"kind": "ray", "address": "10.0.0.1:6379"}, "ranks": 8}
    assert checked(monkeypatch, 5e9, joined, shape=large) == []


def test_a_run_is_refused_before_anything_is_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(before, "free_bytes", lambda device: 2**28)
    monkeypatch.setattr("menon.assembly.placement.start_of", lambda *given: pytest.fail("a model was read"))
    words = ["ranks=2", "threads=1", "device=cpu", f"out={tmp_path / 'run'}"]
    assert main(["train", "grpo", *words]) == 2
    assert "this run needs at least" in capsys.readouterr().err


def test_gpus_have_their_own_memory(monkeypatch):
    monkeypatch.setattr(before, "free_bytes", lambda device: 0)
    on_gpus = {"device": "cuda", "ranks": 2}
    check_room(Needs.of(changed(recipe("grpo"), SMALL, on_gpus)), SHAPE, pytest.fail)


# Other faults that are found before


def test_a_part_that_reads_entropies_is_refused_before_vllm_is_looked_for():
    vllm = {"sampler": {"kind": "vllm", "python": "/nowhere"}}
    steer = {
        "objective.entropy": {"loss": "entropy", "share": "token_mean"},
        "advantage.steer": {"kind": "entropy_coefficient", "target": 0.3},
    }
    with pytest.raises(
        UserError, match=r"advantage\.steer reads 'entropy', which this sampler does not give"
    ):
        check_before(changed(recipe("grpo"), SMALL, vllm, steer), lambda note: None)


@pytest.mark.parametrize("version", ["2.51.0", "1.13"])
def test_an_old_ray_is_named_with_its_remedy(version, monkeypatch):
    ray = types.ModuleType("ray")
    ray.__version__ = version  # type: ignore[attr-defined]
    util, strategies = types.ModuleType("ray.util"), types.ModuleType("ray.util.scheduling_strategies")
    for name, module in {"ray": ray, "ray.util": util, "ray.util.scheduling_strategies": strategies}.items():
        monkeypatch.setitem(sys.modules, name, module)
    config = changed(recipe("grpo"), SMALL, {"placement": "ray"})
    with pytest.raises(
        UserError, match=rf"needs Ray 2\.52 or newer, and {version} is installed.*by pip install .*\[ray\]'"
    ):
        check_before(config, lambda note: None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"placement": "ray", "sampler": {"kind": "vllm", "python": "/nowhere"}},
            r"this run has neither \(sampler=vllm, ranks=1\); set ranks=2 or more",
        ),
        ({"samplers": 1, "colocated": True, "staleness": 2}, "take turns; set staleness=0"),
        ({"ranks": 4, "device": "cuda"}, "no GPU here; use device=cpu"),
        ({"max_new_tokens": 1000}, "context of 256 tokens leaves no room for a question before 1000 new"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="one case is about a machine without a GPU")
def test_settings_that_would_fail_once_models_are_there(changes, words):
    with pytest.raises(UserError, match=words):
        check_before(changed(recipe("grpo"), SMALL, changes), lambda note: None)
