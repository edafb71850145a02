import json
import os

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
from menon.engines import hf_models, model_files, weight_files
from menon.engines.hf_models import end_token_ids, export, load_policy
from menon.engines.model_files import FileDtypes, dtypes_in
from menon.engines.weight_files import numbers_in
from menon.errors import UserError

IDS = torch.tensor([[51, 43, 52, 61]])
FILE = "model.safetensors"


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


class TestPrecisionOfFiles:
    """A folder has the dtypes of the model that it began with; what trains is float32."""

    def start(self, folder, kind="qwen3", **settings):
        export(tiny_model(kind, dtype=torch.bfloat16, **settings), tiny_tokenizer(), folder)
        return folder

    def trained(self, folder):
        """Its weights in float32, moved by less than bfloat16 can tell, and by more."""
        model, tokenizer = load_policy(folder)
        with torch.no_grad():
            for number, weight in enumerate(model.parameters()):
                weight.mul_(1 + 2.0 ** -(10 + number % 2 * -6))
        return model, tokenizer

    @pytest.mark.parametrize("tied", [True, False])
    @pytest.mark.parametrize("kind", KINDS)
    def test_bfloat16_stays_bfloat16(self, kind, tied, tmp_path):
        start = self.start(tmp_path / "start", kind, tied=tied)
        model, tokenizer = self.trained(start)
        export(model, tokenizer, tmp_path / "out", dtypes_in(start))
        files, before = load_file(tmp_path / "out" / FILE), load_file(start / FILE)
        assert {name: (w.dtype, w.shape) for name, w in files.items()} == {
            name: (torch.bfloat16, w.shape) for name, w in before.items()
        }
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        assert loaded.dtype == torch.bfloat16
        for name, weight in loaded.named_parameters():
            assert torch.equal(weight, model.get_parameter(name).bfloat16())
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"

    def test_each_weight_keeps_its_own(self, tmp_path):
        start, norm = self.start(tmp_path / "start"), "model.norm.weight"
        files = load_file(start / FILE)
        save_file(files | {norm: files[norm].float()}, start / FILE, {"format": "pt"})
        assert dtypes_in(start) == FileDtypes(torch.bfloat16, {norm: torch.float32})
        model, tokenizer = self.trained(start)
        export(model, tokenizer, tmp_path / "out", dtypes_in(start))
        files = load_file(tmp_path / "out" / FILE)
        assert {name for name, weight in files.items() if weight.dtype == torch.float32} == {norm}
        assert torch.equal(files[norm], model.get_parameter(norm))

    def test_the_parts_of_a_config_name_it_too(self, tmp_path):
        start = self.start(tmp_path / "start")
        model, tokenizer = load_policy(start)
        model.config.vision_config = {"dtype": "float32", "depth": 2}
        export(model, tokenizer, tmp_path / "out", dtypes_in(start))
        written = json.loads((tmp_path / "out" / "config.json").read_text())
        assert written["vision_config"] == {"dtype": "bfloat16", "depth": 2}

    def test_a_folder_without_weights_counts_as_float32(self, tmp_path):
        assert dtypes_in(tmp_path) == FileDtypes(torch.float32)

    def checkpoint(self, tmp_path):
        """As a run leaves it: rounded files, and the weights that trained in `state`."""
        start, out = self.start(tmp_path / "start"), tmp_path / "out"
        model, tokenizer = self.trained(start)
        export(model, tokenizer, out, dtypes_in(start))
        (out / "state").mkdir()
        model_files.write(out / "state" / "policy.safetensors", dict(model.named_parameters()))
        return out, dict(model.named_parameters())

    def test_a_checkpoint_is_read_as_it_trained(self, tmp_path):
        out, trained = self.checkpoint(tmp_path)
        model, _ = load_policy(out)
        rounded = 0
        for name, weight in model.named_parameters():
            assert torch.equal(weight, trained[name])
            rounded += not torch.equal(weight, weight.bfloat16().float())
        assert rounded > 10
        half, _ = load_policy(out, torch.bfloat16)  # what other tools read
        files = load_file(out / FILE)
        assert all(torch.equal(half.get_parameter(name), weight) for name, weight in files.items())

    def test_files_that_were_changed_since_count_as_they_are(self, tmp_path):
        out, trained = self.checkpoint(tmp_path)
        files, norm = load_file(out / FILE), "model.norm.weight"
        save_file(files | {norm: files[norm] + 1}, out / FILE, {"format": "pt"})
        model, _ = load_policy(out)
        for name, weight in model.named_parameters():
            expected = (files[norm] + 1).float() if name == norm else trained[name]
            assert torch.equal(weight, expected)

    def test_a_damaged_state_is_one_sentence(self, tmp_path):
        out, _ = self.checkpoint(tmp_path)
        (out / "state" / "policy.safetensors").write_bytes(b"not tensors")
        refused(out, "the weights of .* cannot be read .*; get the model again")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_have_the_permissions_of_new_files(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        export(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "model").iterdir()} == {mode}


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

    @pytest.mark.parametrize(
        ("file", "sentence"),
        [
            (
                "adapter_config.json",
                "an adapter that does not say which model it is for; set base_model",
            ),
            ("model-Q4.gguf", "is of the format GGUF, which cannot be trained; name the safetensors folder"),
            ("checkpoint-500/config.json", "there is one in it; name .*/checkpoint-500$"),
            ("checkpoints/latest/config.json", "there is one in it; name .*/checkpoints/latest$"),
        ],
    )
    def test_a_folder_of_something_else(self, tmp_path, file, sentence):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
        refused(tmp_path, sentence)
        if file.startswith("checkpoint-"):
            (tmp_path / "checkpoint-1000").mkdir()
            (tmp_path / "checkpoint-1000" / "config.json").write_text("{}")
            refused(tmp_path, "name .*/checkpoint-1000$")

    def test_pickled_weights(self, folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        refused(folder, "are in pytorch_model.bin, which is not read .* write them by save_pretrained, and")

    def test_without_weights(self, folder):
        (folder / "model.safetensors").unlink()
        refused(folder, "has no weights")

    @pytest.mark.parametrize("content", [b"", b"not a tensor"])
    def test_a_file_of_something_else(self, folder, content):
        (folder / FILE).write_bytes(content)
        refused(folder, r"model\.safetensors is damaged, or no safetensors file; get it again")

    def test_a_file_that_is_cut_short(self, folder):
        whole = (folder / FILE).read_bytes()
        (folder / FILE).write_bytes(whole[:-1])
        refused(folder, f"is cut short: it has {len(whole) - 1:,} of {len(whole):,} bytes; get it again")

    def test_a_file_that_the_index_names_is_not_there(self, folder):
        """Of three files; the whole folder loads, beside a file that holds all weights a second time."""
        weights = load_file(folder / FILE)
        files = [f"model-0000{part + 1}-of-00003.safetensors" for part in range(3)]
        where = {name: files[place % 3] for place, name in enumerate(weights)}
        for file in files:
            part = {name: weights[name] for name in weights if where[name] == file}
            save_file(part, folder / file, metadata={"format": "pt"})
        (folder / FILE).rename(folder / "consolidated.safetensors")
        index = {"metadata": {}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        model, _ = load_policy(folder)
        assert numbers_in(folder) == sum(tensor.numel() for tensor in weights.values())
        assert torch.equal(model.state_dict()[next(iter(weights))], weights[next(iter(weights))])
        (folder / files[1]).unlink()
        refused(folder, r"lacks model-00002-of-00003\.safetensors, which its .* names; get the whole model")
        (folder / files[2]).unlink()
        refused(folder, r"lacks model-00002-of-00003\.safetensors and 1 more, which")

    def test_weights_that_are_not_finite(self, folder):
        weights = load_file(folder / FILE)
        weights["model.layers.1.mlp.up_proj.weight"][3, 2] = float("nan")
        save_file(weights, folder / FILE, metadata={"format": "pt"})
        refused(folder, "computes numbers that are not finite .* get the model again")

    def test_weights_in_gguf_beside_the_config(self, folder):
        (folder / FILE).rename(folder / "model-Q4.gguf")
        refused(folder, "is of the format GGUF, which cannot be trained")

    def test_weights_larger_than_memory(self, folder, monkeypatch):
        """Said before anything is loaded: float32 takes twice what the file takes in bfloat16."""
        numbers = numbers_in(folder)
        assert numbers == sum(weight.numel() for weight in tiny_model().parameters())
        monkeypatch.setattr(weight_files, "free_bytes", lambda device: 4 * numbers)
        load_policy(folder)
        monkeypatch.setattr(weight_files, "free_bytes", lambda device: 4 * numbers - 1)
        load_policy(folder, torch.bfloat16)
        monkeypatch.setattr(hf_models, "_load_causal", None)
        refused(folder, "weights, which take 0.0 GiB in float32, and .* take a model of at most 0 million")

    def test_weights_that_lack_a_tensor(self, folder):
        weights = load_file(folder / "model.safetensors")
        del weights["model.layers.1.mlp.up_proj.weight"]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        refused(folder, r"lacks weights .* such as model\.layers\.1\.mlp\.up_proj\.weight")

    def test_a_configuration_that_leaves_out_layers(self, folder):
        """A part of another kind, such as one for images, is not of the language model and is left out."""
        weights = load_file(folder / "model.safetensors")
        more = {"vision.layers.0.weight": torch.ones(2)}
        save_file({**weights, **more}, folder / "model.safetensors", metadata={"format": "pt"})
        load_policy(folder)
        about = json.loads((folder / "config.json").read_text())
        about |= {"num_hidden_layers": 1, "layer_types": None}
        (folder / "config.json").write_text(json.dumps(about))
        refused(
            folder, r"has weights such as model\.layers\.1\..*, of layers that its config.json leaves out"
        )

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
        refused(
            folder, r"of type 'nonesuch', which transformers [\w.]+ does not know; install a version that"
        )

    def test_code_in_a_folder_is_not_run(self, folder):
        edit(
            folder / "config.json",
            lambda content: content.update(model_type="nonesuch", auto_map={"AutoConfig": "evil.Config"}),
        )
        (folder / "evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")
        refused(
            folder, r"of type 'nonesuch', which transformers [\w.]+ does not know; install a version that"
        )

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
        refused(tmp_path, r"is a masked language model \(BertForMaskedLM\), which fills gaps")
        edit(tmp_path / "config.json", lambda content: content.update(architectures=["BertLMHeadModel"]))
        refused(tmp_path, "looks ahead")

    def test_a_reward_model(self, folder):
        edit(folder / "config.json", lambda content: content.update(tie_word_embeddings=False))
        edit(folder / "config.json", lambda c: c.update(architectures=["Qwen3ForSequenceClassification"]))
        refused(
            folder, "is a classifier .Qwen3ForSequenceClassification., which scores texts and writes none"
        )

    def test_an_adapter(self, folder):
        (folder / "config.json").unlink()
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/model"}')
        refused(folder, "is an adapter of org/model, which cannot be read: org/model is no")

    def test_gguf(self, tmp_path):
        file = tmp_path / "model.Q4_K_M.gguf"
        file.write_bytes(b"GGUF")
        for place in (tmp_path, file):
            refused(
                place, "is of the format GGUF, which cannot be trained; name the safetensors folder that it"
            )

    @pytest.mark.parametrize("within", ["checkpoints/latest", "snapshots/0a1b", "model"])
    def test_a_folder_above_the_model(self, folder, within):
        above = folder.parent / "above"
        (above / within).parent.mkdir(parents=True)
        folder.rename(above / within)
        refused(above, rf"is not a model folder, and there is one in it; name {above / within}$")

    def test_a_pointer_in_place_of_the_weights(self, folder):
        (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 9\n")
        refused(folder, r"model\.safetensors is a pointer of Git LFS, not the weights; run `git lfs pull` in")

    def test_no_hub(self, monkeypatch, capfd):
        def offline(name, **_):
            raise LocalEntryNotFoundError("Got: ConnectError\nPlease check your internet connection")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
        refused("Qwen/Qwen2.5-0.5B", r"did not give it \(Got: ConnectError\); name a local folder")
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
    def test_offline_is_said_first(self, monkeypatch, variable):
        def offline(name, **_):
            raise LocalEntryNotFoundError("outgoing traffic has been disabled")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv(variable, "true")
        refused(
            "Qwen/Qwen2.5-0.5B",
            f"^{variable} is set, so the Hugging Face hub is not asked for Qwen/Qwen2.5-0.5B, which is "
            f"neither in the hub's cache nor a folder here; name a local folder, or unset {variable}$",
        )

    def test_from_the_hub(self, monkeypatch, folder):
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(folder))
        model, _ = load_policy("somebody/tiny")
        assert torch.equal(model(IDS).logits, tiny_model()(IDS).logits)
