"""`menon eval` and `menon compare`: a table, a JSON line, a file; one sentence for every mistake."""

import json
import shutil
from pathlib import Path

import pytest

import menon
from helpers import tiny_model, tiny_tokenizer
from menon.base import WEIGHTS
from menon.cli import main
from menon.cli import words as words_of
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.eval.config import read_result
from tiny_run import Watching, opened, tiny_run

SMALL = ("threads=1", "device=cpu", "max_new_tokens=24")


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A random model in an ordinary folder."""
    path = tmp_path_factory.mktemp("model")
    export(tiny_model("qwen3"), tiny_tokenizer(), path)
    return path


def jsonl(path: Path, rows: int) -> Path:
    path.write_text(
        "".join(json.dumps({"question": f"{i}+{i}=", "answer": 2 * i}) + "\n" for i in range(rows))
    )
    return path


def evaluated(capsys, *words: str) -> tuple[str, dict]:
    """What is printed, and its last line."""
    assert main(["eval", *words, *SMALL]) == 0
    text = capsys.readouterr().out
    return text, json.loads(text.splitlines()[-1])


def refused(capsys, *words: str) -> str:
    assert main(list(words)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("menon: ").rstrip("\n")


def test_json_is_for_programs(capsys, monkeypatch, tmp_path):
    """The last line is JSON where stdout is no terminal, or where it is asked for."""
    words = ["eval", "base", "task=chain_sum", "n=2", *SMALL]

    def last_line(name: str, *more: str) -> str:
        assert main([*words, f"out={tmp_path / name}", *more]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert json.loads(last_line("a"))["n"] == 2
    assert last_line("b", "json=false") == f"  every sample's verdict is in {tmp_path / 'b'}"
    monkeypatch.setattr(words_of, "on_terminal", lambda: True)
    assert last_line("c") == f"  every sample's verdict is in {tmp_path / 'c'}"
    assert json.loads(last_line("d", "json=true"))["n"] == 2
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "c")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("  McNemar")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "c"), "json=true"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["n"] == 2
    assert refused(capsys, *words, "json=yes") == "json is 'yes'; it takes true or false"


def test_the_shipped_base_on_its_task(tmp_path, capsys):
    out = tmp_path / "deep" / "a.json"
    text, numbers = evaluated(capsys, "base", "task=chain_sum", "n=12", "k=4", f"out={out}")
    result, items = read_result(out)
    assert (numbers["n"], numbers["samples"], numbers["source"]) == (12, 4, "chain_sum")
    assert numbers["avg@4"] == pytest.approx(sum(sum(item.acc) for item in items) / 48)
    assert numbers["avg@4"] == result["numbers"]["avg@4"]["value"]
    assert numbers["pass@4"] == sum(any(item.acc) for item in items) / 12
    assert {"pass@1", "pass@2", "maj@4", "cons@4", "mean_length"} <= numbers.keys()
    low, high = numbers["avg@4_interval"]
    assert low < numbers["avg@4"] < high
    assert f"  avg@4       {numbers['avg@4']:.3f}   {low:.3f} to {high:.3f}" in text
    assert (
        result["settings"]["max_new_tokens"],
        result["settings"]["template"],
        result["settings"]["seed"],
    ) == (24, "none", 0)
    assert len(result["weights"]) == 32
    for item in items:  # the stated answers are those of the graded texts
        assert [float(stated == item.answer) for stated in item.stated] == list(item.acc)


def test_the_same_command_gives_the_same_verdicts_and_samples_only_add(tmp_path, capsys):
    words = ("base", "task=chain_sum", "n=6")
    evaluated(capsys, *words, "k=2", f"out={tmp_path / 'a.json'}")
    evaluated(capsys, *words, "k=2", f"out={tmp_path / 'b.json'}")
    evaluated(capsys, *words, "k=2", "samples=4", f"out={tmp_path / 'c.json'}")
    (_, a), (_, b), (_, c) = (read_result(tmp_path / f"{name}.json") for name in "abc")
    assert a == b
    assert [item.stated for item in a] == [item.stated[:2] for item in c]


def test_a_temperature_for_uncertain_tokens(tmp_path, capsys):
    def answers(*words: str) -> tuple[str, list]:
        text, _ = evaluated(
            capsys, "base", "n=8", "k=2", *words, f"out={tmp_path / str(len(list(tmp_path.iterdir())))}"
        )
        return text, [
            item.acc + item.length
            for item in read_result(sorted(tmp_path.iterdir(), key=lambda p: int(p.name))[-1])[1]
        ]

    text, hot = answers("forking_temperature=3", "entropy_threshold=.5")
    assert "temperature 1 (3 where the entropy is above 0.5)" in text
    _, plain = answers()
    _, same = answers("forking_temperature=1")
    _, never = answers("forking_temperature=3", "entropy_threshold=99")
    assert hot != plain
    assert plain == same == never
    assert refused(capsys, "train", "forking_temperature=1.2").startswith(
        "unknown setting 'forking_temperature'"
    )


def test_a_run_folder_and_its_newest_checkpoint_are_models(tmp_path, capsys):
    """Here the run is a stand-in: the shipped weights under the names of a checkpoint."""
    run = tmp_path / "run"
    shutil.copytree(WEIGHTS, run / "checkpoints" / "step_000003")
    (run / "checkpoints" / "latest").symlink_to("step_000003")
    (run / "run.json").write_text('{"settings": {}}')
    words = ("task=chain_sum", "n=4")
    for name, model in {"a": "base", "b": run, "c": run / "checkpoints" / "latest"}.items():
        evaluated(capsys, str(model), *words, f"out={tmp_path / name}.json")
    (a, base), (b, items), (c, _) = (read_result(tmp_path / f"{name}.json") for name in "abc")
    assert items == base
    assert a["weights"] == b["weights"] == c["weights"]
    assert b["model_folder"].endswith("step_000003")


def test_a_real_run_is_a_model(tmp_path, capsys):
    from menon.loop import loop

    with opened(tmp_path / "run") as folder:
        loop(tiny_run(steps=1), folder, Watching())
    _, numbers = evaluated(
        capsys, str(tmp_path / "run"), f"data={jsonl(tmp_path / 'd.jsonl', 3)}", f"out={tmp_path / 'o.json'}"
    )
    assert numbers["n"] == 3


def test_a_file_of_ones_own(folder, tmp_path, capsys):
    data = jsonl(tmp_path / "sums.jsonl", 9)
    _, numbers = evaluated(
        capsys, str(folder), f"data={data}", "k=2", "template=Q: {q} A:", f"out={tmp_path / 'o.json'}"
    )
    assert (numbers["n"], numbers["source"]) == (9, str(data))
    _, items = read_result(tmp_path / "o.json")
    assert [item.answer for item in items] == [str(2 * i) for i in range(9)]
    _, some = evaluated(capsys, str(folder), f"data={data}", "n=4", f"out={tmp_path / 'p.json'}")
    _, chosen = read_result(tmp_path / "p.json")
    assert some["n"] == 4
    assert {item.key for item in chosen} < {
        item.key for item in items
    }  # another template, the same questions


def test_a_reward_of_ones_own_has_no_vote(folder, tmp_path, capsys):
    (tmp_path / "own.py").write_text(
        "def f(prompt, completion, answer):\n    return float(len(completion) % 2)\n"
    )
    words = (
        f"data={jsonl(tmp_path / 'd.jsonl', 4)}",
        "k=2",
        f"reward={tmp_path / 'own.py'}:f",
        f"out={tmp_path / 'o.json'}",
    )
    _, numbers = evaluated(capsys, str(folder), *words)
    assert "pass@2" in numbers
    assert not [name for name in numbers if name.startswith(("maj", "cons"))]
    assert 0 <= numbers["avg@2"] <= 1


def test_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = menon.evaluate("base", task="chain_sum", n=4, k=2, threads=1, max_new_tokens=16)
    (file,) = (tmp_path / "evaluations").iterdir()
    assert file.name.startswith("base-chain_sum-")
    assert numbers["avg@2"] == read_result(file)[0]["numbers"]["avg@2"]["value"]
    with pytest.raises(UserError, match="k is 0"):
        menon.evaluate("base", k=0, threads=1)


def test_compare(tmp_path, capsys):
    for name, temperature in (("a", 1), ("b", 0.3)):
        evaluated(capsys, "base", "n=20", f"temperature={temperature}", f"out={tmp_path / name}.json")
    a, b = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    assert main(["compare", a, b]) == 0
    text = capsys.readouterr().out
    found = json.loads(text.splitlines()[-1])
    means = [sum(item.acc[0] for item in read_result(Path(file))[1]) / 20 for file in (a, b)]
    assert [found["a"], found["b"]] == pytest.approx(means)
    assert found["difference"] == pytest.approx(means[1] - means[0])
    assert found["only_b"] - found["only_a"] == round(20 * found["difference"])
    assert "not alike: temperature 1.0 and 0.3" in text
    evaluated(capsys, "base", "n=19", f"out={tmp_path / 'c.json'}")
    assert refused(capsys, "compare", a, str(tmp_path / "c.json")) == (
        "the two results are of different questions (20 and 19, 19 of them the same); "
        "evaluate both on the same set with the same n"
    )


def test_mistakes_of_compare(tmp_path, capsys):
    assert refused(capsys, "compare", "a.json", "b.json", "c.json") == (
        "compare takes two results of `menon eval`, one run or more, or sets of runs with commas between "
        "their runs: menon compare A.json B.json, menon compare RUN, or menon compare a-0,a-1,a-2 b-0,b-1,b-2"
    )
    assert refused(capsys, "compare", "a.json") == (
        "a.json holds no run, so there is nothing to compare it with; name two results of `menon eval`"
    )
    assert "there is no file a.json" in refused(capsys, "compare", "a.json", "b.json")
    (tmp_path / "x.json").write_text("{}")
    assert "is no result of `menon eval`, or damaged" in refused(
        capsys, "compare", *[str(tmp_path / "x.json")] * 2
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "eval needs a model: menon eval base task=chain_sum, or the folder of a model or of a run"),
        (["base", "k=0"], "k is 0; it must be at least 1"),
        (["base", "n=0"], "n is 0; it must be at least 1"),
        (
            ["base", "k=8", "samples=4"],
            "pass@8 needs 8 samples of each question, and samples is 4; raise it or lower k",
        ),
        (["base", "n=10000000"], "n is 10000000, and chain_sum has "),
        (["base", "task=chain_sun"], "in task: unknown kind 'chain_sun'; did you mean 'chain_sum'?"),
        (["base", "set=gsm9k"], "there is no set 'gsm9k'; did you mean 'gsm8k'?"),
        (["base", "set=gsm9k", "path=x"], "there is no set 'gsm9k'; did you mean 'gsm8k'?"),
        (
            ["base", "set=gsm8k"],
            "the set gsm8k needs its file: set path= to it, or to a folder that holds it",
        ),
        (
            ["base", "path=x"],
            "path is given without set; name the set, like set=gsm8k, or use data= for a file of your own",
        ),
        (
            ["base", "task=chain_sum", "data=x"],
            "task and data are both given; questions come from one of them",
        ),
        (
            ["base", "temperature=0", "k=2"],
            "at temperature 0 all samples of a question are the same text; use k=1, or",
        ),
        (["base", "top_p=0"], "top_p is 0.0; it must be above 0 and at most 1 (1 is off)"),
        (
            ["base", "forking_temperature=-1", "n=2"],
            "forking_temperature is -1.0; it must be 0 (greedy), positive, or left out",
        ),
        (["base", "entropy_threshold=-1", "n=2"], "entropy_threshold is -1.0; an entropy is at least 0"),
        (["base", "kk=2"], "unknown setting 'kk'; did you mean 'k'?"),
        (["base", "other"], "'other' is neither key=value nor the model, which is 'base' already"),
        (["base", "--k=2"], "there is no option --k; settings are written without dashes, like k=8"),
        (["base", "model=x"], "the model is named twice, base and model=x; leave one of them out"),
        (
            ["./none", "n=2"],
            "there is no folder ./none; name a model folder, or a model on the Hugging Face hub",
        ),
        (["base", "template=fancy"], "there is no template 'fancy'; there are none, "),
        (["base", "reward=exacte"], "there is no reward 'exacte'; did you mean 'exact'?"),
        (["base", "data=none.jsonl"], "there is no file none.jsonl (looked from "),
    ],
)
def test_every_mistake_is_one_sentence(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "eval", *words, "threads=1").startswith(sentence)
    assert list(tmp_path.iterdir()) == []


def test_folders_and_sets_that_cannot_be_evaluated(folder, tmp_path, capsys):
    def said(*words: str) -> str:
        return refused(capsys, "eval", *words, "threads=1")

    empty = tmp_path / "empty"
    empty.mkdir()
    assert (
        said(str(empty))
        == f"{empty} is not a model folder: it has no config.json; name the folder that save_pretrained wrote"
    )
    shutil.copy(folder / "config.json", empty)
    assert said(str(empty)).startswith(f"{empty} has no weights (*.safetensors)")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"settings": {}}')
    assert "has no checkpoint yet; go on with it by `menon train --resume" in said(str(tmp_path / "run"))
    (tmp_path / "nothing.jsonl").write_text("")
    assert "is empty; give it rows with 'question' and 'answer'" in said(
        str(folder), f"data={tmp_path / 'nothing.jsonl'}"
    )
    data = jsonl(tmp_path / "d.jsonl", 5)
    assert (
        said(str(folder), f"data={data}", "n=6")
        == f"n is 6, and {data} has 5 questions; lower n, or leave it out to take all"
    )
    assert said(str(folder), f"data={data}", f"out={tmp_path}").startswith(
        f"out is the folder {tmp_path}; name a file in it"
    )
    (tmp_path / "old.json").write_text("")
    assert (
        said("base", f"out={tmp_path / 'old.json'}")
        == f"{tmp_path / 'old.json'} exists already; set out= to a new file"
    )
    assert "no file of the set gsm8k; there should be a gsm8k_test.jsonl" in said(
        str(folder), "set=gsm8k", f"path={tmp_path}"
    )


def test_a_reward_that_fails_too_often_stops_it(folder, tmp_path, capsys):
    (tmp_path / "own.py").write_text("def f(prompt, completion, answer):\n    raise KeyError('x')\n")
    words = (
        f"data={jsonl(tmp_path / 'd.jsonl', 4)}",
        f"reward={tmp_path / 'own.py'}:f",
        f"out={tmp_path / 'o.json'}",
    )
    assert main(["eval", str(folder), *words, *SMALL]) == 2
    sentence = capsys.readouterr().err
    start = (
        "menon: the reward failed on 4 of 4 answers in the evaluation (at most 10% may fail), first with: "
        "the reward function "
        "raised KeyError: 'x'"
    )
    assert sentence.startswith(start)
    assert sentence.count("\n") == 1
    assert not (tmp_path / "o.json").exists()
