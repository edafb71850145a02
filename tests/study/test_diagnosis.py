"""What is wrong with a run folder: the rules of training find it there, and what cannot be read is said.

The runs on the shipped base are in scripts/diagnose_table.py; here folders are written by hand, and one tiny
model is trained.
"""

import json
import os

import numpy as np
import pytest

from menon.cli import main
from menon.errors import UserError
from menon.loop import check_agreement
from menon.record.reader import NoRun
from menon.record.transcripts import write_transcript
from menon.study.diagnosis import ENDED, MOST_READ, diagnose
from menon.types import Graded, Prompt, Rollout, StepReport, Verdict

GOOD = {
    "reward/mean": 0.5,
    "reward/std": 0.5,
    "acc/mean": 0.5,
    "adv/absmax": 1.0,
    "grad_norm": 0.3,
    "learning_rate": 1e-3,
    "entropy/mean": 0.3,
    "len/mean": 20.0,
    "trunc_rate": 0.0,
    "groups/varied": 0.8,
    "groups/all_correct": 0.1,
    "groups/all_wrong": 0.1,
    "repeat_score": 0.03,
    "clip/frac": 0.001,
    "mismatch/abs": 1e-7,
    "ratio/mean": 1.0,
    "loss/policy": 0.1,
    "reward/failed": 0.0,
    "update/skipped": 0.0,
    "memory/gib": 1.0,
}
SETTINGS = {
    "source": {"prompts_per_step": 8, "samples_per_prompt": 8, "max_new_tokens": 30, "reward": "math"},
    "models": {"policy": {"updates_per_step": 2, "optimiser": {"learning_rate": 1e-3}}},
    "engine": {"dtype": "float32"},
    "control": {"seed": 0, "steps": 10},
}


def answers(*given):
    """(text, score, acc, finish) of each answer, four to a question; without tokens."""
    found = []
    for place, (text, score, acc, finish) in enumerate(given):
        zeros = np.zeros(3, dtype=np.float32)
        rollout = Rollout(
            Prompt(place // 4, np.array([1], dtype=np.int32), f"Q{place // 4}:", "17"),
            tokens=np.arange(3, dtype=np.int32),
            is_action=np.array([False, True, True]),
            logp=zeros,
            log_kept=None,
            entropy=zeros,
            version=np.zeros(3, dtype=np.int32),
            finish=finish,
            text=text,
            group=place // 4,
            sample=place % 4,
        )
        found.append(Graded(rollout, Verdict(score, acc)))
    return found


FINE = [("it is 17", 1.0, 1.0, "stop"), ("it is 3", 0.0, 0.0, "stop")] * 4


def write_step(folder, step, graded, **columns):
    n = len(graded)
    stored = {"token": np.tile(np.arange(3), n), "is_action": np.tile([False, True, True], n), **columns}
    (folder / "transcripts").mkdir(exist_ok=True)
    report = StepReport(step, {}, tuple(graded), stored, np.arange(n + 1) * 3)
    write_transcript(folder / "transcripts" / f"step_{step:06d}.parquet", report)


def write_run(folder, lines, given=FINE, evaluations=(), settings=SETTINGS, about=None):
    """A run folder whose steps have these numbers, each a change of healthy ones."""
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(about or {"format": 2, "settings": settings}))
    numbers = [{"step": n, **GOOD, "fingerprint": f"{n:032x}", **change} for n, change in enumerate(lines, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in numbers))
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in evaluations))
    (folder / "report.json").write_text(json.dumps({"steps": len(lines)}))
    for n in range(1, len(lines) + 1) if given else ():
        write_step(folder, n, answers(*given))
    return folder


def causes(folder):
    return [one.cause for one in diagnose(folder).findings]


def evaluation(step, accuracy, n=100):
    return {
        "step": step,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.1,
        "accuracy_high": accuracy + 0.1,
        "reward": accuracy,
        "n": n,
    }


def ramp(name, first, last, steps=10):
    return [{name: first + (last - first) * n / (steps - 1)} for n in range(steps)]


BETTER = [{**a, **b} for a, b in zip(ramp("acc/mean", 0.3, 0.9), ramp("reward/mean", 0.3, 0.9), strict=True)]


@pytest.mark.parametrize(
    ("cause", "lines", "evaluations", "says"),
    [
        ("stale", [{"mismatch/abs": 1e-7 if n < 2 else 0.02} for n in range(5)], (), "in step 1"),
        ("stale", [{"fingerprint": "ab"}] * 5, (), "the same weights after each of the last 4 steps"),
        ("apart", [{"mismatch/abs": 0.02}] * 3, (), "from the first step on"),
        ("not_finite", [{}, {"loss/policy": None}], (), "loss/policy of the step is no finite number"),
        (
            "skipped",
            [{"update/skipped": n % 2} for n in range(4)],
            (),
            "skipped in 1 of 2 steps (1 in all)",
        ),
        ("graders", [{"reward/failed": 3.0}] * 3, (), "failed on 4.7% of the answers"),
        (
            "collapse",
            [{}, *[{"entropy/mean": 0.01, "groups/varied": 0.1, "acc/mean": 0.6}] * 2],
            (),
            "40% of the answers are wrong",
        ),
        ("repetition", [{}, *[{"repeat_score": 0.3}] * 2], (), "repeat_score 0.30, 0.03 in step 1"),
        ("short", [{}, *[{"len/mean": 5.0, "acc/mean": 0.2}] * 2], (), "5.0 tokens long, 20.0 in step 1"),
        ("cut", [{"trunc_rate": 0.3}] * 2, (), "30% of the answers of the last 2 steps were cut"),
        ("unread", [{"reward/parts/unparsable": 0.6}] * 4, (), "60% of the answers"),
        ("few_groups", [{"groups/varied": 0.05, "groups/all_wrong": 0.9}] * 4, (), "only in 5%"),
        ("clipped", [{"clip/frac": 0.1}] * 4, (), "10% of what the last 4 steps learned from is clipped"),
        ("memory", ramp("memory/gib", 1.0, 2.5, 14), (), "MiB more with each step"),
        (
            "flat",
            ramp("reward/mean", 0.2, 0.9),
            (evaluation(0, 0.4), evaluation(10, 0.38)),
            "the accuracy on 100 held-out questions did not: 0.4 before step 1, 0.38 after step 10",
        ),
        (
            "lost",
            ramp("reward/mean", 0.2, 0.9),
            (evaluation(0, 0.3), evaluation(5, 0.9), evaluation(10, 0.55)),
            "was 0.9 after step 5 and is 0.55 after step 10",
        ),
        (
            "long",
            [{}, *[{"len/mean": 30.0, "reward/mean": 1.5, "trunc_rate": 0.4}] * 2],
            (),
            "30.0 tokens, 20.0 in step 1, reward 1.5, 0.5 in step 1; 40% are cut",
        ),
    ],
)
def test_each_cause_is_named_with_its_number(tmp_path, cause, lines, evaluations, says):
    found = diagnose(write_run(tmp_path / "run", lines, evaluations=evaluations))
    assert [one.cause for one in found.findings] == [cause]
    assert says in found.findings[0].evidence
    assert found.findings[0].setting
    assert found.notes == ()


@pytest.mark.parametrize(
    ("lines", "evaluations"),
    [
        (BETTER, (evaluation(0, 0.3), evaluation(10, 0.85))),
        (BETTER, (evaluation(0, 0.3), evaluation(5, 0.85), evaluation(10, 0.8))),
        ([*BETTER, *[{"acc/mean": 0.97, "groups/varied": 0.05, "entropy/mean": 0.01}] * 5], ()),  # learned
        ([{}, *[{"len/mean": 5.0, "acc/mean": 0.9}] * 2], ()),  # short and right
        ([{}, {"trunc_rate": 0.9}, {}, {"trunc_rate": 0.9}, {}], ()),
        (ramp("memory/gib", 1.0, 1.2, 14), ()),
        ([{"memory/gib": 1 + min(n, 6) / 10} for n in range(20)], ()),  # it settles
        (
            [{"reward/parts/unparsable": share} for share in (0.9, 0.8, 0.7, 0.6, 0.5)],
            (),
        ),  # it learns to state
        ([{"mismatch/abs": 0.02, "x": 1}] * 3, "bfloat16"),
    ],
)
def test_healthy_runs_are_left_alone(tmp_path, lines, evaluations):
    settings = SETTINGS
    if isinstance(evaluations, str):
        settings, evaluations = SETTINGS | {"engine": {"dtype": evaluations}}, ()
    assert causes(write_run(tmp_path / "run", lines, evaluations=evaluations, settings=settings)) == []


def test_log_probs_of_another_policy(tmp_path):
    """Old log-probs are .2 off on the tokens that have them; those of the first update have none."""
    folder = write_run(tmp_path / "run", [{}] * 3)
    for n in (1, 2, 3):
        behaviour = np.full(24, -1.0, dtype=np.float32)
        old = behaviour + 0.2
        old[:12] = np.nan
        write_step(folder, n, answers(*FINE), behaviour_logp=behaviour, old_logp=old)
    (one,) = diagnose(folder).findings
    assert (one.cause, one.step) == ("ratio", 2)
    assert "by 0.2 nats a token" in one.evidence


def test_answers_that_do_not_end(tmp_path):
    """Eight answers are cut; four of them had said 17 in their first half."""
    goes_on = [("17, and so on and so on and so on", 0.0, 0.0, "length")] * 4
    other = [("so on and so on and so on", 0.0, 0.0, "length")] * 4
    given = [{"adv/absmax": 0.0, "trunc_rate": 1.0, "acc/mean": 0.0, "reward/mean": 0.0}] * 2
    (one,) = diagnose(write_run(tmp_path / "run", given, [*goes_on, *other])).findings
    assert one.cause == "endless"
    assert "8 of 8 answers were cut" in one.evidence
    assert "4 of them had the right answer" in one.evidence
    assert one.example == f"menon show {tmp_path / 'run'} step=2 group=0 answer=0"


def test_the_nearest_to_the_cause_comes_first_and_consequences_are_left_out(tmp_path):
    lines = [{}, *[{"repeat_score": 0.4, "trunc_rate": 0.9, "reward/failed": 4.0, "groups/varied": 0.0}] * 4]
    assert causes(write_run(tmp_path / "run", lines)) == ["graders", "repetition"]


# What cannot be read


def test_damaged_files_are_said_and_the_rest_works(tmp_path):
    folder = write_run(tmp_path / "run", [{"trunc_rate": 0.5}] * 4)
    transcripts = folder / "transcripts"
    (transcripts / "step_000002.parquet").write_bytes(b"PAR1 and then nothing")
    with (transcripts / "step_000003.parquet").open("r+b") as file:
        file.truncate(200)
    (transcripts / "step_000004.parquet.12345678.tmp").write_bytes(b"half")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "trunc_ra')
    found = diagnose(folder)
    assert [one.cause for one in found.findings] == ["cut"]
    assert [note.split(" cannot")[0] for note in found.notes] == [
        "transcripts of step 2",
        "transcripts of step 3",
    ]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join([lines[0], "{broken", *lines[1:4]]) + "\n")
    assert "metrics.jsonl is damaged after 1 lines" in diagnose(folder).notes[0]


def test_values_of_another_kind_are_left_out(tmp_path):
    lines = [{"trunc_rate": 0.5, "entropy/mean": "high", "reward/std": [1], "len/mean": True}] * 3
    assert causes(write_run(tmp_path / "run", lines)) == ["cut"]


def test_settings_and_evaluations_of_another_kind(tmp_path):
    odd = {
        "source": {"max_new_tokens": 9, "reward": 7},
        "objective": ["x"],
        "advantage": "y",
        "engine": {"dtype": 3},
    }
    lines = [{"trunc_rate": 0.5, "entropy/mean": 0.001, "len/mean": 1.0}] * 4
    folder = write_run(tmp_path / "run", lines, settings=odd, evaluations=[{"step": 0, "accuracy": "x"}] * 2)
    (folder / "events.jsonl").write_text('{"kind": 3}\n{"step": 1}\n')
    found = diagnose(folder)
    assert "cut" in [one.cause for one in found.findings]
    assert any("of another kind" in note for note in found.notes)


def test_an_earlier_format_without_texts_and_events(tmp_path):
    old = {"max_new_tokens": 30, "prompts_per_step": 8, "samples_per_prompt": 8, "seed": 0, "steps": 4}
    folder = write_run(
        tmp_path / "run", [{"trunc_rate": 0.5}] * 4, given=None, about={"settings": {**old, "recipe": "grpo"}}
    )
    found = diagnose(folder)
    assert [one.cause for one in found.findings] == ["cut"]
    assert found.findings[0].example == ""
    assert "there are no transcripts" in found.notes[0]


def test_folders_without_a_run(tmp_path, capsys):
    with pytest.raises(NoRun):
        diagnose(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        diagnose(tmp_path)
    assert main(["diagnose", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "run.json").write_text(json.dumps({"format": 2, "settings": SETTINGS}))
    found = diagnose(tmp_path)
    assert found.findings == ()
    assert "no step is recorded yet" in found.notes[0]


def test_how_a_run_ended(tmp_path):
    folder = write_run(tmp_path / "run", [{}] * 2)
    (folder / "report.json").unlink()

    def end(*events):
        text = "".join(json.dumps({"step": 2, **event}) + "\n" for event in events)
        (folder / "events.jsonl").write_text(text)
        return diagnose(folder).findings

    start = {"kind": "session_started", "process": os.getpid()}
    (killed,) = end(start)
    assert (killed.cause, "left no word" in killed.evidence) == ("failed", True)
    failed = {"kind": "session_ended", "why": "failed", "error": "no space left on the device"}
    (full,) = end(start, failed)
    assert "no space left on the device" in full.evidence
    assert f"menon train --resume {folder}" in full.setting
    (graders,) = end(start, failed | {"error": "the reward failed on 30 of 64 answers in step 3: x"})
    assert graders.cause == "graders"
    assert end(start, {"kind": "session_ended", "why": "stopped"}) == ()


def test_the_errors_that_end_a_run_begin_as_here(tmp_path):
    """The words of `loop.check_agreement` and of the weight channels, which ENDED looks for."""
    from menon.loop import Agreement, Run

    class Plan:
        updates = ()

    run = Run(Plan(), None, None, None, 1, agreement=Agreement(1e-4, stops=True))  # type: ignore[arg-type]
    report = StepReport(1, {"mismatch/abs": 0.5}, (), {}, np.zeros(1, np.int64))
    with pytest.raises(UserError) as raised:
        check_agreement(run, report, print)
    assert str(raised.value).startswith(ENDED[0][1])
    from pathlib import Path

    import menon

    source = "".join(
        (Path(menon.__file__).parent / name).read_text()
        for name in ("loop.py", "sync/by_copy.py", "sync/by_reference.py")
    )
    assert [begins for _, begins, _ in ENDED if begins not in source] == []


def test_a_long_run_is_read_at_its_ends(tmp_path):
    folder = write_run(tmp_path / "run", [{}] * (MOST_READ + 30), given=None)
    for n in range(1, MOST_READ + 31):
        os.makedirs(folder / "transcripts", exist_ok=True)
        (folder / "transcripts" / f"step_{n:06d}.parquet").write_bytes(b"")
    found = diagnose(folder)
    assert len(found.notes) == MOST_READ + 1  # all of them are damaged, and 30 are not read
    assert f"of the answers those of the first {MOST_READ // 10}" in found.notes[0]


# The command


def test_the_command(tmp_path, capsys):
    folder = write_run(tmp_path / "run", [{"trunc_rate": 0.5}] * 3)
    (folder / "transcripts" / "step_000003.parquet").write_bytes(b"")
    assert main(["diagnose", str(folder), "json=false"]) == 0
    text = capsys.readouterr().out
    assert f"menon diagnose  {folder}, finished, 3 steps" in text
    assert "  cut, from step 2 on\n    50% of the answers of the last 2 steps were cut" in text
    assert "    change: raise max_new_tokens\n" in text
    assert "transcripts of step 3 cannot be read" in text
    assert main(["diagnose", str(folder), "--json"]) == 0
    printed = capsys.readouterr()
    (one,) = json.loads(printed.out)
    assert sorted(one) == ["cause", "evidence", "example", "setting", "step"]
    assert printed.err.startswith("menon: transcripts of step 3 cannot be read")
    assert main(["diagnose", str(write_run(tmp_path / "well", [{}] * 3)), "json=false"]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["diagnose"]) == 2
