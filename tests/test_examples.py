"""The examples run as they stand, and do what they say."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
DEADLINE = 600
"""Seconds. It needs about 30 of one core, which other tests may share."""


def test_grpo_by_hand_learns_within_120_lines():
    example = EXAMPLES / "grpo_by_hand.py"
    assert example.read_text(encoding="utf-8").count("\n") <= 120
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, str(example)]
    done = subprocess.run(command, env=one_thread, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    *steps, before, after = (line.split() for line in done.stdout.splitlines())
    assert [line[:2] for line in steps] == [["step", str(number)] for number in range(1, len(steps) + 1)]
    assert [line[2::2] for line in steps] == [["reward", "length", "entropy"]] * len(steps)
    assert (before[0], after[0]) == ("before", "after")
    assert float(after[1]) >= float(before[1]) + 0.2
