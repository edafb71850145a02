import json

import numpy as np
import pytest

from menon.cli import main
from menon.record.folder import RunFolder
from menon.record.transcripts import write_transcript
from menon.types import Graded, Prompt, Rollout, StepReport, Verdict


def stored(folder, step, answers):
    """A transcript of answers to "1/2": text, what it was given, how it ended."""
    graded = []
    for place, (text, score, acc, finish) in enumerate(answers):
        zeros = np.zeros(3, dtype=np.float32)
        asked = Prompt(0, np.array([1], dtype=np.int32), "Q:", "1/2")
        whole = {
            "tokens": np.arange(3, dtype=np.int32),
            "is_action": np.array([False, True, True]),
            "text": text,
            "finish": finish,
        }
        rollout = Rollout(
            asked,
            logp=zeros,
            log_kept=zeros,
            entropy=zeros,
            version=zeros.astype(np.int32),
            group=place,
            **whole,
        )
        graded.append(Graded(rollout, Verdict(score, acc)))
    offset = np.arange(len(answers) + 1) * 3
    columns = {
        "token": np.tile(np.arange(3), len(answers)),
        "is_action": np.tile([False, True, True], len(answers)),
    }
    (folder / "transcripts").mkdir(exist_ok=True)
    write_transcript(
        folder / "transcripts" / f"step_{step:06d}.parquet",
        StepReport(step, {}, tuple(graded), columns, offset, "f"),
    )


@pytest.fixture
def run(tmp_path):
    RunFolder.create(tmp_path, {}).close()
    stored(
        tmp_path,
        1,
        [("\\boxed{1/2}", 1, 1, "stop"), ("\\boxed{0.5}", 0, 0, "stop"), ("\\boxed{2}", 0, 0, "stop")],
    )
    stored(tmp_path, 2, [("so 0.5", 0.5, 1, "length"), ("", np.nan, np.nan, "stop")])
    return tmp_path


def test_what_changed_is_counted(run, capsys):
    """Then 1, 0, 0, .5 and a failure; now by math 1, 1, 0, 0, 0."""
    assert main(["rescore", str(run), "--reward", "math"]) == 0
    numbers = json.loads((run / "rescore_math.json").read_text())
    assert numbers == {
        "reward": "math",
        "ways": "strict",
        "answers": 5,
        "same_score": 2,
        "old": {"mean": 0.375, "accuracy": 0.5, "failed": 1},
        "new": {"mean": 0.4, "accuracy": 0.4, "failed": 0},
        "confusion": {"right_right": 1, "right_wrong": 1, "wrong_right": 1, "wrong_wrong": 1},
    }
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "5 answers, 2 with the same score"
    assert out[2].split() == ["then", "0.3750", "0.5000", "1"]
    assert out[5].split() == ["then", "right", "1", "1"]
    assert out[-1] == f"stored in {run / 'rescore_math.json'}"


def test_the_numbers_as_json(run, capsys):
    assert main(["rescore", str(run), "--reward", "math", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((run / "rescore_math.json").read_text())
    assert (found["answers"], found["old"]["failed"]) == (5, 1)


def test_a_reward_sees_the_answers_as_the_run_did(run):
    (run / "own.py").write_text(
        "def own(prompt, completion, answer, finish, completion_ids):\n"
        "    assert prompt == 'Q:' and answer == '1/2' and completion_ids == [1, 2]\n"
        "    return float(finish == 'length')\n"
    )
    assert main(["rescore", str(run), f"reward={run}/own.py:own"]) == 0
    (file,) = run.glob("rescore_*own.json")
    assert json.loads(file.read_text())["new"] == {"mean": 0.2, "accuracy": 0.2, "failed": 0}


def test_the_ways_of_an_evaluation(run):
    assert main(["rescore", str(run), "--reward=math", "ways=lenient"]) == 0
    assert json.loads((run / "rescore_math.json").read_text())["new"]["accuracy"] == 0.6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "takes a run's folder and a reward"),
        (["{run}"], "takes a run's folder and a reward"),
        (["{run}", "--reward", "mth"], "did you mean 'math'?"),
        (["{run}/nothing", "--reward", "math"], "lies in the folder of a run; name that, "),
        (["{run}", "--rewrd", "math"], "takes no option '--rewrd'"),
    ],
)
def test_a_mistake_is_one_sentence(run, capsys, words, said):
    assert main(["rescore", *(word.format(run=run) for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_a_run_without_answers(tmp_path, capsys):
    RunFolder.create(tmp_path, {}).close()
    assert main(["rescore", str(tmp_path), "--reward", "math"]) == 2
    assert "holds no transcripts (no transcripts/step_*.parquet)" in capsys.readouterr().err
