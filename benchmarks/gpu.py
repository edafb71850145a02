"""The side-by-side measurements on a GPU, and the share of the hardware's speed that Menon reaches.

    python benchmarks/gpu.py [--size 0.4B] [--vllm-python PATH] [--trl-python PATH] [--repeats 5]
                             [--results benchmarks/results/gpu.md]

Model: random weights in the shape of Qwen3-0.6B with the base's small vocabulary, in bfloat16 (steps:
bfloat16 autocast on float32). Sampler: 256 answers of 256 tokens to 32 prompts, against generate, continuous
batching and vLLM. Step: the same 32 x 8 answers with ragged lengths up to 256, mean 128, against TRL. The
sides are made equal as in `sampler.py` and `step_vs_trl.py`, and take turns.

First come the tests that need a GPU (`tests/gpu`), then the ceilings: bytes per second of a copy within the
GPU's memory, and FLOP/s of a bfloat16 matrix product. Decode bandwidth: every step has to read all weights
and the keys and values written so far; these bytes over the time of the whole call, prefill included, against
the first ceiling. MFU of each phase of a step, against the second: 2 FLOP per weight and token of the rollout
and 6 of the update (tokens of a prompt once for its group, attention left out), over the time of the phase.
With `--results` all that is printed stands in that file too, as Markdown. On one H200 the whole is meant to
take ten minutes; it has not been run on one. Last line: `vs_hf=R vs_vllm=R ratio=R bandwidth=R mfu=R gib=R`,
bandwidth and mfu (of the update) as shares of 1, gib the most that our tensors held.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from menon.errors import UserError
from side_by_side import models
from side_by_side.crew import Crew, Process
from side_by_side.menon_step_side import PHASES
from side_by_side.report import (
    Setting,
    alternate,
    last_line,
    machine,
    measure_with,
    row,
    spread,
    times_faster,
)
from side_by_side.task import write_questions
from side_by_side.work import Work, dense, ragged

PROMPTS, SAMPLES, LENGTH, MEAN, CONTEXT = 32, 8, 256, 128, 1024
BYTES = 2
"""Bytes of a number in bfloat16."""


def check_gpu() -> None:
    if not torch.cuda.is_available():
        raise UserError(
            "torch sees no CUDA GPU here; run this on a machine with one, or benchmarks/sampler.py for a CPU"
        )


def ceilings() -> tuple[float, float]:
    """Bytes per second of a copy (read and written) and FLOP/s of a matrix product, the best of several."""
    given = torch.empty(2**30, dtype=torch.bfloat16, device="cuda")
    held = torch.empty_like(given)
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    return 2 * BYTES * given.numel() / fastest(lambda: held.copy_(given)), 2 * 8192**3 / fastest(
        lambda: a @ b
    )


def fastest(work: Callable[[], Any], tries: int = 20) -> float:
    """Seconds."""
    seconds = []
    for _ in range(tries):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def decode_bytes(shape: dict[str, int], parameters: int, rows: int, prompt: int, new: int) -> int:
    """Bytes that must be read to write `new` tokens in each of `rows` rows: all weights at every step, and
    each row's keys and values."""
    per_token = 2 * shape["num_hidden_layers"] * shape["num_key_value_heads"] * shape["head_dim"] * BYTES
    places = sum(prompt + step for step in range(new))
    return new * parameters * BYTES + rows * places * per_token


def one_gpu() -> dict[str, str]:
    """Environment that shows only the first GPU, because the Trainer would divide its batches among all
    GPUs."""
    return {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}


def sampler_sides(folder: str, vllm_python: str | None) -> dict[str, Setting]:
    own = {"folder": folder, "device": "cuda"}
    plain = {"dtype": "bfloat16", "threads": 1}
    answers = PROMPTS * SAMPLES
    sides = {
        "menon": Setting("", Process("menon_sampler_side", own), plain | {"slots": answers}),
        "generate": Setting("", Process("hf_side", own), plain | {"mode": "generate", "batch": answers}),
        "continuous": Setting("", Process("hf_side", own), plain | {"mode": "continuous"}),
    }
    if vllm_python:
        start = {
            "folder": folder,
            "dtype": "bfloat16",
            "sequences": answers,
            "longest": CONTEXT,
            "gpu_memory_utilization": 0.4,
        }
        sides["vllm"] = Setting("", Process("vllm_side", start, vllm_python))
    return sides


def sampled(
    crew: Crew, folder: str, repeats: int, vllm_python: str | None
) -> tuple[dict[str, list[float]], int]:
    """Seconds by side, and the tokens of the prompts."""
    work = Work(models.prompts(PROMPTS), dense(PROMPTS * SAMPLES, LENGTH))
    sides, measure = sampler_sides(folder, vllm_python), measure_with(crew, **work.plain())
    alternate(sides, measure, 2)
    seconds = alternate(sides, measure, repeats)
    for side, times in seconds.items():
        print(row(side, spread([work.tokens / each for each in times], ",.0f") + " tokens/s"), flush=True)
    return seconds, sum(map(len, work.prompts))


def stepped(
    crew: Crew, folder: str, repeats: int, trl_python: str
) -> tuple[dict[str, list[float]], list[dict[str, float]]]:
    """Seconds by side, and what each of our steps says of its phases (`menon_step_side`)."""
    questions = write_questions(models.questions(320), crew.folder / "questions.jsonl")
    limits = ragged(PROMPTS * SAMPLES, MEAN, LENGTH)
    start = {
        "folder": folder,
        "questions": questions,
        "samples": SAMPLES,
        "limits": limits,
        "dtype": "bfloat16",
        "device": "cuda",
    }
    theirs = start | {"mode": "generate", "micro": len(limits) // 4}
    sides = {
        "menon": Setting("", Process("menon_step_side", start), {"threads": 1}),
        "trl": Setting("", Process("trl_side", theirs, trl_python, one_gpu()), {"threads": 1}),
    }
    ours: list[dict[str, float]] = []

    def measure(setting: Setting) -> float:
        answer = crew.ask(setting.process, **setting.request)
        if "update" in answer:
            ours.append(answer)
        return float(answer["seconds"])

    alternate(sides, measure, 2)
    ours.clear()
    seconds = alternate(sides, measure, repeats)
    for side, times in seconds.items():
        print(row(side, spread(times, ".3f") + " s a step"), flush=True)
    return seconds, ours


FLOP = {"rollout": 2, "update": 6}
"""FLOP per weight and token of a phase."""


def utilisation(steps: Sequence[Mapping[str, float]], parameters: int, ceiling: float) -> dict[str, float]:
    """The median MFU of each phase, as a share of the ceiling in FLOP/s."""
    return {
        phase: median(flop * parameters * step["tokens"] / step[phase] for step in steps) / ceiling
        for phase, flop in FLOP.items()
    }


def tested() -> str:
    """The last line of the tests that need a GPU."""
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/gpu", "tests/engines/decoding/test_decode_graphs.py"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip().splitlines()[-1] if found.stdout.strip() else found.stderr[-500:]


class Both:
    """Standard output, and a file."""

    def __init__(self, path: Path) -> None:
        self.streams = (sys.stdout, path.open("w", encoding="utf-8"))

    def write(self, text: str) -> None:
        for one in self.streams:
            one.write(text)

    def flush(self) -> None:
        for one in self.streams:
            one.flush()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--size", default="0.4B", choices=list(models.SIZES))
    asked.add_argument("--vllm-python", help="interpreter of an environment with vLLM")
    asked.add_argument(
        "--trl-python", default=sys.executable, help="interpreter of an environment with trl 1.16"
    )
    asked.add_argument("--repeats", type=int, default=5, help="turns of each side")
    asked.add_argument("--results", type=Path, help="a Markdown file for all that is printed")
    given = asked.parse_args()
    check_gpu()
    if given.results:
        sys.stdout = Both(given.results)
        print(f"# On a GPU\n\n`python {' '.join(map(shlex.quote, sys.argv))}`\n")
    print(f"tests: {tested()}\n", flush=True)
    memory, product = ceilings()
    torch.cuda.empty_cache()  # the sides share this GPU's memory
    print(
        f"{machine()}, {torch.cuda.get_device_name()}: {memory / 1e9:,.0f} GB/s, {product / 1e12:,.0f} "
        "TFLOP/s\n",
        flush=True,
    )
    with Crew() as crew:
        folder = models.random_model(given.size, crew.folder, CONTEXT)
        parameters = AutoModelForCausalLM.from_pretrained(folder).num_parameters()
        wrote, prompt_tokens = sampled(crew, folder, given.repeats, given.vllm_python)
        crew.keep([])
        steps, ours = stepped(crew, folder, given.repeats, given.trl_python)
    mfu = utilisation(ours, parameters, product)
    gib = max(step["device_gib"] for step in ours)
    print("\n" + row("phase", "seconds", "MFU") + "\n" + row(*["---"] * 3))
    for phase in PHASES:
        seconds = spread([step[phase] for step in ours], ".3f")
        print(row(phase, seconds, f"{mfu[phase]:.3f}" if phase in mfu else ""))
    print(f"\nmost memory of tensors: {gib:.1f} GiB")
    rows = PROMPTS * SAMPLES
    read = decode_bytes(models.SIZES[given.size], parameters, rows, prompt_tokens // PROMPTS, LENGTH)
    ratios = {
        "vs_hf": times_faster(wrote, "menon", ["generate", "continuous"]),
        "vs_vllm": times_faster(wrote, "menon", ["vllm"]),
        "ratio": times_faster(steps, "menon", ["trl"]),
        "bandwidth": read / median(wrote["menon"]) / memory,
        "mfu": mfu["update"],
        "gib": gib,
    }
    print("\n" + last_line(**ratios))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
