"""LoRA against full fine-tuning on the built-in base, its gradient against peft's, and its memory.

python benchmarks/lora.py learn FOLDER [seconds=250]    # what is missing, as long as there is time
python benchmarks/lora.py table FOLDER                  # the table of those runs
python benchmarks/lora.py gradient MODEL [rank=1,8,64]  # relative difference to peft's own gradient
python benchmarks/lora.py memory MODEL [key=value ...]  # peak memory of one training run
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from menon.record.layout import Layout

SETTINGS: dict[str, Any] = {
    "steps": 20,
    "prompts_per_step": 16,
    "samples_per_prompt": 8,
    "heldout": 200,
    "report_questions": 0,
    "save_every": 0,
    "threads": 1,
}
SEEDS = (0, 1)
FULL, ADAPTED = (1e-4, 3e-4, 1e-3), (1e-3, 3e-3, 1e-2)
RANKS = (0, 1, 8, 32)
"""0: all weights learn."""


def arms() -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the settings of every run, the likeliest learning rates first."""
    for seed in SEEDS:
        for place in (1, 2, 0):
            for rank in RANKS:
                rate = (ADAPTED if rank else FULL)[place]
                adapter = {"adapter": {"rank": rank}} if rank else {}
                yield f"r{rank}_{rate:g}_s{seed}", {"seed": seed, "learning_rate": rate, **adapter}


def learn(folder: Path, seconds: float) -> None:
    import menon

    begin, longest = time.monotonic(), 0.0
    for name, more in arms():
        out = folder / name
        if Layout(out).report.exists():
            continue
        claim = folder / f"{name}.claim"
        try:
            claim.touch(exist_ok=False)  # another process may be at work on the others
        except FileExistsError:
            continue
        if time.monotonic() - begin + longest > seconds:
            claim.unlink()
            return
        start = time.monotonic()
        menon.train("grpo", out=str(out), **SETTINGS, **more)
        longest = max(longest, time.monotonic() - start)


def table(folder: Path) -> None:
    """Accuracy on the held-out questions before and after, by rank and learning rate: mean of the seeds, and
    each seed's."""
    print("| what learns | learning rate | seeds | before | after | each seed | last 5 steps, training |")
    print("| -- | -- | -- | -- | -- | -- | -- |")
    for rank in RANKS:
        for rate in ADAPTED if rank else FULL:
            found = [folder / f"r{rank}_{rate:g}_s{seed}" for seed in SEEDS]
            found = [run for run in found if Layout(run).report.exists()]
            if not found:
                continue
            reports = [json.loads(Layout(run).report.read_text()) for run in found]
            before, after = ([report[when]["accuracy"] for report in reports] for when in ("before", "after"))
            last = [
                statistics.mean(
                    json.loads(line)["acc/mean"] for line in Layout(run).metrics.read_text().splitlines()[-5:]
                )
                for run in found
            ]
            what = f"LoRA, rank {rank}" if rank else "all weights"
            each = ", ".join(f"{one:.3f}" for one in after)
            print(
                f"| {what} | {rate:g} | {len(found)} | {statistics.mean(before):.3f} | "
                f"{statistics.mean(after):.3f} | {each} | {statistics.mean(last):.3f} |"
            )


def gradient(model: str, ranks: list[int]) -> None:
    """One pass over random tokens: the learner's gradient of the adapter and that of peft's own forward and
    backward pass."""
    import torch
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    from menon.base import BASES
    from menon.engines import lora
    from menon.engines.forward import run_trunk
    from menon.engines.hf_models import load_policy
    from menon.engines.network import take_apart
    from menon.update.adapter import Adapter

    torch.set_num_threads(1)
    for rank in ranks:
        network, _ = load_policy(BASES.get(model, model))
        plain, _ = load_policy(BASES.get(model, model))
        lora.attach(network, Adapter(rank=rank), 0, model)
        with torch.no_grad():
            for place, layer in enumerate(lora.layers(network).values()):
                up = layer.lora_B[lora.NAME].weight
                up.copy_(torch.randn(up.shape, generator=torch.Generator().manual_seed(place)) * 0.01)
        config = network.peft_config[lora.NAME]
        wrapped = get_peft_model(
            plain,
            LoraConfig(r=rank, lora_alpha=config.lora_alpha, target_modules=config.target_modules),
        ).eval()
        set_peft_model_state_dict(wrapped, lora.own_parameters(network))
        batch, weight = random_batch(len(network.get_input_embeddings().weight))
        states = run_trunk(take_apart(network), batch)
        logits = network.get_output_embeddings()(states.rows)
        (log_probs(logits, states.token) * weight).sum().backward()
        start = 0
        for row, end in enumerate(batch.offset[1:].tolist()):
            token = batch.token[start:end]
            share = weight[start - row : end - row - 1]
            logits = wrapped(input_ids=token[None]).logits[0, :-1]
            (log_probs(logits, token[1:]) * share).sum().backward()
            start = end
        wanted = {
            name.replace(".default.", "."): each.grad
            for name, each in wrapped.named_parameters()
            if each.grad is not None
        }
        found = {name: each.grad for name, each in lora.own_parameters(network).items()}
        assert found.keys() == wanted.keys()
        size = torch.stack([each.norm() for each in wanted.values()]).norm()
        apart = torch.stack([(found[name] - each).norm() for name, each in wanted.items()]).norm()
        print(
            f"{model} rank={rank} tensors={len(found)} norm={size:.3g} apart={apart / size:.2e}", flush=True
        )


def log_probs(logits: Any, token: Any) -> Any:
    return logits.log_softmax(-1).gather(1, token[:, None])[:, 0]


def random_batch(vocabulary: int) -> tuple[Any, Any]:
    """Three sequences whose first token is given, and a weight for each other token."""
    import torch

    from menon.batch import Batch

    draw = torch.Generator().manual_seed(0)
    size = torch.tensor([12, 7, 9])
    offset = torch.cat([torch.zeros(1, dtype=torch.int64), size.cumsum(0)])
    count = int(offset[-1])
    is_action = torch.ones(count, dtype=torch.bool)
    is_action[offset[:-1]] = False
    batch = Batch(
        offset=offset,
        token=torch.randint(0, vocabulary - 2, (count,), generator=draw),
        is_action=is_action,
        reward=torch.zeros(count),
        acc=torch.zeros(3),
        group=torch.arange(3),
        finish=torch.zeros(3, dtype=torch.int64),
        valid=torch.ones(3, dtype=torch.bool),
    )
    return batch, torch.randn(count - 3, generator=draw) / count


def memory(model: str, settings: list[str]) -> None:
    """Peak resident memory of one run in this process and its children."""
    from menon.cli import main as command

    begin = time.perf_counter()
    assert command(["train", "grpo", f"model={model}", *settings]) == 0
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak_gib={peak:.2f} seconds={seconds:.0f}")


def main() -> None:
    what, where, *more = sys.argv[1:]
    given = dict(word.split("=", 1) for word in more if what != "memory")
    if what == "learn":
        folder = Path(where)
        folder.mkdir(parents=True, exist_ok=True)
        learn(folder, float(given.get("seconds", 250)))
    elif what == "table":
        table(Path(where))
    elif what == "gradient":
        gradient(where, [int(rank) for rank in given.get("rank", "1,8,64").split(",")])
    else:
        memory(where, more)


if __name__ == "__main__":
    main()
