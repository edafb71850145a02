"""Pipelines of stages: what they make, that they go on after a kill with the same results, what is skipped
and what is refused."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import menon
from helpers import tiny_model, tiny_tokenizer
from menon.cli import main
from menon.cli.words import last_of_each
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.pipeline import run as pipelines
from menon.pipeline.folder import PipelineView, table_of
from menon.pipeline.plan import planned
from menon.prompts.template import find_template
from menon.record.lock import Lock
from menon.report.terminal import Terminal, terminal

REWARD = "def odd(prompt, completion, answer, completion_ids):\n    return sum(completion_ids) % 2 == 1\n"
WRONG = "def never(prompt, completion, answer):\n    return False\n"
NUMBER = "def size(prompt, completion, answer):\n    return len(completion) / 10\n"


FOLDERS = ["1_write_1", "2_sft_1", "3_write_2", "4_sft_2"]


class Killed(BaseException):
    """Stands for the end of the process."""


SETTINGS: dict[str, Any] = {
    "model": "model",
    "data": "questions.jsonl",
    "reward": "rewards.py:odd",
    "threads": 1,
    "device": "cpu",
    "out": "made",
    "write.prompts": 14,
    "prompts_per_step": 4,
    "write.samples_per_prompt": 3,
    "max_new_tokens": 8,
    "stop": ["1", "2", "3", "4", "5", "6", "7", "8"],
    "heldout": 3,
    "report_questions": 0,
    "steps": 3,
    "save_every": 1,
    "learning_rate": 1e-2,
    "sft.rows_per_step": 2,
}
"""A pipeline of tenths of a second, of a model that answers at random."""


def prepared(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Makes the model, the questions and the rewards of `SETTINGS`, and goes there."""
    patch.chdir(folder)
    patch.setattr("menon.threads.prepare", lambda *_: None)
    export(tiny_model("qwen3"), tiny_tokenizer(), folder / "model")
    questions = [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(24)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (folder / "rewards.py").write_text(REWARD + WRONG + NUMBER)


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> dict[str, Any]:
    prepared(tmp_path, monkeypatch)
    return SETTINGS


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of two rounds of star that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        prepared(folder, patch)
        start("star", SETTINGS, rounds=2)
    return folder / "made"


def start(recipe: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    show, tell = more.pop("show", terminal), more.pop("tell", lambda sentence: None)
    return pipelines.start(recipe, [settings, more], show, tell)


def go_on(out: str = "made", **changes: Any) -> dict[str, Any]:
    return pipelines.resume(Path(out), changes, terminal, lambda sentence: None)


def refused(sentence: str, call: Any, *args: Any, **settings: Any) -> None:
    """The call raises a UserError that begins with this sentence."""
    with pytest.raises(UserError) as error:
        call(*args, **settings)
    assert str(error.value).startswith(sentence)


def lines(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def products(out: Path) -> dict[str, bytes]:
    """What the stages have made, by its name."""
    names = ("answers.jsonl", "rows.jsonl", "checkpoints/step_*/model.safetensors")
    files = [file for name in names for file in out.glob(f"*/{name}")]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def test_what_star_makes(finished):
    assert sorted(path.name for path in finished.iterdir() if path.is_dir()) == FOLDERS
    report = json.loads((finished / "report.json").read_text())
    runs = [json.loads((finished / name / "report.json").read_text()) for name in ("2_sft_1", "4_sft_2")]
    assert (report["before"], report["after"]) == (runs[0]["before"], runs[1]["after"])
    assert [row[0] for row in table_of(report).rows] == ["write_1", "sft_1", "write_2", "sft_2", "the whole"]
    first, second = (
        json.loads((finished / name / "run.json").read_text()) for name in ("2_sft_1", "4_sft_2")
    )
    models = [run["settings"]["models"]["policy"]["model"] for run in (first, second)]
    assert models == ["model", "model"]  # each round trains the model of the start
    assert second["settings"]["rows"]["data"] == "made/3_write_2/rows.jsonl"
    about = PipelineView.open(finished).about
    assert [one["state"] for one in about["stages"]] == ["finished"] * 4
    assert about["stages"][2]["reads"] == {"model": "sft_1"}
    assert about["stages"][1]["makes"] == "2_sft_1/checkpoints/latest"
    writers = {row["source"] for row in lines(finished / "3_write_2/rows.jsonl")}
    assert writers == {"2_sft_1/checkpoints/latest"}


def test_rows_are_the_right_answers_without_their_hint(finished):
    written = finished / "1_write_1"
    answers, rows = lines(written / "answers.jsonl"), lines(written / "rows.jsonl")
    report = json.loads((written / "report.json").read_text())
    plain = [one for one in answers if not one["hinted"]]
    assert [(one["question"], one["sample"]) for one in plain] == [
        (q, s) for q in range(14) for s in range(3)
    ]
    right = {one["question"] for one in plain if one["acc"] == 1}
    again = {one["question"] for one in answers if one["hinted"]}
    assert again == set(range(14)) - right  # those without a right answer, and no others
    good = [one for one in answers if one["acc"] == 1 and one["finish"] == "stop" and one["text"]]
    texts = {(one["question"], one["text"]) for one in good}
    assert len(rows) == len(texts) == report["kept"] > 0
    assert {row["answer"] for row in rows} == {text for _, text in texts}
    questions = {row["question"] for row in lines(finished.parent / "questions.jsonl")}
    assert {row["question"] for row in rows} <= questions
    assert all(row["reward"] == 1 and row["gold"] and row["source"] == "model" for row in rows)
    left_out = report["left_out"]
    assert left_out["wrong"] == sum(one["acc"] == 0 for one in answers)
    assert sum(left_out.values()) + report["kept"] == report["written"] == len(answers)
    assert report["without"] == 14 - len({question for question, _ in texts})
    assert report["accuracy"] == sum(one["acc"] for one in plain) / len(plain)


class Ends(Terminal):
    """Ends the process after the second step of a run."""

    def stepped(self, report: Any) -> None:
        if report.step == 2:
            raise Killed


def test_a_killed_pipeline_goes_on_as_if_it_had_not_been(tiny, finished):
    parts = 0

    def tell(sentence: str) -> None:
        nonlocal parts
        parts += "answers written" in sentence
        if parts == 2:
            raise Killed

    with pytest.raises(Killed):
        start("star", tiny, rounds=2, tell=tell)
    assert len(lines("made/1_write_1/answers.jsonl")) == 2 * 4 * 3
    with open("made/1_write_1/answers.jsonl", "ab") as file:  # half a part
        file.write(b'{"question": 8, "key"')
    with pytest.raises(Killed):
        pipelines.resume(Path("made"), {}, lambda header: Ends(header), lambda sentence: None)
    assert Path("made/2_sft_1/checkpoints/step_000001").is_dir()
    assert not Path("made/2_sft_1/report.json").exists()
    about = PipelineView.open(Path("made")).about
    assert [one["state"] for one in about["stages"]] == ["finished", "unfinished", "waiting", "waiting"]
    go_on()
    whole, made = products(finished), products(Path("made"))
    assert len(whole) == 2 * (2 + 2)  # answers and rows, the two checkpoints that a run leaves
    assert whole == made
    before = {path: path.stat().st_mtime_ns for path in Path("made").rglob("rows.jsonl")}
    go_on()  # nothing is run again
    assert before == {path: path.stat().st_mtime_ns for path in Path("made").rglob("rows.jsonl")}


def test_a_stage_can_be_skipped(tiny):
    start("star", tiny, rounds=1, skip="sft")
    assert not Path("made/2_sft_1").exists()
    assert go_on(skip=None)["stages"].keys() == {"write_1", "sft_1"}
    assert Path("made/2_sft_1/checkpoints/latest").exists()


def test_a_skipped_stage_whose_product_is_there_is_read(tiny):
    start("star", tiny, rounds=1)
    assert go_on(skip="write_1")["stages"].keys() == {"write_1", "sft_1"}


def test_an_input_that_is_missing(tiny):
    refused(
        "stage sft_1 reads what write_1 makes (settings.rows.data), and write_1 is skipped; name a file or "
        "folder in its place, like sft_1.data=..., or leave write_1 out of skip",
        *(start, "star", tiny),
        rounds=1,
        skip="write_1",
    )
    assert not Path("made").exists()
    rows = [{"question": f"{i}+2=", "answer": f"{i + 2}"} for i in range(20)]
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = start("star", tiny, rounds=1, skip="write_1", **{"sft_1.data": "own.jsonl"})
    assert report["stages"].keys() == {"sft_1"}


def test_a_product_that_was_removed(tiny):
    start("star", tiny, rounds=1, skip="sft_1")
    Path("made/1_write_1/rows.jsonl").unlink()
    refused(
        "stage sft_1 reads made/1_write_1/rows.jsonl of stage write_1, and it is not there; remove the "
        "folder made/1_write_1 and go on with `menon train --resume made`, which makes it again",
        go_on,
        skip="",
    )


def test_no_right_answer(tiny):
    said = "stage write_1: none of the 84 answers to 14 questions is right, so there is nothing to learn from"
    refused(said, start, "star", tiny, rounds=1, reward="rewards.py:never")
    assert not Path("made/1_write_1/rows.jsonl").exists()
    refused(said, go_on)


def test_a_reward_that_does_not_say_what_is_right(tiny):
    refused(
        "stage write_1: the reward does not say which answers are right, so none is kept; set "
        "keep.min_reward",
        *(start, "star", tiny),
        rounds=1,
        hint=None,
        reward="rewards.py:size",
    )
    start("star", tiny, rounds=1, hint=None, reward="rewards.py:size", out="b", **{"write.min_reward": 0.3})
    assert all(row["reward"] >= 0.3 for row in lines("b/1_write_1/rows.jsonl"))


def test_data_that_changed_since(tiny):
    def tell(sentence: str) -> None:
        if "answers written" in sentence:
            raise Killed

    with pytest.raises(Killed):
        start("star", tiny, rounds=1, tell=tell)
    Path("questions.jsonl").write_text(Path("questions.jsonl").read_text().replace("+1=", "+4="))
    refused("stage write_1: the questions are not those that made/1_write_1/answers.jsonl answers", go_on)


# Words


def test_settings_of_the_whole_and_of_a_stage(tiny):
    plan = planned("star", [tiny, {"rounds": 2, "write_2.temperature": 0.5, "sft_1.steps": 7}])
    trees = {name: stage.settings if name.startswith("sft") else None for name, stage in plan.stages.items()}
    assert [trees[f"sft_{n}"]["control"]["steps"] for n in (1, 2)] == [7, 3]
    assert [trees[f"sft_{n}"]["rows"]["rows_per_step"] for n in (1, 2)] == [2, 2]
    assert [plan.stages[f"write_{n}"].source.temperature for n in (1, 2)] == [1, 0.5]
    assert trees["sft_1"]["source"]["data"] == "questions.jsonl"
    assert trees["sft_1"]["source"]["task"] is None  # the data takes the place of the recipe's task
    assert trees["sft_1"]["models"]["policy"]["optimiser"]["learning_rate"] == 1e-2


def test_rates_and_lengths_fit_the_model_that_a_stage_begins_with(tiny):
    own = {name: tiny[name] for name in ("data", "reward")}
    for model, rate, length in (("base", 1e-3, 96), ("model", 1e-6, None)):
        stages = planned("star", [own, {"rounds": 2, "model": model}]).stages
        policy = stages["sft_2"].settings["models"]["policy"]
        assert policy["optimiser"]["learning_rate"] == rate
        assert stages["write_2"].source.max_new_tokens == length
    mixed = planned("star", [own, {"rounds": 1, "write_1.model": "model"}]).stages
    assert (mixed["write_1"].model, mixed["write_1"].source.max_new_tokens) == ("model", None)
    assert mixed["sft_1"].settings["source"]["max_new_tokens"] == 96


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rouns": 2}, "star has neither a setting nor a stage 'rouns'; did you mean 'rounds'?"),
        ({"rounds": 0}, "rounds is 0; it must be at least 1"),
        ({"skip": "stf"}, "skip names 'stf', which is no stage; did you mean 'sft'?"),
        ({"rounds": 1, "skip": "write_1,sft_1"}, "skip names every stage; leave one to run"),
        ({"sft_1": 3}, "sft_1 is a stage; name one of its settings, like sft_1.SETTING=3"),
        ({"objective.nll.coef": 2}, "objective belongs to one stage; name the stage before it, like write_1"),
        ({"sft.stepz": 2}, "stage sft_1: unknown setting 'stepz'; did you mean 'steps'?"),
        ({"write.colour": 2}, "stage write_1: unknown setting 'colour'"),
        ({"hint": "think"}, "hint has no {q}, where the question goes; put it in"),
        ({"write.hint": "{q}{clue}"}, "stage write_1: hint puts in {clue}, and the row of"),
        (
            {"write.staleness": 1},
            "stage write_1: a stage that writes answers each question once and in one turn",
        ),
        ({"write_1.model": "stage:sft_9"}, "stage write_1 reads stage:sft_9 (model), and there is no such"),
    ],
)
def test_what_cannot_be_is_refused(tiny, settings, sentence):
    refused(sentence, start, "star", {**tiny, **settings})


def test_folders_that_are_in_use(tiny, capsys):
    start("star", tiny, rounds=1)
    refused(
        "made holds a pipeline already; go on with it by `menon train --resume made`", start, "star", tiny
    )
    refused("a resumed pipeline keeps its 'steps'; only skip can change", go_on, steps=4)
    refused("model is not empty; set out= to a new folder", start, "star", tiny, out="model")
    for words, said in (
        (["train", "made"], "made is a pipeline; go on with it by `menon train --resume made`"),
        (["show", "made", "step=1"], "made is a pipeline, and its runs are made/2_sft_1; name one of those"),
        (
            ["sweep", "star", "out=s"],
            "star is a recipe of several stages and no single run; `menon train star`",
        ),
    ):
        capsys.readouterr()
        assert main(words) == 2
        assert said in capsys.readouterr().err


# Distillation by data


def test_a_teacher_with_another_tokenizer(tiny):
    export(tiny_model("llama", vocab=41), tiny_tokenizer(41), Path("words"))
    assert tiny_tokenizer(41).get_vocab() != tiny_tokenizer().get_vocab()
    refused(
        "distill_data learns from what a teacher writes, and none is named; set teacher=FOLDER",
        *(start, "distill_data", tiny),
    )
    start("distill_data", tiny, teacher="words")
    rows = lines("made/1_write/rows.jsonl")
    assert {row["source"] for row in rows} == {"words"}
    settings = json.loads(Path("made/2_sft/run.json").read_text())["settings"]
    assert settings["models"]["policy"]["model"] == "model"
    report = json.loads(Path("made/report.json").read_text())
    assert report["after"]["nll"] < report["before"]["nll"]


def test_hints_fit_their_model():
    hints = {
        model: planned("star", [{"rounds": 1, "model": model}]).stages["write_1"].hint
        for model in ("base", "search_base", "my-model")
    }
    assert hints == {
        "base": find_template("q_steps").text,
        "search_base": find_template("steps").text,
        "my-model": "{q}\n\n(The answer is {answer}.)",
    }
    assert planned("star", [{"rounds": 1, "hint": None}]).stages["write_1"].hint is None


def test_one_process_at_a_time(tiny):
    start("star", tiny, rounds=1, skip="sft")
    with closing(Lock(Path("made/lock"))):
        refused("another run (process", go_on, skip=None)
    assert not Path("made/2_sft_1").exists()


def test_from_python(tiny):
    report = menon.train("star", **tiny, rounds=1, hint=None)
    assert report["after"]["accuracy"] == report["stages"]["sft_1"]["after"]["accuracy"]
    own = tiny | {"reward": max, "out": "b"}
    refused("reward is a function, and a pipeline keeps its settings in a file", menon.train, "star", **own)


# What the commands say


def test_explain_and_help(tiny, capsys):
    assert main(["explain", "star", "rounds=1", "skip=write", "threads=1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for part in (
        "menon explain star, 2 stages",
        "1 write_1 base writes 1 answers to 1,024 questions of chain_sum, again with a hint where none",
        "right ones are kept (skipped)",
        "2 sft_1 a run of sft: 40 steps of base on stage:write_1",
        "settings model=base, seed=0, threads=1, skip=write, rounds=1",
    ):
        assert part in printed
    assert main(["explain", "distill_data", "threads=1"]) == 0
    assert "a model that is still to be named writes 4 answers" in " ".join(capsys.readouterr().out.split())
    assert main(["explain", "star", "full=true"]) == 2
    assert "full=true writes the settings of one run; star has several stages" in capsys.readouterr().err
    assert main(["help", "star"]) == 0
    printed = capsys.readouterr().out
    for part in (
        "recipe star, of several stages",
        "In every round the newest model",
        "rounds=3",
        "skip",
        "model=base",
    ):
        assert part in printed
    assert main(["train", "distill_data", "--help"]) == 0
    assert "The teacher answers the questions" in capsys.readouterr().out


def test_from_words_to_the_page(tiny, capsys):
    words = [f"{name}={value}" for name, value in tiny.items() if name != "stop"]
    words += ["stop=[1,2,3,4,5,6,7,8]", "rounds=2", "skip=sft_2", "steps=1"]
    assert main(["train", "star", *last_of_each(words)]) == 0
    printed = capsys.readouterr().out
    for part in (
        "stage 1 of 4, write_1: model writes 3 answers to 14",
        "stage 4 of 4, sft_2: skipped",
        "the whole  accuracy",
    ):
        assert part in printed
    Path("made/report.html").unlink()
    assert main(["report", "made"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[1:5]] == ["write_1", "sft_1", "write_2", "the"]
    page = Path("made/report.html").read_text()
    for part in (
        '<a href="2_sft_1/report.html">sft_1</a>',
        '<a href="3_write_2/rows.jsonl">write_2</a>',
        "42 answers to 14 questions",
        "Not finished: sft_2 (skipped).",
    ):
        assert part in page
    assert main(["report", "made", "out=x.html"]) == 2
    assert "the page of a pipeline is report.html in its folder" in capsys.readouterr().err
    assert main(["runs", "made"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("2_sft_1  sft     model")
