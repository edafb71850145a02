"""`menon check data`."""

import json

import pytest

from menon.cli import main
from menon.errors import UserError
from menon.sandbox.layers import pool

ADD = "def add(a, b): return a + b"
ROWS = {
    "right": ({"tests": ["assert add(1, 2) == 3"], "solution": ADD}, ""),
    "right, a fenced solution": (
        {"tests": ["assert add(1, 2) == 3"], "solution": f"So:\n```\n{ADD}\n```"},
        "",
    ),
    "right, without a solution": ({"tests": [{"input": "1", "output": "2"}]}, ""),
    "right, the second of several solutions": (
        {"tests": [{"input": "1", "output": "2"}], "solutions": ["print 2", "print(2)"]},
        "",
    ),
    "right, of CodeContests": (
        {
            "public_tests": {"input": ["1"], "output": ["2"]},
            "solutions": {"language": [2, 3], "solution": ["int main() {}", "print(2)"]},
        },
        "",
    ),
    "a wrong solution": (
        {"tests": ["assert add(1, 2) == 4"], "solution": ADD},
        "its own solution does not pass (fail: AssertionError)",
    ),
    "no tests": ({"tests": []}, "the row has no tests; it needs one of tests, "),
    "an empty test": ({"tests": [""]}, "a test is broken: it asserts nothing"),
    "no assertion in the second test": (
        {"tests": ["assert add(1, 2) == 3", "add(1, 2)"]},
        "a test is broken: it asserts nothing",
    ),
    "broken": ({"tests": ["assert add(1, 2 == 3"]}, "a test is broken: SyntaxError"),
    "weak": ({"tests": ["assert not add(0, 0)"]}, "its tests pass a program that does nothing"),
    "weak, of a class": (
        {"tests": ["assert Stack().pop() is None"]},
        "its tests pass a program that does noth",
    ),
    "no function": (
        {"tests": [{"input": "1", "output": "2", "testtype": "functional"}]},
        "a test has the testtype",
    ),
}


def test_rows_of_programming_tasks(tmp_path, capsys):
    try:
        pool("full")
    except UserError as error:
        pytest.skip(str(error))
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"question": name} | row) for name, (row, _) in ROWS.items()))
    assert main(["check", "data", str(file), "reward=code"]) == 1
    *said, last = capsys.readouterr().out.splitlines()
    faults = dict(line.removeprefix("row ").split(": ", 1) for line in said)
    wanted = {str(n): why for n, (_, why) in enumerate(ROWS.values(), start=1) if why}
    assert faults.keys() == wanted.keys()
    assert [faults[n] for n in wanted if not faults[n].startswith(wanted[n])] == []
    assert last == "right=5 of=13 unreadable=0"


def test_gold_answers(tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "q", "answer": "B"}\n{"question": "q", "answer": "?"}')
    assert main(["check", "data", str(file), "reward=choice"]) == 1
    assert "row 2: its own answer '?' earns no reward" in capsys.readouterr().out
    assert main(["check", "data", str(file), "reward=f1"]) == 2
    assert "it is not known how an answer is stated for the reward 'f1'" in capsys.readouterr().err


def test_columns_with_other_names(tmp_path, capsys):
    file = tmp_path / "fragen.jsonl"
    rows = [{"Frage": f"{n}+1=?", "Lösung": {"Wert": n + 1, "Weg": "..."}} for n in range(3)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["check", "data", str(file)]) == 1
    assert capsys.readouterr().out.splitlines()[0] == (
        "unreadable: all 3 rows: no question column and no answer column (there are 'Frage', 'Lösung'); set "
        "columns.question=Frage and columns.answer=NAME"
    )
    words = ["check", "data", str(file), "columns.question=Frage", "columns.answer=Lösung.Wert"]
    assert main(words) == 0
    assert capsys.readouterr().out == "right=3 of=3 unreadable=0\n"
    file.write_text(file.read_text(encoding="utf-8") + '\n{"Frage": "?"}', encoding="utf-8")
    assert main(words) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("unreadable: line 4: no column 'Lösung.Wert' for columns.answer")
    assert said[-1] == "right=3 of=3 unreadable=1"
    assert main([*words, "columns.anser=x"]) == 2
    assert "did you mean 'columns.answer'?" in capsys.readouterr().err
    assert main([*words[:3], "reward.kind=math"]) == 2
    assert "belongs to a dry run, which needs model=" in capsys.readouterr().err
