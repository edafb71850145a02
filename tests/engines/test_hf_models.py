import json

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    XmodConfig,
    XmodForCausalLM,
)

from helpers import END, KINDS, tiny_model, tiny_tokenizer
from menon.engines.hf_models import end_token_ids, export, load_policy
from menon.errors import UserError

IDS = torch.tensor([[51, 43, 52, 61]])


@pytest.fixture
def folder(tmp_path):
    """A sound model folder, for a test to break."""
    export(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def refused(folder, sentence):
    """The user gets one sentence that names the folder."""
    with pytest.raises(UserError, match=sentence) as error:
        load_policy(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def edit(file, change):
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind, tmp_path, capfd):
    model, tokenizer = tiny_model(kind), tiny_tokenizer()
    export(model, tokenizer, tmp_path)
    back, reader = load_policy(tmp_path)
    assert capfd.readouterr() == ("", "")  # quiet
    assert torch.equal(back(IDS).logits, model(IDS).logits)
    assert reader("3+4=7").input_ids == tokenizer("3+4=7").input_ids == [51, 43, 52, 61, 55]
    assert (reader.eos_token, reader.eos_token_id) == (END, 256)
    assert not back.training
    assert back.config._attn_implementation == "sdpa"


def test_an_export_is_an_ordinary_folder(folder):
    assert {file.name for file in folder.iterdir()} >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert AutoModelForCausalLM.from_pretrained(folder).generation_config.eos_token_id == 256
    assert AutoTokenizer.from_pretrained(folder).decode([51, 43]) == "3+"


def test_weights_come_in_the_dtype_that_is_asked_for(tmp_path):
    export(tiny_model(dtype=torch.bfloat16), tiny_tokenizer(), tmp_path)
    model, _ = load_policy(tmp_path)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    model, _ = load_policy(tmp_path, dtype=torch.bfloat16)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_what_processes_images_is_carried_from_the_start_to_a_checkpoint(folder, tmp_path):
    for name in ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"):
        (folder / name).write_text(f'{{"of": "{name}"}}', encoding="utf-8")
    (folder / "notes.json").write_text("{}", encoding="utf-8")
    model, tokenizer = load_policy(folder)
    for _ in range(2):  # a second time over the first
        export(model, tokenizer, tmp_path / "out")
    out = {file.name: file.read_text() for file in (tmp_path / "out").glob("*_config.json")}
    assert out["video_preprocessor_config.json"] == '{"of": "video_preprocessor_config.json"}'
    assert {"preprocessor_config.json", "processor_config.json"} <= out.keys()
    assert not (tmp_path / "out" / "notes.json").exists()


class TestEndTokens:
    def test_of_tokenizer_generation_config_and_config_without_repeats(self):
        model, tokenizer = tiny_model(), tiny_tokenizer()
        assert end_token_ids(model, tokenizer) == (256,)
        model.generation_config.eos_token_id = [10, 256]
        model.config.eos_token_id = 11
        assert end_token_ids(model, tokenizer) == (256, 10, 11)

    def test_none_anywhere(self, folder):
        for file in ("tokenizer_config.json", "config.json", "generation_config.json"):
            edit(
                folder / file,
                lambda content: content.pop("eos_token", None) or content.pop("eos_token_id", None),
            )
        refused(folder, "names no end-of-text token; set eos_token in its tokenizer_config.json")

    def test_beyond_the_vocabulary(self, folder):
        edit(folder / "generation_config.json", lambda content: content.update(eos_token_id=300))
        refused(folder, "end-of-text token 300, but its vocabulary ends at 256")


class TestMistakes:
    def test_no_folder(self, tmp_path):
        refused(tmp_path / "nowhere", "there is no folder")
        for name in ("./nowhere", "~/nowhere", "a/b/c"):
            refused(name, "there is no folder")

    def test_a_file(self, folder):
        refused(folder / "config.json", "is a file; name the model's folder")

    def test_not_a_model_folder(self, tmp_path):
        refused(tmp_path, "it has no config.json")

    def test_without_weights(self, folder):
        (folder / "model.safetensors").unlink()
        refused(folder, "has no weights")

    @pytest.mark.parametrize("content", [b"", b"not a tensor", None])
    def test_corrupted_weights(self, folder, content):
        file = folder / "model.safetensors"
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] if content is None else content)
        refused(folder, "the weights of .* cannot be read .* get the model again")

    def test_weights_that_lack_a_tensor(self, folder):
        weights = load_file(folder / "model.safetensors")
        del weights["model.layers.1.mlp.up_proj.weight"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        refused(folder, r"lacks weights .* such as model\.layers\.1\.mlp\.up_proj\.weight")

    def test_weights_of_another_shape(self, folder):
        weights = load_file(folder / "model.safetensors")
        weights["model.norm.weight"] = torch.ones(7)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        refused(folder, r"lacks weights .* such as model\.norm\.weight")

    def test_broken_config(self, folder):
        (folder / "config.json").write_text("{", encoding="utf-8")
        refused(folder, "the config.json of .* cannot be read")

    def test_a_model_that_nobody_knows(self, folder):
        edit(folder / "config.json", lambda content: content.update(model_type="nonesuch"))
        refused(folder, "the config.json of .* cannot be read")

    def test_code_in_a_folder_is_not_run(self, folder):
        edit(
            folder / "config.json",
            lambda content: content.update(model_type="nonesuch", auto_map={"AutoConfig": "evil.Config"}),
        )
        (folder / "evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")
        refused(folder, "the config.json of .* cannot be read")

    def test_a_package_that_the_model_needs(self, folder, monkeypatch):
        def missing(*_, **__):
            raise ImportError("\nIt requires the PIL library but it was not found.\nInstall it")

        monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", missing)
        refused(folder, r"needs a package that is not installed \(It requires the PIL .* found\); install it")

    def test_without_tokenizer(self, folder):
        for file in folder.glob("tokenizer*"):
            file.unlink()
        refused(folder, "has no tokenizer; put the tokenizer's files")

    def test_broken_tokenizer(self, folder):
        (folder / "tokenizer.json").write_text("{", encoding="utf-8")
        refused(folder, "the tokenizer of .* cannot be read")

    def test_another_models_tokenizer(self, folder):
        export(tiny_model(vocab=100), tiny_tokenizer(), folder)
        edit(folder / "tokenizer_config.json", lambda content: content.pop("eos_token"))
        refused(folder, "makes token 256, but the model knows 100")

    @pytest.mark.parametrize(
        ("key", "given", "said"),
        [
            ("quantization_config", {"quant_method": "fp8", "weight_block_size": [16, 16]}, "fp8"),
            (
                "quantization_config",
                {"quant_method": "bitsandbytes", "load_in_4bit": True},
                "bitsandbytes, 4 bits",
            ),
            ("quantization_config", {"load_in_8bit": True}, "8 bits"),
            ("quantization_config", {"quant_method": "gptq", "bits": 4}, "gptq, 4 bits"),
            ("quantization_config", {"quant_method": "awq", "w_bit": 4}, "awq, 4 bits"),
            ("quantization_config", {"quant_method": "compressed-tensors"}, "compressed-tensors"),
            ("quantization_config", {"quant_method": "mxfp4"}, "mxfp4"),
            ("text_config", {"quantization_config": {"quant_method": "fp8"}}, "fp8"),
            ("compression_config", {"format": "int-quantized"}, "compression_config"),
            ("quantization", {"group_size": 64, "bits": 4}, "4 bits"),
        ],
    )
    def test_quantised_weights_by_the_config(self, folder, key, given, said):
        edit(folder / "config.json", lambda content: content.update({key: given}))
        refused(folder, rf"are quantised \({said}\), and a model must be whole .* in float32, float16 or")

    @pytest.mark.parametrize(
        ("file", "given", "said"),
        [
            ("quantize_config.json", {"bits": 4, "group_size": 128}, "4 bits"),
            ("quant_config.json", {"zero_point": True, "w_bit": 4}, "4 bits"),
            ("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4"}}, "NVFP4"),
        ],
    )
    def test_quantised_weights_by_a_file_beside_it(self, folder, file, given, said):
        (folder / file).write_text(json.dumps(given), encoding="utf-8")
        refused(folder, rf"are quantised \({said}\)")

    @pytest.mark.parametrize("name", ["norm.weight_scale_inv", "up_proj.qweight", "experts.up_proj_blocks"])
    def test_quantised_weights_by_their_names(self, folder, name):
        """Without the config's word for it the library would take them for weights."""
        weights = load_file(folder / "model.safetensors")
        save_file(weights | {name: torch.zeros(2)}, folder / "model.safetensors", metadata={"format": "pt"})
        refused(folder, rf"are quantised \(the tensor {name}\)")

    @pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
    def test_quantised_weights_by_their_dtype(self, folder, dtype):
        weights = load_file(folder / "model.safetensors")
        narrow = {name: w.to(dtype) if w.dim() > 1 else w for name, w in weights.items()}
        save_file(narrow, folder / "model.safetensors", metadata={"format": "pt"})
        refused(folder, r"are quantised \(the tensor model\.")

    def test_a_config_that_says_nothing_was_quantised(self, folder):
        edit(folder / "config.json", lambda content: content.update(quantization_config=None))
        load_policy(folder)

    def test_not_a_causal_model(self, tmp_path):
        sizes = {"vocab_size": 20, "d_model": 8, "d_ff": 8, "d_kv": 4, "num_layers": 1, "num_heads": 2}
        T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path)
        refused(tmp_path, "is of type 't5', not a causal language model")

    def test_a_model_that_does_not_run_alone(self, tmp_path):
        """It asks for a language first."""
        sizes = {"vocab_size": 20, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
        model = XmodForCausalLM(XmodConfig(**sizes, num_attention_heads=2, is_decoder=True))
        model.save_pretrained(tmp_path)
        refused(tmp_path, r"\(XmodForCausalLM\) does not run on a few tokens \(Input language unknown")

    def test_an_encoder_that_loads_as_if_it_were_causal(self, tmp_path):
        sizes = {
            "vocab_size": 20,
            "hidden_size": 8,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        }
        BertForMaskedLM(BertConfig(**sizes, initializer_range=0.5)).save_pretrained(tmp_path)
        refused(tmp_path, "looks ahead")

    def test_no_hub(self, monkeypatch, capfd):
        def offline(name, **_):
            raise LocalEntryNotFoundError("Got: ConnectError\nPlease check your internet connection")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
        refused("Qwen/Qwen2.5-0.5B", r"did not give it \(Got: ConnectError\); name a local folder")
        assert capfd.readouterr() == ("", "")

    def test_from_the_hub(self, monkeypatch, folder):
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(folder))
        model, _ = load_policy("somebody/tiny")
        assert torch.equal(model(IDS).logits, tiny_model()(IDS).logits)
