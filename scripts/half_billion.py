"""Two steps of GRPO on a model of the size and vocabulary of Qwen2.5-0.5B with random weights, and the most
memory they take.

    python scripts/half_billion.py FOLDER GSM8K.jsonl.gz [key=value ...]

FOLDER gets the model (2 GB) and the run. The tokenizer is learned from the questions and filled up to the
full vocabulary. The last line is `peak_gib=X seconds=Y`. The answers of a random model are noise; this
measures memory, not learning.
"""

import gzip
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

END = "<|endoftext|>"
LEARNED = 8000
SMALL = (
    "steps=2",
    "prompts_per_step=2",
    "samples_per_prompt=4",
    "max_new_tokens=48",
    "tokens_per_forward=512",
    "slots=8",
)
SETTINGS = (*SMALL, "heldout=4", "report_questions=0", "reward=math", "template=qwen_boxed")


def tokenizer_of(texts: list[str], size: int):
    """Byte-level BPE; unlearned tokens stand for themselves, so that every output of the model has a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learned.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=LEARNED, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(learned.to_str())["model"]
    vocab = model["vocab"] | {f"<{i}>": i for i in range(len(model["vocab"]), size - 1)}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(pair) for pair in model["merges"]]))
    core.pre_tokenizer, core.decoder = learned.pre_tokenizer, decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END)


def build(folder: Path, data: Path) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    with gzip.open(data, "rt", encoding="utf-8") as file:
        texts = [text for line in file for text in json.loads(line).values() if isinstance(text, str)]
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=32_768,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=151_642,
    )
    model = Qwen2ForCausalLM(config)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)
    model.save_pretrained(folder)
    tokenizer_of(texts, 151_643).save_pretrained(folder)


def main() -> None:
    folder, data, *more = sys.argv[1:]
    model = Path(folder) / "model"
    if "build" in more:
        build(model, Path(data))
        return
    if not (model / "tokenizer_config.json").exists():
        subprocess.run([sys.executable, __file__, folder, data, "build"], check=True)
    begin = time.perf_counter()
    words = [
        "train",
        "grpo",
        f"model={model}",
        f"data={data}",
        f"out={Path(folder) / 'run'}",
        *SETTINGS,
        *more,
    ]
    subprocess.run([sys.executable, "-m", "menon", *words], check=True, env=os.environ)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"peak_gib={peak:.2f} seconds={seconds:.0f}")


if __name__ == "__main__":
    main()
