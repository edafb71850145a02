import json

import pytest

from menon.cli import main

CASES = [
    {"id": "a", "gold": "1/2", "response": "\\boxed{0.5}", "expected": True, "kind": "fraction"},
    {"id": "b", "gold": "5", "response": "5", "expected": True, "mode": "answer", "kind": "number"},
    {"id": "c", "gold": "5", "response": "so it is 6", "expected": True, "kind": "number"},
    {"id": "d", "gold": "5", "response": "\\boxed{5.0}", "expected": False, "kind": "number"},
    {"id": "e", "gold": "5", "response": "\\boxed{5}", "expected": False, "disputed": True},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def last(capsys):
    return dict(pair.split("=") for pair in capsys.readouterr().out.splitlines()[-1].split())


def test_what_is_counted(tmp_path, capsys):
    """Two of four right; one label is wrong, so that it reads as a false accept; disputed ones do not
    count."""
    assert main(["check", "verifier", write(tmp_path / "cases.jsonl", CASES)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "5 cases, 1 of them disputed and not counted"
    assert out[2].split() == ["should", "be", "accepted", "2", "1", "0", "0", "0", "0"]
    assert out[3].split() == ["should", "be", "refused", "1", "0", "0", "0", "0", "0"]
    assert out[4] == "  number: 2 of 3 not right"
    assert out[5].startswith("  c refused in 0.")
    numbers = dict(pair.split("=") for pair in out[-1].split())
    assert list(numbers) == ["accuracy", "false_accepts", "over_limit", "errors", "median_ms", "mean_ms"]
    assert (numbers["accuracy"], numbers["false_accepts"], numbers["over_limit"], numbers["errors"]) == (
        "0.5000",
        "1",
        "0",
        "0",
    )


def test_a_late_or_failing_verdict_is_wrong(tmp_path, capsys):
    (tmp_path / "own.py").write_text(
        "import time\n\ndef slow(completion, answer, **rest):\n    time.sleep(0.2)\n    return 1.0\n\n"
        "def broken(completion, **rest):\n    raise ValueError\n"
    )
    late = [
        {"gold": "5", "response": "5", "expected": True, "must_return_within_s": 0.1, "group": "own-hostile"},
        CASES[0],
    ]
    file = write(tmp_path / "cases.jsonl", late)
    assert main(["check", "verifier", file, f"reward={tmp_path}/own.py:slow"]) == 1
    numbers = last(capsys)
    assert (numbers["accuracy"], numbers["over_limit"], numbers["errors"]) == ("0.5000", "1", "0")
    assert float(numbers["median_ms"]) < 2000
    assert main(["check", "verifier", file, f"reward={tmp_path}/own.py:broken"]) == 1
    assert last(capsys)["errors"] == "2"


def test_training_looks_for_results_more_strictly(tmp_path, capsys):
    file = write(tmp_path / "cases.jsonl", [{"gold": "5", "response": "so it is 5", "expected": True}])
    assert main(["check", "verifier", file]) == 0
    assert main(["check", "verifier", file, "ways=strict"]) == 1


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ("", [], "is empty; write one case per line"),
        ("{", [], "line 1: not JSON"),
        (
            '{"gold": "5", "response": "5"}',
            [],
            "'expected' must be true or false; a case has gold, response and expected",
        ),
        ('{"gold": 5, "response": "5", "expected": true}', [], "'gold' must be text"),
        (
            '{"gold": "5", "response": "5", "expected": true}',
            ["reward=mth"],
            "there is no reward 'mth'; did you mean 'math'?",
        ),
        (
            '{"gold": "5", "response": "5", "expected": true}',
            ["ways=all"],
            "choose strict, as in training, or lenient",
        ),
        ('{"gold": "5", "response": "5", "expected": true}', ["k=1"], "takes no 'k'; it takes reward, ways"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, capsys, content, words, said):
    file = tmp_path / "cases.jsonl"
    file.write_text(content)
    assert main(["check", "verifier", str(file), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_gold_answers_through_their_own_verifier(tmp_path, capsys):
    rows = [
        {"question": "?", "answer": answer}
        for answer in ("\\frac{1}{2}", "B", "\\boxed{7} apples", "no solution")
    ]
    file = write(tmp_path / "rows.jsonl", rows)
    assert main(["check", "data", file]) == 0
    assert last(capsys) == {"right": "4", "of": "4", "unreadable": "0"}
    assert main(["check", "data", file, "reward=choice"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "row 1: its own answer '\\\\frac{1}{2}' earns no reward"
    assert out[-1] == "right=1 of=4 unreadable=0"
    assert main(["check", "data", file, "reward=format"]) == 2
    assert "it is not known how an answer is stated for the reward 'format'" in capsys.readouterr().err


def test_the_check_as_json(tmp_path, capsys):
    cases = [("1/2", "0.5", True), ("1/2", "2", True)]
    file = tmp_path / "cases.jsonl"
    rows = [
        {"gold": gold, "response": f"\\boxed{{{said}}}", "expected": right} for gold, said, right in cases
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["check", "verifier", str(file), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["check"], found["good"]) == ("verifier", False)
    assert any("2 cases" in line for line in found["lines"])
