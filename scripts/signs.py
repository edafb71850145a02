"""Do runs that learn nothing say so, and only those?

    python scripts/signs.py [--recipes NAME ...]

Thirteen runs of two steps on the built-in base, each broken in one way, must name the cause and the setting
in a warning by the end of step 2. Then every recipe runs for `--steps` steps as it comes, and must not warn.
Last line: `named=N/13 false_alarms=N/M`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from menon.recipes import ONLINE
from menon.record.reader import RunView

REWARDS = """
def one(prompt, completion, answer, **columns): return {"score": 1.0, "acc": 1.0}
def none(prompt, completion, answer, **columns): return {"score": 0.0, "acc": 0.0}
def half(prompt, completion, answer, **columns): return 0.5
def huge(prompt, completion, answer, **columns): return 1e39 if len(completion) % 2 else 0.0
def length(prompt, completion, answer, **columns): return {"score": len(completion) % 5 / 10, "acc": 0.0}
"""
QUICK = ("heldout=20", "report_questions=0")


@dataclass(frozen=True)
class Broken:
    """A run that can learn nothing."""

    settings: tuple[str, ...]
    sign: str
    """The kind of the sign that it must give."""
    says: str
    """What the sentence must hold: the setting to change."""


BROKEN = (
    Broken(("max_new_tokens=3",), "cut", "raise max_new_tokens"),
    Broken(("reward=math",), "unread", "template"),
    Broken(("reward=rewards.py:one",), "all_right", "reward=rewards.py:one accepts"),
    Broken(("reward=rewards.py:none",), "all_wrong", "reward=rewards.py:none refuses"),
    Broken(("reward=rewards.py:half",), "constant", "let it tell better answers from worse"),
    Broken(("learning_rate=0",), "learning_rate", "learning_rate is 0"),
    Broken(("learning_rate=1",), "collapse", "lower learning_rate, now 1"),
    Broken(("reward=rewards.py:huge",), "skipped", "rewards"),
    Broken(("reward=rewards.py:length", "objective.policy.select=correct"), "empty", "select="),
    Broken(("temperature=0.000001",), "same_text", "set temperature=1"),
    Broken(('stop=["1","2","3","4","5","6","7","8","9","#"]',), "blank", "stop="),
    Broken(("data=questions.jsonl",), "foreign", "set model="),
    Broken(("data=questions.jsonl", "model=copy"), "all_wrong", "set reward=math"),
)


def train(folder: Path, words: tuple[str, ...], steps: int) -> list[dict]:
    """Runs `menon train`; returns the warnings as events."""
    out = folder / "run"
    command = [sys.executable, "-m", "menon", "train", *words, *QUICK, f"steps={steps}", f"out={out}"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(words)}: {ended.stderr.strip()}")
    return [event for event in RunView.open(out).events if event["kind"] == "warned"]


def prepare(folder: Path) -> None:
    """A user's files: rewards, questions in words, and a model of their own."""
    (folder / "rewards.py").write_text(REWARDS)
    rows = [{"question": f"How much is {n} and {n + 1}?", "answer": f"It is {2 * n + 1}."} for n in range(60)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    from menon.base import WEIGHTS

    (folder / "copy").symlink_to(WEIGHTS)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="*", default=list(ONLINE), help="recipes that must not warn")
    parser.add_argument("--steps", type=int, default=6, help="steps of each of them")
    given = parser.parse_args()
    named = alarms = 0
    for broken in BROKEN:
        with tempfile.TemporaryDirectory() as name:
            prepare(Path(name))
            found = train(Path(name), broken.settings, 2)
        right = [
            event for event in found if event["sign"] == broken.sign and broken.says in event["sentence"]
        ]
        named += bool(right)
        said = (right or found or [{"sentence": "(nothing)"}])[0]["sentence"]
        print(f"{'named' if right else 'MISSED':<8}{' '.join(broken.settings)}: {said}", flush=True)
    for recipe in given.recipes:
        with tempfile.TemporaryDirectory() as name:
            found = train(Path(name), (recipe,), given.steps)
        alarms += bool(found)
        print(
            f"{'ALARM' if found else 'quiet':<8}{recipe} {found[0]['sentence'] if found else ''}", flush=True
        )
    print(f"named={named}/{len(BROKEN)} false_alarms={alarms}/{len(given.recipes)}")
    return int(named < len(BROKEN) or alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
