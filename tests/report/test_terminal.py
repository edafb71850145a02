"""What a person reads during a run."""

import io
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import prompt
from menon.report.terminal import (
    START,
    Live,
    Terminal,
    compared,
    header_lines,
    numbers_of,
    sample_of,
    starting,
    summary,
    terminal,
)
from menon.report.text_lines import duration, printable, shortened
from menon.types import Finish, Graded, Rollout, StepReport, Verdict

HEADER = {"recipe": "grpo", "model": "base, 0.89 M parameters", "task": "chain_sum"}
METRICS = {
    "acc/mean": 0.25,
    "reward/mean": -0.5,
    "len/mean": 12.34,
    "entropy/mean": 0.5,
    "clip/frac": 0.02,
    "tokens/generated": 600,
    "time/step": 2.0,
}


def graded(
    text: str, acc: float = 1.0, finish: Finish = "stop", score: float | None = None, error: str = ""
) -> Graded:
    asked = prompt(0, "1+2=", "3")
    tokens = np.concatenate([asked.tokens, np.zeros(2, dtype=np.int32)])
    nothing = np.zeros(len(tokens), dtype=np.float32)
    rollout = Rollout(
        asked,
        tokens,
        nothing > 0,
        nothing,
        nothing,
        nothing,
        np.zeros(len(tokens), dtype=np.int32),
        finish,
        text,
        group=0,
    )
    return Graded(rollout, Verdict(acc if score is None else score, acc, error=error))


def report(step: int, **metrics: float) -> StepReport:
    return StepReport(step, METRICS | metrics, (graded("#3"),), {}, np.zeros(1, dtype=np.int64), "f")


BEFORE = {
    "accuracy": 0.125,
    "accuracy_low": 0.05,
    "accuracy_high": 0.2,
    "mean_length": 9.96,
    "entropy": 1.0,
}


def play(watch: Terminal) -> None:
    with watch:
        watch.started(Path("runs/a"), 1, 12)
        watch.evaluated(0, BEFORE)
        watch.stepped(report(1))
        watch.stepped(report(2))
        watch.notify("something happened")
        watch.finished(
            {
                "wall_s": 61.2,
                "steps": 12,
                "generated_tokens": 12345,
                "before": BEFORE,
                "after": {"accuracy": 0.75, "mean_length": 19.0, "entropy": 0.25},
            }
        )


def test_plain_lines():
    stream = io.StringIO()
    watch = terminal(HEADER, stream)
    assert type(watch) is Terminal
    play(watch)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("menon ")
    assert lines[0].endswith("grpo")
    assert "  model    base, 0.89 M parameters" in lines
    assert "  folder   runs/a" in lines
    assert "held out, before:  accuracy 0.125 (0.05 to 0.20)  length 10.0  entropy 1.000 nats" in lines
    steps = [line for line in lines if line.startswith("step")]
    assert steps == [
        f"step  {step}/12  train accuracy 0.250  reward -0.500  length  12.3  entropy 0.500 nats  "
        f"clipped 0.020  tokens/s    300  {left} left"
        for step, left in ((1, "0:22"), (2, "0:20"))
    ]
    assert "menon: something happened" in lines
    assert "  accuracy at temperature 1        0.125 (0.05 to 0.20) >                0.750" in lines
    assert "12 steps, 12,345 tokens written, 1:01" in lines
    assert "  the model      runs/a/checkpoints/step_000012" in lines
    assert "  go on          menon train --resume runs/a steps=24" in lines
    assert lines[-1] == "what the numbers mean: menon help metrics"
    assert lines.index("evaluating the model before training ...") < lines.index(
        "held out, before:  accuracy 0.125 (0.05 to 0.20)  length 10.0  entropy 1.000 nats"
    )
    assert "\x1b" not in stream.getvalue()


def test_the_time_left_has_the_last_evaluation(monkeypatch):
    """Eight seconds before the first step, and so after the last; two seconds a step."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    watch = Terminal(HEADER, stream)
    watch.started(Path("runs/a"), 1, 12)
    now[0] = 108.0
    watch.evaluated(0, {})
    watch.stepped(report(2))
    now[0] = 150.0
    watch.evaluated(6, {})
    watch.stepped(report(12))
    ends = [line.rpartition("  ")[2] for line in stream.getvalue().splitlines() if line.startswith("step")]
    assert ends == ["0:28 left", "0:08 left"]


def test_the_samples_are_few():
    stream = io.StringIO()
    watch = Terminal(HEADER, stream)
    watch.started(Path("runs/a"), 1, 12)
    for step in range(1, 13):
        watch.stepped(report(step))
    assert stream.getvalue().count("    | #3") == 6


def test_a_resumed_run_says_where_it_goes_on():
    stream = io.StringIO()
    Terminal(HEADER, stream).started(Path("runs/a"), 8, 12)
    assert "  going on after step 7" in stream.getvalue().splitlines()


def test_letters_that_a_stream_cannot_hold():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Terminal(HEADER, stream).say("é \N{REPLACEMENT CHARACTER}")
    assert raw.getvalue() == b"? ?\n"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_live_terminal_shows_the_same(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    watch = terminal(HEADER, screen)
    assert type(watch) is Live
    play(watch)
    text = screen.getvalue()
    for part in ("\x1b[", "step 2/12", "0:20 left", "something happened", "0.750", "runs/a"):
        assert part in text
    monkeypatch.setenv("COLUMNS", "50")
    assert type(terminal(HEADER, Screen())) is Terminal


def test_a_run_that_is_prepared_says_so_until_its_header(monkeypatch):
    """On a terminal alone; an error takes the line away as well."""
    monkeypatch.setenv("COLUMNS", "100")
    screen = Screen()
    with starting(screen) as show:
        assert screen.getvalue() == START
        assert type(show(HEADER)) is Live
        assert screen.getvalue() == START + "\r\x1b[K"
    assert screen.getvalue().count("\r") == 1
    failed = Screen()
    with pytest.raises(ValueError, match="no such file"), starting(failed):
        raise ValueError("no such file")
    assert failed.getvalue() == START + "\r\x1b[K"
    plain = io.StringIO()
    with starting(plain) as show:
        assert type(show(HEADER)) is Terminal
    assert plain.getvalue() == ""


def test_a_long_line_of_the_header_is_folded_below_itself():
    text = "up to 1,024 tokens (max_new_tokens; the context of 8,192 leaves room)"
    lines = [label + line for label, line in header_lines({"recipe": "grpo", "answers": text}, 50)]
    assert lines == [
        "  answers  up to 1,024 tokens (max_new_tokens; the",
        "           context of 8,192 leaves room)",
    ]
    assert len("".join(next(header_lines({"answers": text}, 80)))) <= 80


def test_no_number_is_torn_from_its_label(monkeypatch):
    """On 80 columns the numbers of a step take two lines, and so do those of an evaluation."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    watch = terminal(HEADER, screen)
    with watch:
        watch.started(Path("runs/a"), 1, 12)
        long = {"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75, "mean_length": 124.0}
        both = {name.replace("accuracy", "reward"): value for name, value in long.items()}
        watch.evaluated(0, long | both)
        watch.stepped(report(1))
    shown = [line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).splitlines()]
    assert "held out, before:  accuracy 0.500 (0.25 to 0.75)  reward 0.500 (0.25 to 0.75)" in shown
    assert "length 124.0  entropy 0.000 nats" in shown
    assert "clipped 0.020  tokens/s    300" in shown


def test_the_time_left_follows_the_steps():
    watch = Terminal(HEADER, io.StringIO())
    watch.started(Path("runs/a"), 1, 11)
    watch.stepped(report(1, **{"time/step": 10.0}))
    assert watch.left(report(1)) == "1:40"
    watch.stepped(report(2, **{"time/step": 5.0}))  # .8 * 10 + .2 * 5 = 9 s for each of 9 steps
    assert watch.left(report(2)) == "1:21"


@pytest.mark.parametrize(
    ("answer", "mark"),
    [
        (graded("#3"), "right"),
        (graded("#4", 0.0), "wrong, the answer is 3"),
        (graded("#4", 0.0, "length"), "wrong, the answer is 3 (cut at max_new_tokens)"),
        (graded("#4", 0.5, score=0.25), "reward 0.25, the answer is 3"),
        (graded("#4", float("nan"), error="it raised"), "could not be graded: it raised"),
    ],
)
def test_a_verdict_in_words(answer, mark):
    assert sample_of(answer)[2] == mark


def test_a_models_text_cannot_steer_the_terminal():
    question, lines, _ = sample_of(graded("a\x1b[2Jb\r\tc\x07\n[red]d[/red]\n" + "x" * 150))
    assert question == ["1+2="]
    assert lines[0] == "a\N{REPLACEMENT CHARACTER}[2Jb  c\N{REPLACEMENT CHARACTER}"
    assert lines[1] == "[red]d[/red]"
    assert lines[2:] == ["x" * 110, "x" * 40]
    assert printable("é\N{RIGHT-TO-LEFT OVERRIDE}") == "é\N{REPLACEMENT CHARACTER}"


def test_a_long_answer_is_cut_in_the_middle():
    _, lines, _ = sample_of(graded("\n".join(map(str, range(100)))))
    told = ["0", "1", "2", "3", "4", "5", "... (88 lines)", "94", "95", "96", "97", "98", "99"]
    assert lines == told
    _, lines, _ = sample_of(graded("so " * 800 + "the answer is 3"), 40)
    assert lines[-1].endswith("the answer is 3")
    assert max(map(len, lines)) <= 40


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("What is 1+2?", ["What is 1+2?"]),
        ([{"role": "system", "content": "Add."}, {"role": "user", "content": "1 and 2?"}], ["1 and 2?"]),
        ("a " * 100, ["a " * 54 + "a", "a " * 45]),
    ],
)
def test_the_question_is_that_of_the_row(question, told):
    one = graded("#3")
    asked = replace(one.rollout.prompt, text="<|user|>1+2?<|bot|>", columns={"question": question})
    shown, _, _ = sample_of(replace(one, rollout=replace(one.rollout, prompt=asked)))
    assert [line.strip() for line in shown] == [line.strip() for line in told]


def test_without_a_truth_there_is_no_accuracy():
    numbers = dict(METRICS)
    del numbers["acc/mean"]
    one = StepReport(1, numbers, (), {}, np.zeros(1, dtype=np.int64), "")
    assert [label for label, _, _ in numbers_of(one)][:2] == ["reward", "length"]
    side = {"reward": -0.25, "reward_low": -0.5, "reward_high": 0.0, "best_reward": 0.5, "n": 9.0}
    told = compared(side, side | {"reward": 2.0})
    assert told[0].startswith("on 9 held-out questions")
    assert told[1].split("  ")[1] == "reward at temperature 1"
    assert told[1].endswith("-0.250 (-0.50 to 0.00) >  2.000 (-0.50 to 0.00)")
    assert told[2].split()[-3:] == ["0.500", ">", "0.500"]
    assert told[3] == "  the reward does not say which answers are right, so no accuracy is shown"


def test_the_table_fits_on_a_terminal_of_80_columns():
    numbers = {
        "accuracy": 0.23,
        "accuracy_low": 0.17,
        "accuracy_high": 0.29,
        "best_accuracy": 1.0,
        "n": 200.0,
    }
    assert max(map(len, compared(numbers, numbers))) <= 78


def test_small_words():
    assert [duration(s) for s in (0, 59.6, 3599, 3700)] == ["0:00", "1:00", "59:59", "1:01:40"]
    assert shortened(list("abcdefg"), 4) == ["a", "b", "... (3 lines)", "f", "g"]
    empty = StepReport(1, {}, (), {}, np.zeros(1, dtype=np.int64), "")
    assert [text for _, text, _ in numbers_of(empty)] == ["0.0", "0.000 nats", "0.000", "0"]


def test_a_report_without_numbers_can_still_be_told():
    lines = summary({"before": None, "after": None, "steps": 3}, Path("runs/a"))
    assert "3 steps, 0 tokens written, 0:00" in lines
