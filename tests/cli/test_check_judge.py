"""`menon check judge`: what it counts, prints and refuses."""

import json

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.judging import asked_of
from menon.cli import main
from menon.cli.check_judge import disagreed
from menon.engines.hf_models import export
from menon.eval.agreement import agreement, bins_of, lines_of
from menon.reward.judge import Judge

CASES = [
    {"question": "Capital?", "gold": "Rome", "response": "Roma", "expected": True},
    {"question": "Capital?", "gold": "Rome", "response": "Paris", "expected": False},
    {"question": "Capital?", "gold": "Rome", "response": "Rom", "expected": True},
    {"question": "Capital?", "gold": "Rome", "response": "Oslo", "expected": False},
    {"question": "Capital?", "gold": "Rome", "response": "unclear", "expected": False},
    {"question": "Capital?", "gold": "Rome", "response": "lost", "expected": True},
]
REPLIES = {
    "Roma": ("YES", {"YES": 0.9, "NO": 0.1}),
    "Paris": ("YES", {"YES": 0.6, "NO": 0.2}),
    "Rom": ("NO", {"YES": 0.25, "NO": 0.75}),
    "Oslo": ("NO", {"YES": 0.05, "NO": 0.95}),
    "unclear": ("perhaps", {}),
    "lost": ValueError("too long"),
}


def complete(prompts):
    return [REPLIES[prompt.split("|")[1]] for prompt in prompts]


def judged(soft: bool = True):
    judge = Judge(complete, soft=soft, renorm=soft, prompt="{question}|{final_step}|{reference}")
    return judge.many([asked_of(case) for case in CASES])


def test_the_numbers():
    """Of five verdicts three are as labelled: yes no no no no against yes, no, yes, no, no with Paris yes.
    p_o = 3/5, p_e = 2/5 2/5 + 3/5 3/5 = 13/25, kappa (15 - 13) / (25 - 13)."""
    found = agreement(CASES, judged(), soft=True)
    assert (found.cases, found.failed, found.unparsable) == (6, 1, 1)
    assert found.share == pytest.approx(3 / 5)
    assert found.kappa == pytest.approx(1 / 6)
    assert [(b.count, b.expected, b.observed) for b in found.bins] == [
        (1, pytest.approx(0.05), 0),
        (1, pytest.approx(0.25), 1),
        (1, pytest.approx(0.75), 0),
        (1, pytest.approx(0.9), 1),
    ]
    assert lines_of(found) == [
        "6 labelled answers, 1 without a verdict, 1 replies that are neither yes nor no",
        "agreement 0.600, kappa 0.167, calibration error 0.412",  # (.05 + .75 + .75 + .1) / 4
    ]
    assert bins_of(found.bins)[2] == "0.2 to 0.3                1     0.250     1.000"


def test_what_is_shown_of_it():
    assert disagreed(CASES, judged()) == [
        "no verdict: the judge gave no reply: ValueError: too long",
        "  says yes (0.75): 'Paris' for 'Rome'",
        "  says no (0.25): 'Rom' for 'Rome'",
    ]


def test_without_probabilities():
    found = agreement(CASES, judged(soft=False), soft=False)
    assert found.kappa == pytest.approx(1 / 6)
    assert found.bins == []
    assert lines_of(found)[1] == "agreement 0.600, kappa 0.167"


def test_the_command(tmp_path, capsys):
    """A random model says nothing that can be read, and so no; two of three labels are yes."""
    model, cases = tmp_path / "judge", tmp_path / "cases.jsonl"
    export(tiny_model("qwen3", 1), tiny_tokenizer(), model)
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("{question} {final_step} {reference}:")
    cases.write_text("".join(json.dumps(case) + "\n" for case in CASES[:3]))
    assert main(["check", "judge", str(cases), f"model={model}", f"prompt={prompt}", "max_new_tokens=4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 labelled answers, 0 without a verdict, 3 replies that are neither yes nor no"
    assert lines[1] == "agreement 0.333, kappa 0.000"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=x", "max_new_tokens=few"], "one is a number of tokens, like 16, the other true or false"),
        (["model=x", "ways=strict"], "menon check judge takes no 'ways'; it takes model, url, prompt"),
        ([], "a judge needs a model"),
    ],
)
def test_refused(words, said, tmp_path, capsys):
    cases = tmp_path / "cases.jsonl"
    cases.write_text(json.dumps(CASES[0]) + "\n")
    assert main(["check", "judge", str(cases), *words]) == 2
    assert said in capsys.readouterr().err
