"""The stages of R1: the whole at a small size, killed and gone on with, and with a stage left out; and the
stages that only it has."""

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.pipeline import run as pipelines
from menon.pipeline.join import Join
from menon.pipeline.lessons import Lessons
from menon.pipeline.own_pairs import OwnPairs
from menon.pipeline.plan import planned
from menon.pipeline.small import Small
from menon.pipeline.stage import Here
from menon.report.terminal import Terminal, terminal

STAGES = (
    *("lessons", "cold_start", "reason", "reject", "join", "sft", "rules", "own", "own_pairs"),
    *("preference", "general", "small", "distill"),
)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> dict[str, Any]:
    """Settings with which every stage takes a moment. An answer that ends is good enough to be imitated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("menon.threads.prepare", lambda *_: None)
    export(tiny_model("qwen3"), tiny_tokenizer(), tmp_path / "model")
    lessons = {"worked": 20, "asked": 24, "replied": 20, "compared": 20, "heldout": [3, 3]}
    return {
        "model": "model",
        "threads": 1,
        "device": "cpu",
        "out": "made",
        "steps": 1,
        "general.steps": 2,
        "save_every": 1,
        "heldout": 6,
        "max_new_tokens": 6,
        "stop": ["1", "2", "3", "4", "5", "6", "7", "8"],
        "prompts_per_step": 4,
        "samples_per_prompt": 2,
        **{f"lessons.{name}": value for name, value in lessons.items()},
        "reject.prompts": 8,
        "reject.min_reward": 0,
        "own.prompts": 8,
        "join.most": {"reasoning": 12, "general": 10},
        "small.updates": 2,
        "small.shape": {
            "hidden": 8,
            "layers": 1,
            "heads": 1,
            "kv_heads": 1,
            "head_size": 8,
            "feed_forward": 8,
        },
        **{f"{name}.rows_per_step": 4 for name in ("cold_start", "sft", "preference", "distill")},
    }


def start(settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    show = more.pop("show", terminal)
    return pipelines.start("r1", [settings, more], show, lambda sentence: None)


def go_on(**changes: Any) -> dict[str, Any]:
    return pipelines.resume(Path("made"), changes, terminal, lambda sentence: None)


def models(out: str) -> dict[str, bytes]:
    files = Path(out).glob("*/checkpoints/step_*/model.safetensors")
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def settings_of(stage: str) -> dict[str, Any]:
    found = next(Path("made").glob(f"*_{stage}/run.json"))
    return json.loads(found.read_text())["settings"]


def model_of(stage: str) -> str:
    return str(settings_of(stage)["models"]["policy"]["model"])


class Ends(Terminal):
    """Ends the process in the first step of general RL."""

    def stepped(self, report: Any) -> None:
        if Path("made/11_general").exists():
            raise Killed


def test_a_killed_r1_goes_on_as_if_it_had_not_been(tiny):
    whole = start(tiny, out="whole", skip="small,distill")
    assert tuple(whole["stages"]) == STAGES[:-2]
    with pytest.raises(Killed):
        start(tiny, skip="small,distill", show=lambda header: Ends(header))
    assert not Path("made/11_general/report.json").exists()
    made = go_on()
    assert tuple(made["stages"]) == STAGES[:-2]
    assert models("whole") == models("made")
    assert len(models("made")) == 7
    assert model_of("sft") == "model"  # the base, not the policy of before
    assert model_of("rules") == "made/6_sft/checkpoints/latest"
    taste = settings_of("general")["source"]["reward"]["parts"]["taste"]
    assert taste["rule"]["model"] == "made/10_preference/checkpoints/latest"
    assert taste["only"] == {"kind": "general"}
    pairs = [json.loads(line) for line in Path("made/9_own_pairs/rows.jsonl").read_text().splitlines()]
    assert {row["from"] for row in pairs} == {"given", "own"}
    assert settings_of("preference")["rows"]["data"] == "made/9_own_pairs/rows.jsonl"
    graded = json.loads(Path("made/11_general/metrics.jsonl").read_text().splitlines()[0])
    assert {"reward/parts/answer", "reward/parts/taste", "reward/parts/language"} <= graded.keys()
    asked = [
        made["stages"][name]["after"]["n"] for name in ("cold_start", "reason", "sft", "rules", "general")
    ]
    assert asked == [6] * 5  # every stage answers the same held-out questions


def test_stages_are_left_out_and_their_files_named(tiny):
    rows = [{"question": f"{i}+1=?", "answer": str(i + 1), "kind": "reasoning"} for i in range(30)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"stage reason reads what cold_start makes .* name a file or folder"):
        start(tiny, skip="cold_start")
    with pytest.raises(UserError, match=r"stage distill reads what small makes .*, and small is skipped"):
        start(tiny, skip="small")
    left = "cold_start,reason,reject,join,sft,rules,own,own_pairs,preference,general"
    own = dict.fromkeys(("reasoning", "questions", "heldout_data"), "rows.jsonl")
    settings = {name: value for name, value in tiny.items() if name.partition(".")[0] not in left}
    made = start(settings, skip=f"lessons,{left}", **own, **{"distill.data": "rows.jsonl"})
    assert tuple(made["stages"]) == ("small", "distill")
    assert model_of("distill") == "made/12_small/model"
    assert made["stages"]["distill"]["after"]["n"] == 6


def here(folder: Path) -> Here:
    folder.mkdir()
    return Here(folder, 0, 1, terminal, lambda sentence: None)


def test_joined_rows_are_as_many_as_asked_for(tmp_path):
    for name in ("a", "b"):
        rows = [{"question": f"{name}{i}", "answer": "1"} for i in range(5)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"a": str(tmp_path / "a.jsonl"), "b": str(tmp_path / "b.jsonl")}
    Join(files, {"a": 2, "b": 9}).run(here(tmp_path / "out"))
    rows = [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    assert [row["from"] for row in rows] == ["a"] * 2 + ["b"] * 5
    assert [row["question"] for row in rows[2:]] == ["b0", "b1", "b2", "b3", "b4"]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report == {"rows": {"a": 2, "b": 5}, "kept": 7, "summary": "2 a + 5 b rows"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty; give it rows"), ("[1]\n", "line 1: a list"), ("7\n", "line 1: it is no object")],
)
def test_files_that_cannot_be_joined(tmp_path, text, said):
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(UserError, match=said):
        Join({"bad": str(tmp_path / "bad.jsonl")}).run(here(tmp_path / "out"))


def test_own_answers_stand_beside_the_preferred_ones(tmp_path):
    """Those that are the preferred one are counted and make no pair."""
    given = [{"prompt": "a?", "chosen": "good", "rejected": "bad", "more": 1}]
    written = [{"question": "a?", "answer": answer, "gold": "good"} for answer in ("goof", "good ", "go")]
    for name, rows in (("given", given), ("written", written), ("equal", written[1:2])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "none.jsonl").write_text(json.dumps({**written[0], "gold": None}) + "\n")

    def run(name: str) -> None:
        OwnPairs(str(tmp_path / "given.jsonl"), str(tmp_path / f"{name}.jsonl")).run(here(tmp_path / name))

    run("written")
    made = [json.loads(line) for line in (tmp_path / "written/rows.jsonl").read_text().splitlines()]
    assert made == [
        {**given[0], "from": "given"},
        {"prompt": "a?", "chosen": "good", "rejected": "goof", "from": "own"},
        {"prompt": "a?", "chosen": "good", "rejected": "go", "from": "own"},
    ]
    report = json.loads((tmp_path / "written/report.json").read_text())
    assert report["rows"] == {"given": 1, "own": 2, "equal": 1}
    with pytest.raises(UserError, match=r"all 1 answers of .* are the preferred ones"):
        run("equal")
    with pytest.raises(UserError, match="an answer without a preferred one beside it; let the stage"):
        run("none")


def test_settings_of_the_stages_that_cannot_be():
    with pytest.raises(UserError, match="most names 'b', which is none of the files a"):
        Join({"a": "x"}, {"b": 1})
    with pytest.raises(UserError, match="chinese is 2; it is a share of the worked sums, 0 to 1"):
        Lessons(chinese=2)
    with pytest.raises(UserError, match="updates is 0"):
        Small(updates=0)
    with pytest.raises(UserError, match="stage lessons: worked is 0"):
        planned("r1", [{"lessons.worked": 0}])


def test_lessons_are_the_same_for_the_same_seed(tmp_path):
    stage = Lessons(worked=5, asked=6, replied=4, compared=3, heldout=(2, 1))
    first, again, other = (stage.files(seed) for seed in (0, 0, 1))
    assert first == again
    assert first["heldout"] == other["heldout"]
    assert first["worked"] != other["worked"]
    counts = {name: len(rows) for name, rows in first.items()}
    assert counts == {"worked": 5, "reasoning": 6, "questions": 12, "replies": 4, "pairs": 3, "heldout": 3}
