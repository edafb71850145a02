"""Zero-RL on a real model, seed by seed, from the model's own first answers to its last.

    python scripts/real_model.py FOLDER [--task sums] [--seeds 3] [--steps 16] [--out runs/real_model]
    python scripts/real_model.py FOLDER --task words
    python scripts/real_model.py FOLDER --task gsm8k --rows gsm8k_train.jsonl

FOLDER is a model of about 100 million parameters with a chat template, as of SmolLM2-135M-Instruct. The
tasks: sums of two numbers of two digits; one-step word problems; and GSM8K, of whose rows (JSON lines,
perhaps gzipped, with question, answer and solution) those of one or two steps are taken that the model solves
sometimes and not always. Held-out questions are asked in no training. The program prints the command of every
run, what the model answered before and after, and a table. A run that is there already is read and not
repeated. Last line: `before=R after=R minutes=R`: held-out accuracy at temperature 1, and the time of a whole
run from the command to its end, means over the seeds.
"""

import argparse
import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import menon
from menon.eval.compare import compare_results
from menon.eval.config import read_result
from menon.eval.run import Item, numbers_of
from menon.record.layout import Layout
from menon.record.reader import RunView

TRAIN, HELD_OUT = 2000, 200
REWARD = """import re

def last_number(prompt, completion, answer, **columns):
    found = re.findall(r"\\d+", completion.replace(",", ""))
    return float(bool(found) and found[-1] == answer)
"""
"""A right answer ends with the number: enough where the question asks for nothing else."""
SETTINGS: dict[str, Any] = {
    "template": "chat",
    "prompts_per_step": 16,
    "samples_per_prompt": 8,
    "learning_rate": 3e-5,
    "schedule": "linear",
    "rollout": "dynamic_sampling",
    "rollout.prompts_per_round": 20,
    "old": "behaviour",
    "report_questions": 0,
    "save_every": 0,
}
"""The rate falls to 0 at the last update: at a constant one accuracy goes up and down. Groups without signal
are replaced: at first one answer of fifty is right, and with two or three such answers in a step the first
updates are noise, from which one seed of two did not come back. The sampler's own log-probs are the old ones,
which saves a forward pass."""
UPDATES = 2
"""Of each step, as the recipe has it."""
TRIES, CANDIDATES = 4, 400
"""Answers to each row of GSM8K that is tried, and how many rows."""
K = 8
"""Answers to each held-out question before and after: of accuracy and pass@k."""
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Task:
    name: str
    rows: Callable[[argparse.Namespace], Rows]
    """Questions in an order of their own; the first ones are held out."""
    heldout: int = HELD_OUT
    settings: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("folder")
    asked.add_argument("--task", choices=[task.name for task in TASKS], default="sums")
    asked.add_argument("--rows", type=Path, help="the rows of gsm8k")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--steps", type=int, default=16)
    asked.add_argument("--out", type=Path, default=Path("runs/real_model"))
    given = asked.parse_args()
    task = next(task for task in TASKS if task.name == given.task)
    if task.name == "gsm8k" and given.rows is None:
        asked.error("gsm8k needs its rows; name their file with --rows")
    given.out = given.out / task.name
    length = {"total_updates": UPDATES * given.steps}
    settings = {**SETTINGS, **length, **task.settings, **files(task, given)}
    found = [run(given, seed, settings) for seed in range(given.seeds)]
    print()
    for view in found:
        print("\n".join(examples(view)))
    before = answered(given.folder, given, settings, "before")
    after = [answered(str(view.path), given, settings, view.name) for view in found]
    minutes = [view.wall_s / 60 for view in found]
    print("\n".join(table(before, after, minutes)))
    last = np.mean([share(items, "avg") for items in after])
    print(f"\nbefore={share(before, 'avg'):.3f} after={last:.3f} minutes={np.mean(minutes):.2f}")


def sums(given: argparse.Namespace) -> Rows:
    numbers = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    random.Random(0).shuffle(numbers)
    return [
        {"question": f"Answer with the number only. What is {a} + {b}?", "answer": str(a + b)}
        for a, b in numbers[: HELD_OUT + TRAIN]
    ]


PROBLEMS = (
    ("{who} has {a} {what} and buys {b} more. How many {what} does {who} have now?", lambda a, b: a + b),
    ("{who} has {a} {what} and gives {b} of them away. How many {what} are left?", lambda a, b: a - b),
    ("There are {b} boxes with {a} {what} in each. How many {what} are there in all?", lambda a, b: a * b),
    ("{who} has {a} {what}, and {b} fewer than Ben. How many {what} does Ben have?", lambda a, b: a + b),
)
"""Word problems of one step, and their answers."""


def words(given: argparse.Namespace) -> Rows:
    draw, rows = random.Random(0), {}
    while len(rows) < HELD_OUT + TRAIN:
        text, answer = draw.choice(PROBLEMS)
        who, what = (
            draw.choice(("Mia", "Tom", "Ada", "Omar")),
            draw.choice(("apples", "books", "coins", "stamps")),
        )
        a, b = draw.randint(11, 60), draw.randint(2, 10)
        question = text.format(who=who, what=what, a=a, b=b)
        rows[question] = {"question": f"{question} Answer with the number only.", "answer": str(answer(a, b))}
    return list(rows.values())


def gsm8k(given: argparse.Namespace) -> Rows:
    """Rows of one or two steps of which the model solves some answers and misses some."""
    path, tried = given.out / "candidates.jsonl", given.out / "tried.json"
    given.out.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if given.rows.suffix == ".gz" else open
    with opened(given.rows, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    short = [row for row in rows if 1 <= row["solution"].count("<<") <= 2]
    random.Random(0).shuffle(short)
    hint = "Answer in one short line that ends with the number."
    candidates = [
        {"question": f"{row['question']} {hint}", "answer": row["answer"].replace(",", "")}
        for row in short[:CANDIDATES]
    ]
    write(path, candidates)
    (given.out / "reward.py").write_text(REWARD)
    if not tried.exists():
        settings = {name: GSM8K[name] for name in ("max_new_tokens",)}
        reward = f"{given.out / 'reward.py'}:last_number"
        menon.evaluate(
            given.folder, data=path, reward=reward, template="chat", k=TRIES, out=tried, **settings
        )
    solved = {item.question: float(np.mean(item.acc)) for item in read_result(tried)[1]}
    mean = np.mean(list(solved.values()))
    print(f"of {TRIES} answers to each of {len(candidates)} rows {mean:.3f} are right")
    return [row for place, row in enumerate(candidates) if 0 < solved[place] < 1]


GSM8K = {"max_new_tokens": 64, "prompts_per_step": 8}
TASKS = (
    Task("sums", sums, settings={"max_new_tokens": 16}),
    Task("words", words, settings={"max_new_tokens": 16}),
    Task("gsm8k", gsm8k, 40, GSM8K),
)


def files(task: Task, given: argparse.Namespace) -> dict[str, Any]:
    """Settings that name files: the reward, questions to learn from, and held-out ones."""
    given.out.mkdir(parents=True, exist_ok=True)
    rows = task.rows(given)
    parts = {"heldout_data": rows[: task.heldout], "data": rows[task.heldout :]}
    for name, part in parts.items():
        write(given.out / f"{name}.jsonl", part)
    (given.out / "reward.py").write_text(REWARD)
    named = {name: str(given.out / f"{name}.jsonl") for name in parts}
    return {
        "reward": f"{given.out / 'reward.py'}:last_number",
        **named,
        "heldout": len(parts["heldout_data"]),
    }


def write(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(given: argparse.Namespace, seed: int, settings: dict[str, Any]) -> RunView:
    """The run of a seed, done if it is not there yet."""
    place = given.out / f"seed_{seed}"
    own = {"model": given.folder, **settings, "seed": seed, "steps": given.steps, "out": str(place)}
    print("menon train grpo " + " ".join(f"{name}={value}" for name, value in own.items()), flush=True)
    if not Layout(place).report.exists():
        menon.train("grpo", **own)
    return RunView.open(place)


def answered(model: str, given: argparse.Namespace, settings: dict[str, Any], name: str) -> list[Item]:
    """`K` answers of a model or a run to each held-out question, from a file if they are there already."""
    file = given.out / f"{name}.json"
    if not file.exists():
        same = {key: settings[key] for key in ("reward", "template", "max_new_tokens")}
        menon.evaluate(model, data=settings["heldout_data"], k=K, out=str(file), **same)
    return read_result(file)[1]


def share(items: Sequence[Item], of: str) -> float:
    """Accuracy ("avg") or pass@k ("pass") over `K` answers."""
    return float(numbers_of(items, K)[f"{of}@{K}"]["value"])


def examples(view: RunView, count: int = 5) -> list[str]:
    """What the model answered to a few held-out questions before the first step and after the last."""
    steps = (view.answers.steps[0], view.answers.steps[-1])
    first, last = (view.answers.rows(step, ["prompt", "completion", "answer"]) for step in steps)
    lines = [f"{view.name}: right answer, first answer, last answer"]
    for one, other in list(zip(first, last, strict=True))[:count]:
        lines.append(f"  {one['answer']}: {one['completion'][:80]!r}, {other['completion'][:80]!r}")
    return lines


def table(before: list[Item], after: list[list[Item]], minutes: Sequence[float]) -> list[str]:
    """Accuracy, its paired difference with a 95 % interval, pass@k, and the time of each run."""
    names = ("seed", "before", "after", "difference", f"pass@{K} before", "after", "minutes")
    lines = ["", "| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for seed, (items, took) in enumerate(zip(after, minutes, strict=True)):
        found = compare_results(before, items)
        difference = f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
        passed = [f"{share(one, 'pass'):.3f}" for one in (before, items)]
        row = [str(seed), f"{found.a:.3f}", f"{found.b:.3f}", difference, *passed, f"{took:.1f}"]
        lines.append("| " + " | ".join(row) + " |")
    return lines


if __name__ == "__main__":
    main()
