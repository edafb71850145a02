"""The memory of a run whose samplers and learner take turns, phase by phase, beside one where they do not.

    python benchmarks/colocated.py [--hidden 512] [--layers 8]

A random model of the Qwen3 architecture trains for two steps by `menon train` with `samplers=1`, once with
`colocated=true`. The resident memory of both processes is read 50 times a second; the heartbeat file of the
run says whether the sampler is writing. The last line compares the weights.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from menon.record.layout import Layout
from menon.record.reader import RunView

ROOT = Path(__file__).resolve().parents[1]
SIZES = ("steps=2", "prompts_per_step=4", "samples_per_prompt=8", "max_new_tokens=96", "heldout=2")
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="colocated-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        parameters = make_model(folder / "model", asked.hidden, asked.layers)
        print(f"{parameters / 1e6:.0f} million parameters, {parameters * 4 / MIB:.0f} MiB of weights")
        prints = []
        for colocated in ("false", "true"):
            peaks, found = run(folder, colocated)
            prints.append(found)
            print(
                f"colocated={colocated}: "
                + ", ".join(f"{what} {peak:.0f} MiB" for what, peak in peaks.items())
            )
    print("the weights are the same" if prints[0] == prints[1] else "the weights differ")


def make_model(folder: Path, hidden: int, layers: int) -> int:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from menon.base import tokenizer
    from menon.engines.hf_models import export

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=tokenizer.VOCABULARY,
        eos_token_id=tokenizer.END_ID,
        bos_token_id=None,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        head_dim=hidden // 8,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )
    model = Qwen3ForCausalLM(config)
    export(model, tokenizer.build(256), folder)
    return int(model.num_parameters())


def run(folder: Path, colocated: str) -> tuple[dict[str, float], list[str]]:
    """Peaks of resident memory by phase and process, and the fingerprints of the steps."""
    out = folder / f"colocated-{colocated}"
    words = [f"model={folder / 'model'}", f"out={out}", f"colocated={colocated}", "samplers=1", "threads=1"]
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    with open(out.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "menon", "train", "grpo", *words, *SIZES, "task=chain_sum", "device=cpu"],
            env=os.environ | {"PYTHONPATH": path},
            stdout=log,
            stderr=log,
        )
    peaks: dict[str, float] = {}
    while process.poll() is None:
        try:
            (worker,) = json.loads(Layout(out).workers.read_text())["workers"]
            sizes = {
                "learner": psutil.Process(process.pid).memory_info().rss,
                "sampler": psutil.Process(worker["pid"]).memory_info().rss,
            }
        except (OSError, ValueError, psutil.NoSuchProcess):
            time.sleep(0.02)
            continue
        step_done = Layout(out).metrics.exists()  # the optimiser's moments are there from the first step on
        phase = ("writing" if "write" in worker["task"] else "learning") + (
            " later" if step_done else " first"
        )
        sizes["both"] = sum(sizes.values())
        for who, size in sizes.items():
            peaks[f"{who} {phase}"] = max(peaks.get(f"{who} {phase}", 0.0), size / MIB)
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(out.with_suffix(".log").read_text()[-1000:])
    return dict(sorted(peaks.items())), [str(line["fingerprint"]) for line in RunView(out).metrics]


if __name__ == "__main__":
    main()
