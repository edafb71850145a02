"""How far the policy has moved from its start, token by token: on its own answers, and on the start's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from menon.assembly.models import device_of, model_name
from menon.batch import Batch, take
from menon.engines.added_tokens import add_tokens
from menon.engines.decoding.stop_strings import text_of
from menon.engines.hf_models import load_policy
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.loss.exact_kl import reverse_kl
from menon.record.reader import RunView
from menon.record.spans import TextSpans, pieces_of
from menon.report.answers import Marked
from menon.settings import setting
from menon.update.protocols import Reduction

ANSWERS = 64
"""How many answers of each side are read; more would make the mean a little more precise and take longer."""
LONGEST = 2000
"""Most tokens of an answer that are marked one by one."""


@dataclass(frozen=True)
class Drift:
    """The distance of a policy from its start, and the marked answers of both."""

    numbers: Mapping[str, Any]
    """The entry `drift` of `report.json`."""
    before: Mapping[int, Marked]
    """Row of the first evaluation -> its answer's tokens as text, each with its KL."""
    after: Mapping[int, Marked]


def drift(view: RunView, settings: Mapping[str, Any], answers: int = ANSWERS) -> Drift:
    """Scores both sides' answers to the same held-out questions by both models, at temperature 1.

    `numbers`: step, answers; for the trained model's answers sequence_kl (nats: KL(trained || start) summed
    over an answer's tokens, mean over answers), first_token_kl, first_token_share (of the sum), and
    per_position (mean over the answers that are that long) with reach (the share of such answers). `back` has
    the same numbers for the start's answers and KL(start || trained). UserError if the folder lacks the
    answers or the checkpoint.
    """
    step = last_step(view)
    device = device_of(str(setting(settings, "device", "auto")))
    name = str(setting(settings, "model"))
    start, tokenizer = load_policy(model_name(name), torch.float32, device)
    add_tokens(start, tokenizer, setting(settings, "add_tokens") or (), name)  # as the run began
    trained, _ = load_policy(view.layout.checkpoint(step), torch.float32, device)
    models = {
        name: TorchScorer(
            model, tokens_per_forward=int(setting(settings, "tokens_per_forward")), device=device
        )
        for name, model in (("start", start), ("trained", trained))
    }
    sides = []
    for which, writer, reader in ((step, "trained", "start"), (0, "start", "trained")):
        batch = first_answers(view, which, answers)
        need = Reduction("kl", reverse_kl, other=reader)
        kl = models[writer].score(batch, [need], models)["kl"].double().numpy()
        sides.append((batch, kl, marked(batch, kl, text_of_tokens(view, which, batch, tokenizer))))
    (now, kl_now, after), (then, kl_then, before) = sides
    numbers = {
        "step": step,
        "answers": now.num_sequences,
        **by_position(now, kl_now),
        "back": by_position(then, kl_then),
    }
    return Drift(numbers, before, after)


def last_step(view: RunView) -> int:
    """The last evaluated step that has a checkpoint."""
    evaluated = view.answers.steps
    steps = [step for step in view.checkpoints if step in evaluated]
    if 0 not in evaluated or not steps:
        raise UserError(
            f"{view.path} holds no answers of an evaluation before and after training; let the run "
            "go on to its end"
        )
    return steps[-1]


def first_answers(view: RunView, step: int, most: int) -> Batch:
    """The first `most` answers of the evaluation after a step, as a batch."""
    batch = view.answers.batch(step)
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


def marked(batch: Batch, kl: NDArray[np.float64], pieces: Sequence[Sequence[str]]) -> dict[int, Marked]:
    """Row -> the text and the KL of each token from the first action on. `pieces`: the text of each token of
    each sequence."""
    found = {}
    for row in range(batch.num_sequences):
        a, b = int(batch.offset[row]), int(batch.offset[row + 1])
        acts = batch.is_action[a:b].nonzero()[:, 0]
        begin = int(acts[0]) if len(acts) else b - a
        end = min(b - a, begin + LONGEST)
        found[row] = list(zip(pieces[row][begin:end], kl[a + begin : a + end].tolist(), strict=True))
    return found


def text_of_tokens(view: RunView, step: int, batch: Batch, tokenizer: Any) -> list[list[str]]:
    """The text of each token of an evaluation's first answers: as recorded, or decoded where the folder does
    not hold it (format 1)."""
    if {"text", "text_start"} <= set(view.answers.columns(step)):
        rows = view.answers.rows(step, ["text", "text_start"])[: batch.num_sequences]
        return [pieces_of(row["text"], row["text_start"]) for row in rows]
    spans = TextSpans(text_of(tokenizer, skip_special=False))
    found = [spans(tokens.numpy()) for tokens in batch.token.tensor_split(batch.offset[1:-1])]
    return [pieces_of(text, start.tolist()) for text, start in found]
