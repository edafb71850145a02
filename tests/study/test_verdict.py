"""One line at the end of a run: did it learn, or is the difference noise."""

import json

import numpy as np
import pytest

from menon.record.folder import RunFolder
from menon.record.reader import RunView
from menon.report.terminal import summary
from menon.study.report import with_verdict
from menon.study.verdict import verdict
from menon.types import Graded, Prompt, Rollout, Verdict


def answers(rights):
    """Graded answers to as many questions."""
    zeros = np.zeros(2, dtype=np.float32)
    return [
        Graded(
            Rollout(
                Prompt(i, np.array([1], dtype=np.int32), f"{i}?", "1"),
                tokens=np.arange(2, dtype=np.int32),
                is_action=np.array([False, True]),
                text="1",
                finish="stop",
                logp=zeros,
                log_kept=zeros,
                entropy=zeros,
                version=zeros.astype(np.int32),
                group=i,
            ),
            Verdict(float(right), float(right)),
        )
        for i, right in enumerate(rights)
    ]


def evaluated(path, before, after):
    with RunFolder.create(path, {}) as folder:
        folder.record_evaluation(0, {"accuracy": float(np.mean(before))}, answers(before))
        folder.record_evaluation(2, {"accuracy": float(np.mean(after))}, answers(after))
        folder.write_report({"steps": 2, "wall_s": 1.0, "generated_tokens": 8, "before": {}, "after": {}})
    return RunView.open(path)


@pytest.mark.parametrize(
    ("before", "after", "found", "said"),
    [
        ([0] * 30 + [1] * 10, [1] * 40, "learned", "accuracy 0.250 to 1.000 on 40 questions, +0.750"),
        ([1] * 40, [0] * 30 + [1] * 10, "got worse", "accuracy 1.000 to 0.250 on 40 questions, -0.750"),
        ([0, 1] * 20, [1, 0] * 20, "within noise", "accuracy 0.500 to 0.500 on 40 questions, +0.000"),
    ],
)
def test_a_difference_is_held_against_its_noise(tmp_path, before, after, found, said):
    view = evaluated(tmp_path / "run", before, after)
    made = verdict(view)
    assert made["found"] == found
    assert made["sentence"].startswith(said)
    assert (made["low"] > 0, made["high"] < 0) == (found == "learned", found == "got worse")
    assert made["noise"] == pytest.approx((made["high"] - made["low"]) / 2)
    assert with_verdict(view) == {"verdict": made}
    stored = json.loads((tmp_path / "run" / "report.json").read_text())
    assert stored["verdict"] == made
    assert made["sentence"] in summary(stored, tmp_path / "run")


def test_without_two_evaluations_there_is_none(tmp_path):
    with RunFolder.create(tmp_path / "run", {}) as folder:
        folder.record_evaluation(0, {"accuracy": 1.0}, answers([1]))
    assert verdict(RunView.open(tmp_path / "run")) is None
