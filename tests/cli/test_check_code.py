import json

import pytest

from menon.cli import main
from menon.cli.check_code import check_case, check_code, listening, named_in, ports
from menon.cli.doctor import doctor
from menon.errors import UserError
from menon.sandbox import layers as module
from menon.sandbox.layers import Layers, pool


@pytest.fixture(autouse=True)
def full():
    try:
        pool("full")
    except UserError as error:
        pytest.skip(str(error))


def case(solution: str, expected: str, **more) -> dict:
    tests = [{"input": "1 2\n", "output": "3\n"}]
    return {
        "id": "x",
        "name": "a case",
        "solution": solution,
        "tests": tests,
        "expected": expected,
        "timeout_s": 2,
        **more,
    }


def test_the_last_line_counts(tmp_path, capsys):
    cases = [
        case("a, b = map(int, input().split())\nprint(a + b)", "pass"),
        case("print(3)", "fail"),  # a label that is wrong
        case("open('/etc/passwd')", "fail", also_accepted=["sandbox"], hostile=True),
        case("print(3)", "fail", hostile=True),
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, cases)))
    assert check_code(str(tmp_path / "cases.jsonl")) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "right=2 of=4 escapes=1"
    assert "x a case: expected fail, got pass ()" in said
    assert any("ESCAPE: a hostile program passed" in line for line in said)


def test_a_case_that_is_late_is_wrong():
    late = check_case(
        case("import time\ntime.sleep(0.5)\nprint(3)", "pass", must_return_within_s=0.4), "full"
    )
    assert late.faults


def test_files_that_it_names_are_its_own(tmp_path):
    assert named_in("escape_marker", "open('escape_marker')")
    assert named_in("f17", "open('f%d' % i)") is False
    assert named_in("spam17", "open('spam%d' % i)")
    assert not named_in("somebody_elses", "print(1)")


def test_a_written_file_is_an_escape(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def writes(reward, case):
        (tmp_path / "escape_marker").write_text("x")
        return "fail", ""

    monkeypatch.setattr("menon.cli.check_code.outcome_of", writes)
    judged = check_case(case("open('escape_marker', 'w')", "fail"), "full")
    assert judged.escapes == [f"{tmp_path}/escape_marker was written"]


def test_a_visit_is_an_escape():
    import socket

    escapes: list[str] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    setup = {"listener": {"host": "127.0.0.1", "port": port}}
    with listening(setup, escapes), socket.create_connection(("127.0.0.1", port)) as visitor:
        assert visitor.recv(1) == b""
    assert escapes == [f"a program reached 127.0.0.1:{port}"]
    assert (ports({"port": 8765}), ports("127.0.0.1:8765"), ports(8765), ports(None)) == (
        [8765],
        [8765],
        [8765],
        [],
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("{", "line 1: not JSON"),
        ('{"id": 1}', "line 1: no 'solution'"),
        ("[]", "line 1: no 'id'"),
    ],
)
def test_bad_files(tmp_path, text, why):
    (tmp_path / "cases.jsonl").write_text(text)
    with pytest.raises(UserError, match=why):
        check_code(str(tmp_path / "cases.jsonl"))
    with pytest.raises(UserError, match="there is no file"):
        check_code(str(tmp_path / "nothing.jsonl"))


def test_doctor_tells_what_is_missing(capsys, monkeypatch):
    assert doctor() == 0
    assert "landlock + seccomp" in capsys.readouterr().out
    monkeypatch.setattr(
        module, "layers", lambda: Layers(("process", "limits", "seccomp"), ("landlock", "namespaces"))
    )
    assert doctor() == 1
    said = capsys.readouterr().out
    assert "no landlock: needs Linux 5.13" in said
    assert "refuse to start unless you accept this by sandbox=without_landlock" in said
    with pytest.raises(UserError, match="takes no settings"):
        doctor(["steps=3"])


def test_the_shared_cases_that_are_not_slow(shared):
    """All of them, with times: benchmarks/results/code_cases.md."""
    lines = (shared / "data" / "code_cases.jsonl").read_text(encoding="utf-8").split("\n")
    cases = [json.loads(line) for line in lines if line.strip()]
    quick = [c for c in cases if c["expected"] not in ("timeout", "memory")]
    assert len(quick) == 37
    wrong = [(c["name"], faults) for c in quick if (faults := check_case(c, "full").faults)]
    assert wrong == []


def test_the_shared_cases_of_the_field(shared):
    lines = (shared / "data" / "code_cases_field.jsonl").read_text(encoding="utf-8").splitlines()
    wrong = [(c["name"], faults) for c in map(json.loads, lines) if (faults := check_case(c, "full").faults)]
    assert (len(lines), wrong) == (12, [])


def test_the_command(tmp_path, capsys):
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps(case("print(3)", "pass")))
    assert main(["check", "code", str(file), "sandbox=without_landlock"]) == 0
    assert capsys.readouterr().out.endswith("right=1 of=1 escapes=0\n")
    assert main(["check", "code"]) == 2
    assert "what to check and a file" in capsys.readouterr().err
    assert main(["check", "cod", str(file)]) == 2
    assert main(["check", "code", str(file), "steps=3"]) == 2
    assert "takes no 'steps" in capsys.readouterr().err
