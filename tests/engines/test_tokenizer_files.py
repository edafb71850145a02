"""The tokenizer of a folder is the one that its tokenizer.json describes."""

import json

import pytest
from tokenizers import Tokenizer
from transformers import GPT2Config, LlamaConfig, Qwen2Config, Qwen3Config

from menon.engines import tokenizer_files
from menon.engines.decoding.stop_strings import text_of
from menon.engines.tokenizer_files import load_tokenizer
from menon.errors import UserError
from tokenizer_kinds import EXACT, LOSSY, tokenizer_of

TEXT = " the ok\n\n2+8=10  ok<turn>ok"
CONFIGS = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig, "gpt2": GPT2Config}


def saved(path, kind, config, **changes):
    """A folder with a tokenizer and a config of another family."""
    tokenizer_of(kind).save_pretrained(path)
    CONFIGS[config]().save_pretrained(path)
    file = path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


@pytest.mark.parametrize("kind", [*EXACT, *LOSSY])
@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ("qwen2", {}),
        ("qwen3", {}),
        ("llama", {}),
        ("gpt2", {}),
        ("llama", {"tokenizer_class": "LlamaTokenizerFast"}),
        ("llama", {"tokenizer_class": "Qwen2Tokenizer"}),
        ("qwen2", {"tokenizer_class": "GPT2Tokenizer"}),
    ],
)
def test_read_and_saved_as_in_the_file(kind, config, changes, tmp_path):
    folder = saved(tmp_path, kind, config, **changes)
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    read = load_tokenizer(folder, "M")
    read.save_pretrained(folder / "saved")
    again = Tokenizer.from_file(str(folder / "saved" / "tokenizer.json"))
    ids = file.encode(TEXT, add_special_tokens=False).ids
    assert read(TEXT, add_special_tokens=False)["input_ids"] == ids
    assert again.encode(TEXT, add_special_tokens=False).ids == ids
    for special in (True, False):
        assert text_of(read, special)(ids) == file.decode(ids, special) == again.decode(ids, special)
    assert load_tokenizer(folder / "saved", "M")(TEXT, add_special_tokens=False)["input_ids"] == ids


def test_a_file_with_a_limit_of_its_own_is_read_whole(tmp_path):
    folder = saved(tmp_path, "byte_level", "qwen3")
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    file.enable_truncation(4)
    file.enable_padding(length=9)
    file.save(str(folder / "tokenizer.json"))
    assert len(load_tokenizer(folder, "M")(TEXT)["input_ids"]) > 9


def test_a_tokenizer_without_a_token_for_other_characters(tmp_path):
    """Its file cannot read the texts that are compared."""
    folder = saved(tmp_path, "words_alone", "qwen3")
    file = json.loads((folder / "tokenizer.json").read_text())
    file["model"]["unk_token"] = "gone"
    (folder / "tokenizer.json").write_text(json.dumps(file))
    assert (
        load_tokenizer(folder, "M")("2+8=10")["input_ids"]
        == tokenizer_of("words_alone")("2+8=10")["input_ids"]
    )


def test_code_of_the_folder_is_not_run_and_not_needed(tmp_path):
    folder = saved(tmp_path, "llama_2", "qwen2", auto_map={"AutoTokenizer": ["code.Mine", None]})
    (folder / "code.py").write_text("raise SystemExit")
    assert load_tokenizer(folder, "M")("ok")["input_ids"] == tokenizer_of("llama_2")("ok")["input_ids"]


def test_a_tokenizer_that_differs_from_its_file_all_the_same_is_refused(tmp_path, monkeypatch):
    folder = saved(tmp_path, "byte_level", "qwen3")
    other = tokenizer_of("byte_level_with_space")
    monkeypatch.setattr(tokenizer_files, "by_type", lambda folder: other)
    monkeypatch.setattr(
        tokenizer_files.transformers.PreTrainedTokenizerFast, "from_pretrained", lambda folder: other
    )
    with pytest.raises(
        UserError, match=r"^transformers 5\S* reads 'We need .*' otherwise than the tokenizer.json"
    ):
        load_tokenizer(folder, "M")
