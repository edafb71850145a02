"""`menon export`: an ordinary folder of any model, an adapter merged."""

import json

import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.cli import main
from menon.engines import adapter_files, hf_models, lora
from menon.engines.hf_models import export, load_policy
from menon.engines.model_files import FileDtypes, dtypes_in
from menon.update.adapter import Adapter

pytest.importorskip("peft", reason="adapters need the extra peft")


def test_adapters_and_whole_models(tmp_path, capsys):
    half = FileDtypes(torch.bfloat16)
    export(tiny_model(), tiny_tokenizer(), tmp_path / "model", half)
    model, _ = load_policy(tmp_path / "model")
    lora.attach(model, Adapter(rank=2), 0, "x")
    with torch.no_grad():
        for layer in lora.layers(model).values():
            layer.lora_B[lora.NAME].weight.fill_(0.01)
    model.peft_config["default"].base_model_name_or_path = str(tmp_path / "model")  # type: ignore[operator, index]
    adapter_files.write(model, adapter_files.fingerprint_of_base(model), tmp_path / "adapter")
    adapter, out = str(tmp_path / "adapter"), str(tmp_path / "out")
    assert main(["export", adapter, f"out={out}"]) == 0
    assert capsys.readouterr().out == f"{adapter}, merged, is in {out}, in float32\n"
    ids = torch.tensor([[1, 2, 3]])
    merged, _ = load_policy(out)
    assert torch.allclose(merged(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-5)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"
    assert main(["export", str(tmp_path / "model"), f"out={tmp_path / 'same'}"]) == 0
    assert dtypes_in(tmp_path / "same").usual == torch.bfloat16
    assert main(["export", adapter, f"out={tmp_path / 'half'}", "dtype=bfloat16"]) == 0
    assert dtypes_in(tmp_path / "half").usual == torch.bfloat16


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["base"], "takes a model and a folder"),
        (["base", "out=x", "rank=3"], "takes a model and a folder"),
        (["base", "out=x", "dtype=int8"], "dtype is int8"),
        (["base", "out=."], "is there already; set out= to a new folder"),
    ],
)
def test_what_is_refused(words, sentence, capsys):
    assert main(["export", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_disk_that_is_full(tmp_path, monkeypatch, capsys):
    """Nothing is left of half a model; the library has the error's number in its text alone."""

    def full(model, tokenizer, folder, dtypes):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    export(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    monkeypatch.setattr(hf_models, "export", full)
    assert main(["export", str(tmp_path / "model"), f"out={tmp_path / 'out'}"]) == 2
    assert "cannot be written (no room left on the disk); set out= to another" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert main(["export", "no/such/model", f"out={tmp_path / 'file' / 'out'}"]) == 2
    assert "cannot be written (not a directory)" in capsys.readouterr().err
