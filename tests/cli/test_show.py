"""`menon show`: a tree, root .75 of a (.5, leaves 1 and 0) and b, which ended early with 1; and a group."""

import numpy as np
import pytest

from menon.batch import columns_per, pack
from menon.cli.show import show
from menon.errors import UserError
from menon.record.folder import RunFolder
from menon.record.transcripts import write_transcript
from menon.types import Estimate, Graded, Prompt, Rollout, StepReport, Verdict

ROOT, A = Estimate(0.75, 0.25, 2), Estimate(0.5, 0.5, 2)


def node(number, parent, depth, text, start, score, acc=np.nan, group=0, **graded):
    zeros = np.zeros(3, dtype=np.float32)
    rollout = Rollout(
        prompt=Prompt(7, np.array([1, 2], dtype=np.int32), "3+4=\n", "7"),
        tokens=np.array([1, 2, 3], dtype=np.int32),
        is_action=np.array([False, False, True]),
        logp=zeros,
        log_kept=zeros,
        entropy=zeros,
        version=zeros.astype(np.int32),
        finish="length" if text == "a0" else "stop",
        text=text,
        group=group,
        node=number,
        parent=parent,
        depth=depth,
        states={2: start},
    )
    return Graded(rollout, Verdict(score, acc), **graded)


@pytest.fixture
def run(tmp_path):
    graded = [
        node(1, 0, 1, "a\n", ROOT, 0.5, learn=False),
        node(2, 0, 1, "b\x1b", ROOT, 1.0, 1.0),
        node(3, 1, 2, "a\nright", A, 1.0, 1.0),
        node(4, 1, 2, "a\n" + "0" * 80, A, 0.0, 0.0),
        node(1, 0, 1, "c", Estimate(0, 0, 1), 0.0, 0.0, group=1),
        node(9, 1, 2, "old", A, 1.0, group=2, age=2),
    ]
    RunFolder.create(tmp_path, {}).close()
    (tmp_path / "transcripts").mkdir()
    for step, chosen in ((3, graded), (4, [])):
        batch = pack(chosen)
        columns = {
            name: column.numpy()
            for name in columns_per("token")
            if (column := getattr(batch, name)) is not None
        }
        path = tmp_path / "transcripts" / f"step_{step:06d}.parquet"
        write_transcript(path, StepReport(step, {}, tuple(chosen), columns, batch.offset.numpy(), "f"))
    return tmp_path


def test_a_tree_is_drawn(run, capsys):
    assert show([str(run), "--step", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3+4=   answer 7",
        "value 0.750 ± 0.177   4 nodes   * learned from in this step",
        "  ├ 0.50 ± 0.35 (-0.25)  a ",
        "* │ ├ 1.00 (+0.50)  right  right",
        f"* │ └ 0.00 (-0.50)  {'0' * 56} ...  wrong",
        "* └ 1.00 (+0.25)  b\N{REPLACEMENT CHARACTER}  right",
    ]


def test_another_question(run, capsys):
    show([str(run), "--step=3", "--question", "2"])
    assert capsys.readouterr().out.splitlines()[-1] == "* └ 0.00 (+0.00)  c  wrong"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--step", "5"], "has no transcripts of step 5; it has 3 to 4"),
        (["--step", "4"], "step 4 of .* has no answers of its own"),
        (["--step", "3", "--question", "3"], "has 2 questions"),
        (["--step", "x"], "--step takes a number from 1 on, not 'x'"),
        (["--step"], "--step takes a number"),
        (["--draw"], "there is no option '--draw'"),
        ([], "menon show takes a run's folder and a step"),
    ],
)
def test_mistakes(run, words, said):
    with pytest.raises(UserError, match=said):
        show([str(run), *words])


def test_no_run(tmp_path):
    with pytest.raises(UserError, match=r"holds no run \(it has no run.json\)"):
        show([str(tmp_path), "--step", "1"])
    RunFolder.create(tmp_path, {}).close()
    with pytest.raises(UserError, match="has no transcripts of step 1; it has no transcripts at all"):
        show([str(tmp_path), "--step", "1"])


def answer(text, score, advantage, acc=np.nan, **graded):
    """Two tokens that the policy wrote, with log-probs -.25 and -.5 and entropies .2 and .4."""
    rollout = Rollout(
        prompt=Prompt(7, np.array([1, 2], dtype=np.int32), "3+4=\n", "7"),
        tokens=np.array([1, 2, 3, 4], dtype=np.int32),
        is_action=np.array([False, False, True, True]),
        logp=np.array([0, 0, -0.25, -0.5], dtype=np.float32),
        log_kept=np.zeros(4, dtype=np.float32),
        entropy=np.array([0, 0, 0.2, 0.4], dtype=np.float32),
        version=np.zeros(4, dtype=np.int32),
        finish="length" if text == "cut" else "stop",
        text=text,
        group=0,
    )
    return Graded(
        rollout, Verdict(score, acc, error="it broke" if score != score else ""), **graded
    ), advantage


def test_a_group_is_told(tmp_path, capsys):
    """Rewards 1, 0 and .5: mean .5, sample deviation .5; advantages 1, -1 and one that differs by token."""
    answers = [
        answer("#7\x1b", 1.0, [1.0, 1.0], acc=1.0),
        answer("cut", 0.0, [-1.0, -1.0], acc=0.0, learn=False),
        answer("one\n\ntwo", 0.5, [0.25, -0.5]),
        answer("broken", np.nan, [0.0, 0.0]),
    ]
    graded = [one for one, _ in answers]
    batch = pack(graded)
    columns = {
        name: column.numpy() for name in columns_per("token") if (column := getattr(batch, name)) is not None
    }
    columns["advantage"] = np.concatenate([[0.0, 0.0, *credit] for _, credit in answers]).astype(np.float32)
    columns["reward"] = columns["reward"] - 0.125 * (np.arange(16) == 11)  # the third answer is shaped
    RunFolder.create(tmp_path, {}).close()
    (tmp_path / "transcripts").mkdir()
    report = StepReport(1, {}, tuple(graded), columns, batch.offset.numpy(), "f")
    write_transcript(tmp_path / "transcripts" / "step_000001.parquet", report)
    assert show([str(tmp_path), "--step", "1"]) == 0
    rest = "2 tokens, log-prob -0.75, entropy 0.300 nats"
    assert capsys.readouterr().out.splitlines() == [
        "3+4=   the answer is 7",
        "4 answers, mean reward 0.500, sample deviation 0.500",
        "",
        f"1  reward 1, right, advantage +1.000, {rest}",
        "   | #7\N{REPLACEMENT CHARACTER}",
        "",
        f"2  reward 0, wrong, advantage -1.000, not learned from, {rest.replace(',', ' (cut),', 1)}",
        "   | cut",
        "",
        f"3  reward 0.5, shaped to 0.375, advantages -0.500 to +0.250, {rest}",
        "   | one",
        "   | ",
        "   | two",
        "",
        f"4  could not be graded: it broke, advantage +0.000, {rest}",
        "   | broken",
    ]
