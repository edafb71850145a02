"""From a run folder to its study: a tiny real run, and planted records where the law must be found."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.cli import main
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.loop import loop
from menon.record.folder import RunFolder
from menon.record.reader import RunView
from menon.study.checkpoints import Policies, tokens_of_run
from menon.study.entropy import EntropyStudy, forecast, law, points, study
from tiny_run import VOCAB, Watching, tiny_run

STEPS = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Four steps of three prompts and two answers, with checkpoints of the last two."""
    path = tmp_path_factory.mktemp("study") / "run"
    model = path.parent / "start"
    export(tiny_model(vocab=VOCAB, seed=0), tiny_tokenizer(VOCAB), model)
    with RunFolder.create(
        path, {"seed": 0, "model": str(model), "temperature": 1.0, "steps": STEPS}
    ) as folder:
        loop(tiny_run(steps=STEPS), folder, Watching())
    return path


def planted(path: Path, entropy, score) -> list[dict]:
    """A record whose numbers are given."""
    path.mkdir(exist_ok=True)
    lines = [
        {"step": i + 1, "entropy/mean": h, "acc/mean": r, "reward/mean": r}
        for i, (h, r) in enumerate(zip(entropy, score, strict=True))
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


H = np.linspace(1.0, 0.0, 60).tolist()
R = [0.9 - 0.3 * math.exp(h) for h in H]


def test_a_policy_reads_its_own_answers_as_it_wrote_them(run):
    """The first step was written by the start, the last one by the checkpoint before it."""
    policies = Policies(RunView.open(run), 64)
    (first,), steps = tokens_of_run(RunView(run), 1, first=True)
    assert steps == [1]
    np.testing.assert_allclose(policies.entropies("start", [first]), first.entropy, atol=1e-5)
    (last,), steps = tokens_of_run(RunView(run), 1)
    assert steps == [STEPS]
    np.testing.assert_allclose(policies.entropies(STEPS - 1, [last]), last.entropy, atol=1e-5)
    assert np.abs(policies.entropies("start", [last]) - last.entropy).max() > 1e-3
    assert policies.named() == [STEPS - 1, STEPS]


def test_a_whole_study(run):
    found = study(run, EntropyStudy(transcripts=2, n_min=1, rows=3))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert found["entropy"] == {"first": lines[0]["entropy/mean"], "last": lines[-1]["entropy/mean"]}
    assert found["tokens"]["steps"] == [3, 4]
    assert found["tokens"]["tokens"] == sum(line["tokens/generated"] for line in lines[-2:])
    assert found["first_step"]["mean"] == pytest.approx(lines[0]["entropy/mean"])
    assert found["covariance"]["first"]["mean"] == pytest.approx(lines[0]["cov/mean"], abs=1e-6)
    assert found["covariance"]["last"]["top20"] == pytest.approx(lines[-1]["cov/top20"], abs=1e-6)
    base, *others = found["fixed_answers"]["overlap"]
    assert (base["step"], base["with_base"]) == (0, 1.0)
    assert [(row["step"], row["with_last"] == 1) for row in others] == [
        (3, others[0]["with_last"] == 1),
        (4, True),
    ]
    assert base["with_last"] == others[-1]["with_base"]  # sets of one size: the share is the same both ways
    change = (
        sum(b["tokens"] * b["change"] for b in found["fixed_answers"]["bins"])
        / found["fixed_answers"]["tokens"]
    )
    assert change == pytest.approx(others[-1]["mean"] - base["mean"])
    assert [len(found["forking"][name]) for name in ("top", "bottom")] == [3, 3]
    assert found["law"] == {"missing": "the law of entropy needs 8 points and there are 4; let the run go on"}
    assert json.loads((run / "study" / "entropy.json").read_text()) == found


def test_a_planted_law_is_found_and_its_forecast_made_early(tmp_path):
    """60 steps: nine points; the later scores lie .02 above the law."""
    run = tmp_path / "run"
    planted(run, H[:9], R[:9])
    first = law(RunView(run), planned=60)
    assert (first["ceiling"], first["r2"]) == (pytest.approx(0.6), pytest.approx(1))
    assert (first["forecast"]["points"], first["forecast"]["made_after"], first["forecast"]["scored"]) == (
        9,
        9,
        None,
    )
    planted(run, H, R[:9] + [r + 0.02 for r in R[9:]])
    later = law(RunView(run), planned=60)
    assert later["forecast"]["made_after"] == 9
    assert later["forecast"]["scored"] == {
        "points": 51,
        "rmse": pytest.approx(0.02),
        "final_error": pytest.approx(-0.02),
    }
    planted(run, H, R)
    longer = law(RunView(run), planned=600)  # 90 points would be asked for; the stored one stands
    assert longer["forecast"]["points"] == 9


def test_a_forecast_of_other_points_is_made_again(tmp_path):
    forecast(RunView(tmp_path), "x", H[:8], R[:8], 8)
    assert forecast(RunView(tmp_path), "x", H[:8], [0.5 * r for r in R[:8]], 8)["ceiling"] == pytest.approx(
        0.3
    )
    with pytest.raises(UserError, match="made from the first 9 points, and there are 8"):
        forecast(RunView(tmp_path / "other"), "x", H[:8], R[:8], 9)


def test_held_out_scores_go_with_the_text_of_the_same_weights(tmp_path):
    planted(tmp_path, H[:20], R[:20])
    evaluations = [{"step": step, "accuracy": step / 100} for step in (0, 2, 4, 6, 8, 10, 12, 14, 20)]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(e) + "\n" for e in evaluations))
    score, h, r = points(RunView(tmp_path))  # the evaluation after step 20 has no text of its weights yet
    assert score == "held out"
    assert h == [H[step] for step in (0, 2, 4, 6, 8, 10, 12, 14)]
    assert r == [0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14]
    (tmp_path / "evaluations.jsonl").write_text(json.dumps(evaluations[0]) + "\n")
    assert points(RunView(tmp_path)) == ("training questions", H[:20], R[:20])


def test_the_command(run, capsys):
    assert main(["study", "entropy", str(run), "n_min=1", "threads=1"]) == 0
    text = capsys.readouterr().out
    assert "the law of entropy needs 8 points and there are 4" in text
    assert "top 20 % positions of " in text
    assert "95 to 100 %" in text
    assert str(run / "study" / "entropy.json") in text


def test_a_lost_transcript_is_told(run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run", symlinks=True)
    (tmp_path / "run" / "transcripts" / "step_000002.parquet").unlink()
    assert study(tmp_path / "run")["covariance"]["missing"].endswith(
        "holds 3 transcripts of 4 steps; the covariance follows all of them"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "study takes entropy or forecast, and a run folder: menon study entropy runs/mine"),
        (["entropie", "x"], "study takes entropy or forecast, and a run folder"),
        (
            ["entropy", "none"],
            "none holds no run (it has no run.json); name the folder that menon train wrote",
        ),
        (["entropy", "none", "rows=0"], "rows is 0; it must be at least 1"),
        (["entropy", "none", "row=3"], "unknown setting 'row'; did you mean 'rows'?"),
    ],
)
def test_every_mistake_is_one_sentence(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *words]) == 2
    assert capsys.readouterr().err.startswith(f"menon: {sentence}")


def test_a_run_without_a_step(tmp_path):
    RunFolder.create(tmp_path / "run", {"model": "base", "temperature": 1.0}).close()
    with pytest.raises(UserError, match="has not finished a step yet"):
        study(tmp_path / "run")
