"""A small helping of scripts/fuzz_verifier.py."""

import importlib.util
import json
import random
import time
from pathlib import Path

from menon.reward.extract import LENIENT, names
from menon.reward.math.answer import MathAnswer

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz_verifier.py"


def test_random_answers_neither_break_nor_hang_it(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("fuzz_verifier", SCRIPT)
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    monkeypatch.chdir(tmp_path)
    numbers = random.Random(7)
    verifier = MathAnswer(names(LENIENT))
    try:
        for _ in range(500):
            gold, response = fuzz.pair(numbers, fuzz.SEEDS)
            began = time.perf_counter()
            verdict = verifier("", response, gold)
            assert not verdict.error, json.dumps([gold, response])
            assert verdict.score in (0, 1)
            assert time.perf_counter() - began < 10
    finally:
        verifier.close()
    assert list(tmp_path.iterdir()) == []
