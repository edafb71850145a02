"""How far the policy has moved from its start, token by token: on what it now writes, and on what the start
wrote."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from menon.assembly.placement import device_of, model_name
from menon.batch import Batch, take
from menon.engines.hf_models import load_policy
from menon.engines.torch_learner import TorchScorer
from menon.errors import UserError
from menon.loss.exact_kl import reverse_kl
from menon.record import checkpoint
from menon.record.transcripts import read_batch
from menon.report.answers import Marked
from menon.settings import setting
from menon.update.protocols import Reduction

ANSWERS = 64
"""Of each side that are read; more would tell the mean a little better and take longer."""
LONGEST = 2000
"""Tokens of an answer that are marked one by one."""


@dataclass(frozen=True)
class Drift:
    numbers: Mapping[str, Any]
    """`report.json`'s `drift`."""
    before: Mapping[int, Marked]
    """Row of the first evaluation -> its answer's tokens as text, each with its KL."""
    after: Mapping[int, Marked]


def drift(run: Path, settings: Mapping[str, Any], answers: int = ANSWERS) -> Drift:
    """Reads both sides' answers to the same held-out questions with both models, at temperature 1.

    `numbers`: step, answers; then of the trained model's answers sequence_kl (nats: KL(trained || start)
    summed over an answer's tokens, mean over answers), first_token_kl, first_token_share of the whole, and
    per_position (mean over the answers that are that long) with reach (their share). `back` has the same of
    the start's answers and KL(start || trained). UserError where the folder lacks the answers or the
    checkpoint.
    """
    step = last_step(run)
    device = device_of(str(setting(settings, "device", "auto")))
    start, tokenizer = load_policy(model_name(str(setting(settings, "model"))), torch.float32, device)
    trained, _ = load_policy(run / "checkpoints" / f"step_{step:06d}", torch.float32, device)
    models = {
        name: TorchScorer(
            model, tokens_per_forward=int(setting(settings, "tokens_per_forward")), device=device
        )
        for name, model in (("start", start), ("trained", trained))
    }
    sides = []
    for which, writer, reader in ((step, "trained", "start"), (0, "start", "trained")):
        batch = first_answers(run / "evaluations" / f"step_{which:06d}.parquet", answers)
        need = Reduction("kl", reverse_kl, other=reader)
        kl = models[writer].score(batch, [need], models)["kl"].double().numpy()
        sides.append((batch, kl))
    (now, kl_now), (then, kl_then) = sides
    numbers = {
        "step": step,
        "answers": now.num_sequences,
        **by_position(now, kl_now),
        "back": by_position(then, kl_then),
    }
    return Drift(numbers, marked(then, kl_then, tokenizer.decode), marked(now, kl_now, tokenizer.decode))


def last_step(run: Path) -> int:
    """The last evaluated step whose checkpoint is there."""
    evaluated = {
        int(file.stem.removeprefix("step_")) for file in (run / "evaluations").glob("step_*.parquet")
    }
    steps = [step for step in checkpoint.steps_in(run / "checkpoints") if step in evaluated]
    if 0 not in evaluated or not steps:
        raise UserError(
            f"{run} holds no answers of an evaluation before and after training; let the run go on to its end"
        )
    return steps[-1]


def first_answers(file: Path, most: int) -> Batch:
    batch = read_batch(file)
    return take(batch, torch.arange(min(most, batch.num_sequences)))


def by_position(batch: Batch, kl: NDArray[np.float64]) -> dict[str, Any]:
    """Means over answers of the KL at their first, second, ... token, and of its sum."""
    rows = [
        kl[a:b][batch.is_action[a:b].numpy()]
        for a, b in zip(batch.offset[:-1], batch.offset[1:], strict=True)
    ]
    rows = [row for row in rows if len(row)]
    if not rows:
        raise UserError("the evaluation's answers are all empty; there is nothing to measure a distance on")
    width = max(map(len, rows))
    reach = [sum(len(row) > place for row in rows) for place in range(width)]
    total = [sum(float(row[place]) for row in rows if len(row) > place) for place in range(width)]
    whole = sum(total) / len(rows)
    return {
        "sequence_kl": whole,
        "first_token_kl": total[0] / len(rows),
        "first_token_share": total[0] / sum(total) if sum(total) else 0.0,
        "per_position": [t / n for t, n in zip(total, reach, strict=True)],
        "reach": [n / len(rows) for n in reach],
    }


def marked(batch: Batch, kl: NDArray[np.float64], decode: Callable[[list[int]], Any]) -> dict[int, Marked]:
    found = {}
    for row in range(batch.num_sequences):
        a, b = int(batch.offset[row]), int(batch.offset[row + 1])
        acts = batch.is_action[a:b].nonzero()[:, 0]
        begin = a + int(acts[0]) if len(acts) else b
        end = min(b, begin + LONGEST)
        texts = pieces(decode, batch.token[begin:end].tolist())
        found[row] = list(zip(texts, kl[begin:end].tolist(), strict=True))
    return found


def pieces(decode: Callable[[list[int]], Any], tokens: Sequence[int]) -> list[str]:
    """The text of each token; a character that is spread over several stands with the last of them."""
    found: list[str] = []
    last: list[int] = []
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        text = str(decode(last + waiting))[
            len(str(decode(last))) :
        ]  # some tokenizers drop the space of a first token
        whole = not text.endswith("\N{REPLACEMENT CHARACTER}") or len(waiting) >= 4
        found.append(text if whole else "")
        last, waiting = (waiting, []) if whole else (last, waiting)
    return found
