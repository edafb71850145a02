"""A user's own file and model: GSM8K rows, and a random Qwen2 with a tokenizer of the family's real format
(byte-level BPE with merges and chat tokens, saved and loaded as a folder)."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import ByteLevelBPETokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

import menon
from menon.record.transcripts import read_transcript


@pytest.fixture
def model(shared, tmp_path) -> Path:
    """40,000 random weights; 1,000 merges learnt from the questions themselves."""
    text = (shared / "data" / "gsm8k_test.jsonl").read_text(encoding="utf-8").split("\n")[:300]
    files = tmp_path / "bpe"
    files.mkdir()
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        [json.loads(line)["question"] for line in text], vocab_size=1256, show_progress=False
    )
    bpe.save_model(str(files))
    folder = tmp_path / "qwen2"
    tokenizer = Qwen2Tokenizer(
        vocab=str(files / "vocab.json"),
        merges=str(files / "merges.txt"),
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    config = Qwen2Config(
        vocab_size=1280,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.rmtree(files)
    return folder


def test_grpo_on_gsm8k_rows(shared, model, tmp_path):
    report = menon.train(
        "grpo",
        data=str(shared / "data" / "gsm8k_test.jsonl"),
        model=str(model),
        template="qwen_boxed",
        out=str(tmp_path / "run"),
        steps=2,
        prompts_per_step=4,
        samples_per_prompt=2,
        max_new_tokens=12,
        heldout=5,
        threads=1,
        device="cpu",
    )
    assert report["steps"] == 2
    assert report["before"]["n"] == 5
    rows = read_transcript(tmp_path / "run" / "transcripts" / "step_000002.parquet")
    assert len(rows) == 8
    assert all(row["prompt"].endswith("<|im_start|>assistant\n") for row in rows)
    # Tokens in, tokens out: the chat tokens are one token each, and what was sampled is what was trained on.
    assert all(len(row["tokens"]) < len(row["prompt"]) for row in rows)
    assert all(sum(row["is_action"]) == 12 or row["finish"] == "stop" for row in rows)
