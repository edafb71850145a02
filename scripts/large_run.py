"""Writes a run folder as large as a long training, without a model, in a minute or two.

    python scripts/large_run.py FOLDER [--steps 1000] [--rollouts 256] [--tokens 40] [--longest 32000]

For tests of what reads run folders: the files, columns and names of numbers are a run's own, written by its
own writer; texts are made of words, and tokens and log-probs are drawn. `acc`, `reward`, `len`, `groups` and
`entropy/mean` of a step are those of its answers; other numbers follow curves. The last step has an answer of
`--longest` tokens, and is the one with a record of its updates. The defaults make ten million tokens.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from menon.recipes import recipe
from menon.record.folder import RunFolder
from menon.record.spans import TextSpans
from menon.settings import plain_data
from menon.types import Graded, Prompt, Rollout, StepReport, UpdateRecord, Verdict

WORDS = (
    "the",
    "so",
    "then",
    "we",
    "add",
    "take",
    "from",
    "is",
    "not",
    "wait",
    "check",
    "that",
    "again",
    "first",
)
PIECES = ("<|end|>", *(f" {word}" for word in WORDS), *(f" {i}" for i in range(80)), *"+-=?#", "\n")
"""The text of each token; token 0 ends an answer."""
SAMPLES = 8
EVERY = 50
"""Steps between evaluations."""


def encoded(text: str) -> NDArray[np.int32]:
    """The tokens of pieces with single spaces between them."""
    return np.array(
        [
            PIECES.index(f" {word}") if f" {word}" in PIECES else PIECES.index(word)
            for word in text.split(" ")
        ],
        dtype=np.int32,
    )


def question(index: int) -> Prompt:
    """The question of a row: a sum."""
    a, b = index % 40, index // 40 % 40
    text = f"{a} + {b} = ?"
    return Prompt(index, encoded(text), " " + text, str(a + b))


def answered(
    draw: np.random.Generator, prompt: Prompt, place: tuple[int, int], share: float, length: int, step: int
) -> Graded:
    """A drawn answer, right with probability `share`. `place`: its group and its number in it."""
    right, cut = bool(draw.random() < share), bool(draw.random() < 0.03)
    gold = int(str(prompt.answer))
    said = gold if right else (gold + int(draw.integers(1, 9))) % 80
    size = max(length, 4)
    body = draw.integers(1, len(PIECES), size - 2)
    ends = np.array([PIECES.index(f" {said}"), 0 if not cut else PIECES.index("\n")])
    own = np.concatenate([body, ends]).astype(np.int32)
    given = len(prompt.tokens)
    tokens = np.concatenate([prompt.tokens, own])
    entropy = np.zeros(len(tokens), np.float32)
    entropy[given:] = draw.gamma(0.4, 0.5 / (1 + step / 400), size)
    logp = np.zeros(len(tokens), np.float32)
    logp[given:] = -draw.exponential(entropy[given:] + 1e-3)
    rollout = Rollout(
        prompt=prompt,
        tokens=tokens,
        is_action=np.arange(len(tokens)) >= given,
        logp=logp,
        log_kept=None,
        entropy=entropy,
        version=np.full(len(tokens), step - 1, np.int32),
        finish="length" if cut else "stop",
        text="".join(PIECES[token] for token in own if token),
        group=place[0],
        sample=place[1],
    )
    return Graded(rollout, Verdict(float(right), float(right), {"unparsable": float(cut)}))


def graded_of(draw: np.random.Generator, step: int, steps: int, rollouts: int, tokens: int) -> list[Graded]:
    """The answers of a step, in groups, each with a difficulty of its own."""
    rise = 1 / (1 + (0.3 * steps / max(step, 1)) ** 2)
    found = []
    for group in range(rollouts // SAMPLES):
        prompt = question(int(draw.integers(1600)))
        share = float(np.clip(0.1 + 0.8 * rise + draw.normal(0, 0.25), 0, 1))
        lengths = draw.gamma(4, (tokens - 5) * (0.8 + 0.4 * rise) / 4, SAMPLES)
        found += [answered(draw, prompt, (group, i), share, int(lengths[i]), step) for i in range(SAMPLES)]
    return found


def report_of(draw: np.random.Generator, step: int, steps: int, graded: list[Graded]) -> StepReport:
    """A step's columns and numbers."""
    rollouts = [one.rollout for one in graded]
    offset = np.cumsum([0, *(len(one.tokens) for one in rollouts)])
    sequence = np.repeat(np.arange(len(graded)), np.diff(offset))
    is_action = np.concatenate([one.is_action for one in rollouts])
    scores = np.array([one.verdict.score for one in graded])
    groups = scores.reshape(-1, SAMPLES)
    spread = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-6)
    advantage = np.where(is_action, spread.reshape(-1)[sequence], 0).astype(np.float32)
    logp = np.concatenate([one.logp for one in rollouts])
    entropy = np.concatenate([one.entropy for one in rollouts if one.entropy is not None])
    old = np.where(is_action, logp + draw.normal(0, 1e-4, len(logp)), 0).astype(np.float32)
    reward = np.zeros(len(logp), np.float32)
    reward[offset[1:] - 1] = scores
    columns = {
        "token": np.concatenate([one.tokens for one in rollouts]),
        "is_action": is_action,
        "behaviour_logp": logp,
        "entropy": entropy,
        "version": np.concatenate([one.version for one in rollouts]),
        "old_logp": old,
        "reward": reward,
        "advantage": advantage,
    }
    updates = (updated(draw, columns, offset),) if step == steps else ()
    numbers = numbers_of(draw, step, steps, graded, columns)
    return StepReport(step, numbers, tuple(graded), columns, offset, f"{step:032x}", updates)


def updated(draw: np.random.Generator, columns: dict[str, NDArray], offset: NDArray) -> UpdateRecord:
    """The record of one update over all sequences."""
    weight = columns["is_action"] / columns["is_action"].sum()
    moved = columns["old_logp"] + draw.normal(0, 0.05, len(weight)) * columns["is_action"]
    floats = [values.astype(np.float32) for values in (weight, columns["old_logp"], moved)]
    return UpdateRecord(0, "policy", "policy", np.arange(len(offset) - 1), offset, *floats)


def numbers_of(
    draw: np.random.Generator, step: int, steps: int, graded: list[Graded], columns: dict[str, NDArray]
) -> dict[str, float]:
    """The line of a step."""
    scores = np.array([one.verdict.score for one in graded])
    lengths = np.array([one.rollout.num_actions for one in graded])
    cut = np.array([one.rollout.finish == "length" for one in graded])
    means = scores.reshape(-1, SAMPLES).mean(1)
    entropy = columns["entropy"][columns["is_action"]]
    noise = draw.lognormal(0, 0.1, 12).tolist()
    times = {"rollout": 2.1, "score": 0.4, "advantage": 0.01, "update": 3.2, "sync": 0.05, "other": 0.02}
    seconds = {f"time/{name}": t * one for (name, t), one in zip(times.items(), noise, strict=False)}
    clipped = 0.004 * noise[6] * (1 + step / steps)
    found = {
        "loss/policy": 0.01 * (noise[7] - 1),
        "clip/frac": clipped,
        "clip/low": 0.4 * clipped,
        "clip/high": 0.6 * clipped,
        "ratio/mean": 1 + 0.001 * (noise[8] - 1),
        "ratio/max": 1.3 * noise[9],
        "mismatch/abs": 1e-4 * noise[10],
        "mismatch/k3": 1e-8 * noise[10],
        "grad_norm": 0.3 * noise[11],
        "learning_rate": 1e-6,
        "kl/ref_k1": 0.02 * step / steps * noise[9],
        "tokens/generated": float(lengths.sum()),
        "trunc_rate": float(cut.mean()),
        "reward/mean": float(scores.mean()),
        "reward/std": float(scores.std(ddof=1)),
        "reward/failed": 0.0,
        "acc/mean": float(scores.mean()),
        "groups/all_correct": float((means == 1).mean()),
        "groups/all_wrong": float((means == 0).mean()),
        "groups/mixed": float(((means > 0) & (means < 1)).mean()),
        "groups/varied": float(((means > 0) & (means < 1)).mean()),
        "len/mean": float(lengths.mean()),
        "len/max": float(lengths.max()),
        "len/correct": float(lengths[scores == 1].mean()) if (scores == 1).any() else 0.0,
        "len/wrong": float(lengths[scores == 0].mean()) if (scores == 0).any() else 0.0,
        "entropy/mean": float(entropy.mean()),
        **seconds,
        "time/step": sum(seconds.values()),
    }
    found |= {f"len/p{p}": float(np.percentile(lengths, p)) for p in (50, 95)}
    return found | {f"entropy/p{p}": float(np.percentile(entropy, p)) for p in (50, 80, 95)}


def evaluation(graded: list[Graded]) -> dict[str, float]:
    """The numbers of an evaluation."""
    share, n = float(np.mean([one.verdict.acc for one in graded])), len(graded)
    half = 1.96 * float(np.sqrt(share * (1 - share) / n))
    ends = {"low": max(share - half, 0.0), "high": min(share + half, 1.0)}
    found = dict.fromkeys(("accuracy", "reward"), share)
    found |= {f"{name}_{end}": value for name in ("accuracy", "reward") for end, value in ends.items()}
    return found | {"mean_length": float(np.mean([one.rollout.num_actions for one in graded])), "n": float(n)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    for name, value in (("steps", 1000), ("rollouts", 256), ("tokens", 40), ("longest", 32000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    draw = np.random.default_rng(asked.seed)
    settings = plain_data(recipe("grpo", scale="laptop"))
    settings["control"] |= {"steps": asked.steps, "seed": asked.seed, "out": str(asked.folder)}
    settings["source"] |= {"prompts_per_step": asked.rollouts // SAMPLES, "samples_per_prompt": SAMPLES}
    spans = TextSpans(lambda ids: "".join(PIECES[one % len(PIECES)] for one in ids))
    began, written = time.monotonic(), 0
    with RunFolder.create(asked.folder, settings) as folder:
        folder.event("session_started", 0, session=1, process=0)
        for step in range(asked.steps + 1):
            if step % EVERY == 0:
                held_out = graded_of(draw, step, asked.steps, 160, asked.tokens)
                folder.record_evaluation(step, evaluation(held_out), held_out, spans, seconds=1.0)
            if step == 0:
                continue
            graded = graded_of(draw, step, asked.steps, asked.rollouts, asked.tokens)
            if step == asked.steps and asked.longest:
                prompt = graded[0].rollout.prompt
                graded[0] = answered(draw, prompt, (0, 0), 0.5, asked.longest, step)
            report = report_of(draw, step, asked.steps, graded)
            folder.record(report, spans)
            folder.event("published", step, version=step, fingerprint=report.fingerprint)
            written += int(report.offset[-1])
        folder.record_sessions([{"first_step": 1, "last_step": asked.steps, "wall_s": 6.0 * asked.steps}])
        folder.event("session_ended", asked.steps, why="stopped")
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"steps": asked.steps, "tokens": written, "seconds": seconds}))


if __name__ == "__main__":
    main()
