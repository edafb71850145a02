"""`menon check data` as the dry run of `menon train`."""

import json
import re
from pathlib import Path

import pytest

from helpers import tiny_model
from menon.assembly.dry_run import built_to_try, tried
from menon.assembly.run import configured
from menon.base import BASES
from menon.cli import main
from menon.engines.hf_models import export
from menon.prompts.tasks import ChainSum
from menon.record.folder import RunFolder
from menon.settings import plain_data
from tokenizer_kinds import tokenizer_of

SMALL = ("threads=1", "device=cpu")


@pytest.fixture(autouse=True)
def wide(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.chdir(tmp_path)


def written(name: str, rows: list[dict]) -> str:
    Path(name).write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return name


def sums(**changes: str) -> list[dict]:
    """Twenty sums as data, their columns named otherwise."""
    rows = ChainSum().rows("train", 20, 0)
    return [{changes.get(name, name): row[name] for name in ("question", "answer")} for row in rows]


def said(capsys, *words: str) -> tuple[int, list[str]]:
    code = main(["check", "data", *words, *SMALL])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out.splitlines()


def header(lines: list[str], label: str) -> str:
    """The text of a line of the header."""
    return next(line for line in lines if line.startswith(f"  {label:<9}"))[11:]


def prompt_in(lines: list[str]) -> int:
    """The place of the line about the first prompt."""
    return next(n for n, line in enumerate(lines) if line.startswith("the first prompt"))


def test_the_answers_are_the_first_of_the_run(capsys):
    code, lines = said(capsys, "seed=3", "prompts_per_step=3", "n=6", "tokens=true")
    changes = ({"seed": "3", "prompts_per_step": "3", "device": "cpu"},)
    with built_to_try(None, changes, 1, None, []) as (run, settings, refusal):
        place = run.source.state()
        found = tried(run, settings, 6)
        run.source.load(place)
        step = run.source.next().graded
    assert refusal == ""
    assert [(g.rollout.group, g.rollout.sample) for g in found.graded] == [
        (group, sample) for group in (0, 1) for sample in (0, 1, 2)
    ]
    first = {(g.rollout.group, g.rollout.sample): g for g in step}
    for one in found.graded:
        real = first[one.rollout.group, one.rollout.sample]
        assert one.rollout.tokens.tolist() == real.rollout.tokens.tolist()
        assert one.verdict == real.verdict
    prompt = found.prompt
    assert lines[0] == "menon 0.1.0  grpo, a dry run"
    assert lines[1] == "  model    base, 0.89 M parameters"
    assert header(lines, "step") == "3 prompts x 8 samples, 2 updates, learning rate 0.0003"
    length = len(prompt.tokens)
    place = prompt_in(lines)
    assert lines[place : place + 3] == [
        f"the first prompt   {length} tokens; 256 fit, 96 of them for the answer, {160 - length} left over",
        f"  | {prompt.text}",
        f"  the answer is {prompt.answer}",
    ]
    tokens = [int(token) for token in re.findall(r"(\d+):'", lines[place + 3])]
    assert tokens == prompt.tokens.tolist()
    right = sum(g.verdict.acc == 1 for g in found.graded)
    groups = [{g.verdict.score for g in found.graded[place : place + 3]} for place in (0, 3)]
    differ = sum(len(scores) == 2 for scores in groups)
    assert (
        f"6 answers to 2 questions: reward {right / 6:.3g}, {right} right, 0 cut, 0 unparsable, rewards "
        f"differ in {differ} of 2 groups" in lines
    )
    shown = [line for line in lines if re.match(r"  (stop|length) ", line)]
    for line, one in zip(shown, found.graded, strict=True):
        mark = "right" if one.verdict.acc == 1 else "wrong"
        facts = f"  stop   {one.rollout.num_actions:>6} tokens  score {one.verdict.score:<5.3g}  {mark}"
        assert line.startswith(facts)
        assert line.endswith(" ".join(one.rollout.text.split())[-20:])
    assert lines[-2:] == [
        "gold answers are not checked: it is not known how an answer is stated for this reward",
        "nothing speaks against it: menon train seed=3 prompts_per_step=3 threads=1 device=cpu",
    ]
    assert code == 0
    assert list(Path().iterdir()) == []  # nothing is written


def test_data_with_other_columns_and_golds_that_are_right(capsys):
    file = written("frage.jsonl", sums(question="Frage", answer="Antwort"))
    assert main(["check", "data", f"data={file}", *SMALL]) == 2
    assert capsys.readouterr().err == (
        "menon: frage.jsonl: all 20 rows: no question column and no answer column (there are 'Frage', "
        "'Antwort'); set columns.question=Frage and columns.answer=Antwort\n"
    )
    columns = ("columns.question=Frage", "columns.answer=Antwort")
    code, lines = said(capsys, file, "model=base", *columns, "template=answer", "n=2")
    assert code == 0
    assert lines[prompt_in(lines) + 1].startswith("  | Answer: ")
    assert lines[-3:-1] == ["gold answers of frage.jsonl:", "right=20 of=20 unreadable=0"]
    assert lines[
        -1
    ] == f"nothing speaks against it: menon train data={file} model=base {' '.join(columns)} " + (
        "template=answer threads=1 device=cpu"
    )
    assert main(["check", "data", file, "reward=exact", *columns]) == 0
    assert capsys.readouterr().out == "right=20 of=20 unreadable=0\n"


def test_signs_of_the_first_evaluation(capsys):
    words = [{"question": f"How many legs have {n} dogs?", "answer": str(4 * n)} for n in range(2, 32)]
    code, lines = said(capsys, f"data={written('dogs.jsonl', words)}", "reward=math", "max_new_tokens=2")
    assert code == 1
    place = next(n for n, line in enumerate(lines) if line.startswith("16 answers"))
    assert lines[place] == (
        "16 answers to 2 questions: reward 0, 0 right, 16 cut, 16 unparsable, rewards differ in 0 of 2 groups"
    )
    assert lines[place + 1 : place + 3] == [
        "menon: 0 of 16 answers are right: dogs.jsonl with the built-in base model, which has learned only "
        "sums; set model=",
        "menon: 100% of the answers were cut at max_new_tokens=2; raise max_new_tokens",
    ]
    assert (
        sum(line.startswith("  length      2 tokens  score 0      wrong  unparsable") for line in lines) == 16
    )
    assert lines[-1] == "right=30 of=30 unreadable=0"


def test_rows_that_a_run_refuses_are_told_after_what_the_others_show(capsys):
    rows = [*sums(), {"question": "3+4=?", "answer": "}{"}, {"question": ""}, {"question": "", "answer": 1}]
    file = written("odd.jsonl", rows)
    code, lines = said(capsys, f"data={file}", "reward=math", "n=2", "template=$Q: {q}")
    refusal = (
        "menon: odd.jsonl: 2 of 23 rows cannot be used: line 22: no answer column (there is 'question'); add "
        "'answer'; line 23: 'question' is empty. Fix them, or leave them out with on_bad=skip."
    )
    assert code == 1
    assert lines.count(refusal) == 1
    assert "menon: 2 rows of odd.jsonl cannot be used and are left out" in lines
    assert lines[-4:] == [
        "gold answers of odd.jsonl:",
        "row 21: its own answer '}{' earns no reward",
        "unreadable: line 22: no answer column (there is 'question'); add 'answer'; line 23: 'question' is "
        "empty",
        "right=20 of=21 unreadable=2",
    ]


def test_a_run_that_cannot_begin_is_refused_as_the_run_is(capsys):
    long = [{"question": f"How many legs have {n} dogs? " * 20, "answer": "8"} for n in range(20)]
    file = written("long.jsonl", long)
    for words in (["train"], ["check", "data"]):
        assert main([*words, f"data={file}", *SMALL]) == 2
        assert (
            "menon: long.jsonl with the built-in base model, which has learned only sums; set model=. Its "
            in (error := capsys.readouterr().err)
        )
        assert "all 18 rows, first row 1 ('How many legs have " in error
    for words in (["train"], ["check", "data"]):
        assert main([*words, f"data={file}", "max_new_tokens=512", *SMALL]) == 2
        assert "Its context is too short as well: the model's context of 256 tokens leaves no room" in (
            capsys.readouterr().err
        )
    assert main(["check", "data", "scale=paper", *SMALL]) == 2
    Path("held").mkdir()
    Path("held/run.json").write_text("{")
    assert main(["check", "data", "out=held", *SMALL]) == 2
    assert "held holds a run already" in capsys.readouterr().err


def test_own_rewards(capsys):
    Path("own.py").write_text(
        "def long(prompt, completion, answer, **columns):\n    return len(completion) / 100\n"
        "def broken(prompt, completion, answer, **columns):\n    return 1 / 0\n"
    )
    code, lines = said(capsys, "reward=own.py:broken", "n=4")
    assert code == 1
    assert sum(" tokens  not graded  " in line and "ZeroDivisionError" in line for line in lines) == 4
    assert any(line.startswith("menon: the reward failed on 4 of 4 answers in the dry run") for line in lines)
    file = written("sums.jsonl", sums())
    code, lines = said(capsys, f"data={file}", "reward=own.py:long", "n=4")
    assert code == 0
    assert any("reward 0." in line and "not known which are right" in line for line in lines)
    # what needs to know which answers are right would stop the run after its first step
    code, lines = said(capsys, f"data={file}", "reward=own.py:long", "order=by_difficulty", "n=4")
    assert code == 1
    assert any(line.startswith("menon: order=by_difficulty needs to know which answers") for line in lines)


def test_turns_and_trees(capsys):
    code, lines = said(capsys, "calculator", "n=2")
    assert (code, header(lines, "task")) == (0, "chain_sum, environment calculator")
    code, lines = said(capsys, "spo_tree", "n=3")
    assert (code, header(lines, "step")[:16]) == (0, "8 trees of 4-4-4")
    assert sum(line.startswith("3 answers to 3 questions: ") for line in lines) == 1
    assert "groups" not in "".join(lines)


def test_a_judge(capsys):
    Path("own.txt").write_text("{question} {final_step} {reference} ?")
    file = written("sums.jsonl", sums())
    code, lines = said(
        capsys, f"data={file}", f"reward={{kind: judge, model: {BASES['base']}, prompt: own.txt}}", "n=2"
    )
    assert (code, header(lines, "task")) == (0, "sums.jsonl")
    assert header(lines, "reward").startswith("judge")
    # the base says neither yes nor no
    assert sum("  score 0      wrong  unparsable  " in line for line in lines) == 2


def test_special_tokens_are_shown(capsys, tmp_path):
    tokenizer = tokenizer_of("byte_level")
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}[{{ m.content }}]\n{% endfor %}"
    export(tiny_model("qwen3", vocab=len(tokenizer) + 1), tokenizer, tmp_path / "model")
    file = written("sums.jsonl", sums())
    words = (f"data={file}", "model=model", "template=chat", "max_new_tokens=4", "n=2")
    _, lines = said(capsys, *words)
    place = prompt_in(lines)
    assert lines[place + 1].startswith("  | <s>[")
    assert lines[place + 2] == "  | "


def test_a_recorded_run_is_tried_again(capsys):
    config = configured("grpo", ({"prompts_per_step": 2, "out": "r"},), 1)
    RunFolder.create(Path("r"), plain_data(config), {}).close()
    written_then = Path("r/run.json").read_bytes()
    code, lines = said(capsys, "r/run.json", "n=2")
    assert code == 0
    assert header(lines, "step").startswith("2 prompts x 8 samples")
    assert Path("r/run.json").read_bytes() == written_then
