"""Nothing that a model, a program or a folder says steers the terminal."""

import io
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from menon.cli import main
from menon.printable import PrintableStream, console, printable
from menon.report.terminal import starting, terminal

STEERING = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\r\x08\x9b2J\u202egnp\u2066\u200b\ud800"


def steers(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\n"] + [
        c for c in text if c in "\u202e\u2066\u200b\u200e\u200f\ufeff"
    ]


def test_every_character_that_steers_is_replaced():
    assert not steers(printable(STEERING, keep=""))
    every = "".join(map(chr, range(0x110000)))
    assert not steers(printable(every, keep=""))
    whole = "a-z é 漢字 🙂👩\u200d👩 \u0627\u0644\u0639 می\u200cخواهم \xa0 ±≤∑"
    assert printable(whole) == whole


def test_a_stream():
    out = io.StringIO()
    stream = PrintableStream(out)
    print("a\tb", STEERING, "c", sep="|", file=stream)
    stream.writelines(["x\x1b", "y\n"])
    assert not steers(out.getvalue())
    assert out.getvalue().startswith("a    b|")
    assert out.getvalue().endswith("x\N{REPLACEMENT CHARACTER}y\n")
    assert stream.getvalue() is not None  # all else is the stream's


def test_progress_bars_of_libraries_are_drawn():
    err = io.StringIO()
    stream = PrintableStream(err, progress=True)
    stream.write("\r 10%|#  |")
    stream.write("\n\x1b[A\rmore \x1b[2J")
    assert err.getvalue() == "\r 10%|#  |\n\x1b[A\rmore \N{REPLACEMENT CHARACTER}[2J"


def test_colours_are_ours_alone():
    from rich.text import Text

    out = io.StringIO()
    printer = console(PrintableStream(out), force_terminal=True, color_system="standard")
    printer.print(Text(STEERING, style="green"))
    assert out.getvalue().startswith("\x1b[32m")
    assert not steers(out.getvalue().replace("\x1b[32m", "").replace("\x1b[0m", "").rstrip("\n"))


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_live_view_moves_the_cursor_and_its_texts_do_not():
    out = Screen()
    with starting(PrintableStream(out)):
        pass
    assert "\r\x1b[K" in out.getvalue()
    with terminal({"recipe": "grpo", "data": STEERING}, PrintableStream(io.StringIO())) as view:
        view.started(Path("runs") / "a\x1b[2J", 1, 1)
        assert not steers(view.stream.getvalue())


@pytest.fixture
def hostile_run(tmp_path):
    folder = tmp_path / "run\x1b[2J"
    folder.mkdir()
    settings = {"recipe": STEERING.replace("\ud800", ""), "model": "m\x1b[31m", "seed": 1, "steps": 2}
    (folder / "run.json").write_text(json.dumps({"format": 2, "settings": settings}))
    event = {"kind": "warned", "step": 1, "sign": "x\x1b[2J", "sentence": "y"}
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "{folder}"],
        ["report", "{folder}/run\x1b[2J"],
        ["show", "{folder}/run\x1b[2J", "step=1"],
        ["compare", "{folder}/run\x1b[2J"],
        ["check", "code", "{folder}/no\x1b[2J.jsonl"],
        ["check", "verifier", "{folder}/cases\x1b.jsonl"],
        ["check", "data", "{folder}/cases\x1b.jsonl"],
        ["train", "gr\x1b[2Jpo"],
        ["eval", "no\x1b[2J"],
    ],
)
def test_commands(hostile_run, capsys, words):
    row = {"question": STEERING[:-1], "answer": "4\x1b[2J", "response": STEERING[:-1], "label": "?\x1b"}
    (hostile_run / "cases\x1b.jsonl").write_text(json.dumps(row) + "\n")
    main([word.replace("{folder}", str(hostile_run)) for word in words])
    said = capsys.readouterr()
    assert said.out + said.err
    assert not steers(said.out + said.err)


def test_a_program_that_steers_the_terminal(shared):
    done = subprocess.run(
        [sys.executable, "-m", "menon", "check", "code", str(shared / "cases" / "terminal.jsonl")],
        capture_output=True,
    )
    said = (done.stdout + done.stderr).decode()
    assert "owned" in said  # the reason is shown
    assert not steers(said)


def test_a_stack_trace_does_not_steer(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "menon", "--debug", "runs", "no\x1b[2J"], capture_output=True, cwd=tmp_path
    )
    assert b"Traceback" in done.stderr
    assert not steers(done.stderr.decode())
