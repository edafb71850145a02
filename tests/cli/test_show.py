"""What a step wrote, a group, an answer token by token, a tree: the numbers are worked out by hand.

The group has four answers of two tokens to "3+4=". Rewards 1, 0, 0 and one whose grader failed: mean 1/3,
deviation sqrt(1/3) = .577, so the advantages are 1.155, -.577, -.577. Answer 0 is in the second update, whose
old probabilities are .5 and .4: they were .65 and .4 in the loss (ratios 1.3 and 1; the first is clipped) and
.7 and .2 after it (1.4 and .5). Answer 1 is in the first.
"""

import re
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from menon.batch import columns_per, pack
from menon.cli import main
from menon.cli.lines import folded_text, table
from menon.cli.show import show
from menon.cli.show_step import told_apart
from menon.errors import UserError
from menon.record.folder import RunFolder
from menon.record.transcripts import write_transcript
from menon.record.updates import write_updates
from menon.settings import merged
from menon.types import Estimate, Graded, Prompt, Rollout, StepReport, UpdateRecord, Verdict

ROOT, A = Estimate(0.75, 0.25, 2), Estimate(0.5, 0.5, 2)
NAN = np.nan
CLIP = {"kind": "ppo_clip", "clip_low": 0.2, "clip_high": 0.2}
SETTINGS = {
    "objective": {"policy": {"loss": CLIP}},
    "advantage": {"credit": {"kind": "grpo"}},
    "models": {"policy": {"old": "trainer"}},
    "control": {"record": "full"},
}


def floats(*values):
    return np.array(values, dtype=np.float32)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def printed(capsys, *words):
    assert show([str(word) for word in words]) == 0
    return capsys.readouterr().out.splitlines()


# Writing


def written(folder, step, graded, text=None, **columns):
    """A transcript; `columns` are those of its tokens besides what the rollouts have."""
    batch = pack(graded)
    stored = {
        name: column.numpy() for name in columns_per("token") if (column := getattr(batch, name)) is not None
    }
    (folder / "transcripts").mkdir(exist_ok=True)
    report = StepReport(step, {}, tuple(graded), stored | columns, batch.offset.numpy(), "f")
    write_transcript(folder / "transcripts" / f"step_{step:06d}.parquet", report, text)


def answer(group, sample, text, score, acc=None, **more):
    """Two tokens of prompt, two of answer."""
    rollout = Rollout(
        prompt=more.pop("prompt", Prompt(7, np.array([1, 2], dtype=np.int32), "3+4=\n", "7")),
        tokens=np.array([1, 2, 3, 4], dtype=np.int32),
        is_action=np.array([False, False, True, True]),
        logp=np.log(floats(1, 1, 0.5, 0.4)),
        log_kept=floats(0, 0, 0, 0),
        entropy=floats(0, 0, 0.69, 0.01),
        version=np.zeros(4, dtype=np.int32),
        finish=more.pop("finish", "stop"),
        text=text,
        group=group,
        sample=sample,
    )
    verdict = Verdict(score, score if acc is None else acc, more.pop("parts", {}), more.pop("error", ""))
    return Graded(rollout, verdict, **more)


def spans(tokens):
    """The text of each token: two letters for each of the prompt, then "a" and a line break."""
    return "3+4=a\n", np.array([0, 2, 4, 5], dtype=np.int32)


@pytest.fixture
def run(tmp_path):
    """Step 1 with a mixed and an equal group, step 4 without an answer."""
    folder = tmp_path / "my run"
    RunFolder.create(folder, SETTINGS).close()
    graded = [
        answer(0, 0, "3+4=7\n#7", 1.0, parts={"format": 0.5}),
        answer(0, 1, "#\x1b[31m8", 0.0),
        answer(0, 2, "x" * 300, 0.0, finish="length", learn=False),
        answer(0, 3, "", NAN, NAN, error="timed\nout"),
        answer(1, 0, "a", 1.0),
        answer(1, 1, "b", 1.0),
    ]
    shares = [1.1547, -0.57735, 0, 0, 0, 0]
    advantage = np.concatenate([floats(0, 0, share, share) for share in shares])
    old = np.full((6, 4), NAN, dtype=np.float32)
    old[[0, 2, 3, 4, 5], 2:] = np.log(floats(0.5, 0.4))
    written(folder, 1, graded, spans, advantage=advantage, old_logp=old.reshape(-1))
    write_records(folder, 1)
    written(folder, 4, [])
    return folder


def write_records(folder, step):
    (folder / "updates").mkdir(exist_ok=True)
    weight = floats(0, 0, 0.5, 0.5)
    first = UpdateRecord(
        *(0, "policy", "policy", np.array([1, 4, 5]), np.array([0, 4, 8, 12]), np.tile(weight, 3)),
        logp_before=np.tile(np.log(floats(1, 1, 0.5, 0.4)), 3),
        logp_after=np.tile(np.log(floats(1, 1, 0.25, 0.4)), 3),
    )
    second = UpdateRecord(
        *(1, "policy", "policy", np.array([0]), np.array([0, 4]), weight),
        logp_before=np.log(floats(1, 1, 0.65, 0.4)),
        logp_after=np.log(floats(1, 1, 0.7, 0.2)),
    )
    critic = UpdateRecord(2, "critic", "value", np.array([0]), np.array([0, 4]), weight)
    write_updates(folder / "updates" / f"step_{step:06d}.parquet", step, [first, second, critic])


def settings(folder, change):
    """The folder anew with other settings."""
    (folder / "run.json").unlink()
    RunFolder.create(folder, merged(SETTINGS, change)).close()


# A step


def test_the_groups_of_a_step(run, capsys):
    assert printed(capsys, run, "step=1") == [
        "step 1: 2 groups, 6 answers, mean reward 0.600",
        "",
        "group  question  gold  rewards   mean",
        "    0  3+4=         7  100?     0.333  mixed",
        "    1  3+4=         7  11       1.000  equal",
        "",
        "mixed: 1 of 2 groups, whose answers earned different rewards",
        "nothing to learn: in 1 group every advantage is 0",
        "",
        f"one group:  menon show '{run}' step=1 group=0",
    ]


def test_rewards_that_are_no_digits(run, capsys):
    scores = [0.25, 1.5, NAN]
    written(run, 2, [answer(0, i, "a", score) for i, score in enumerate(scores)])
    written(run, 3, [answer(0, i, "a", float(i < 9)) for i in range(20)] + [answer(1, 0, "a", NAN)])
    assert printed(capsys, run, "step=2")[3] == "    0  3+4=         7  0.25 to 1.5  0.875  mixed"
    many = printed(capsys, run, "step=3")
    assert many[3:5] == [
        "    0  3+4=         7  0 to 1   0.450  mixed",
        "    1  3+4=         7  ?            -  equal",
    ]
    assert many[6] == "mixed: 1 of 2 groups, whose answers earned different rewards"
    assert not any("nothing to learn" in line for line in many)  # no advantages are stored


def test_shaping_can_make_a_group_mixed(run, capsys):
    graded = [answer(0, 0, "a", 1.0), answer(0, 1, "bb", 1.0)]
    written(run, 2, graded, reward=floats(0, 0, 0, 1, 0, 0, 0, 0.5))
    assert printed(capsys, run, "step=2")[3].endswith("11       1.000  mixed")
    lines = printed(capsys, run, "step=2", "group=0")
    assert lines[4:6] == [
        "reward     mean 1.000, standard deviation 0.000 (over n - 1)",
        "shaped     mean 0.750, standard deviation 0.354 (over n - 1)",
    ]
    assert lines[8:11] == [
        "answer  reward  shaped  acc  tokens  finish  advantage  text",
        "     0       1       1    1       2  stop            -  a",
        "     1       1     0.5    1       2  stop            -  bb",
    ]


def test_questions_in_a_template_are_told_apart():
    prompts = ["System: be brief.\nUser: what is 31+4?\nYou:", "System: be brief.\nUser: what is 35?\nYou:"]
    assert told_apart(prompts, 50) == [prompt.replace("\n", "↵") for prompt in prompts]
    assert told_apart(prompts, 20) == ["31+4?", "35?"]
    assert told_apart(["a" * 30] * 2, 10) == ["aaaaaaa..."] * 2


# A group


def test_a_group(run, capsys):
    lines = printed(capsys, run, "step=1", "group=0")
    assert lines[:16] == [
        "step 1, group 0: 4 answers",
        "",
        "question   3+4=",
        "gold       7",
        "reward     mean 0.333, standard deviation 0.577 (over n - 1)",
        "advantage  by grpo",
        "",
        "answer  reward  acc  tokens  finish  advantage  text",
        "     0       1    1       2  stop       +1.155  3+4=7↵#7",
        "                                                (parts: format 0.5)",
        "     1       0    0       2  stop       -0.577  #\N{REPLACEMENT CHARACTER}[31m8",
        f"     2       0    0       2  length          -  {'x' * 32}",
        " " * 48 + "x" * 32,
        " " * 48 + "... (5 lines)",
        " " * 48 + "x" * 32,
        " " * 48 + "x" * 32,
    ]
    assert lines[16:20] == [
        " " * 48 + "x" * 12,
        " " * 48 + "(not learned from)",
        "     3  failed    -       2  stop            -",
        " " * 48 + "(timed↵out)",
    ]
    assert lines[21:] == [
        "Each token's ratio: its probability in the update that learned from the answer,",
        "divided by that before the step; mean after: when that update was made.",
        "answer  update  tokens   mean    min    max  clipped  mean after",
        "     0       1       2  1.150  1.000  1.300   50.0 %       0.950",
        "     1       0       2  1.000  1.000  1.000    0.0 %       0.750",
        "     2       -       -      -      -      -        -           -",
        "     3       -       -      -      -      -        -           -",
        "",
        "The policy had 2 updates in this step.",
        "In the first every ratio is 1, because the policy has not changed yet.",
        "clipped by ppo_clip: ratios above 1.2 where the advantage is positive, below",
        "0.8 where it is negative. Such tokens have no gradient.",
        "",
        f"one answer:  menon show '{run}' step=1 group=0 answer=0",
    ]


def test_a_group_of_a_lean_run(run, capsys):
    shutil.rmtree(run / "updates")
    lines = printed(capsys, run, "step=1", "group=1")
    assert "The updates of this step are not in the folder, so no ratios are shown." in lines
    settings(run, {"control": {"record": "lean"}})
    lines = printed(capsys, run, "step=1", "group=1")
    assert lines[-4:-2] == [
        "The ratios of this run were not stored. A run with record=full stores the",
        "log-probs before and after every update.",
    ]
    assert printed(capsys, run, "step=1", "group=1", "answer=0")[-2:] == lines[-4:-2]


def test_ratios_to_the_behaviour_policy(run, capsys):
    """old=behaviour: the first update has old log-probs too, here none were stored for answer 1."""
    settings(run, {"models": {"policy": {"old": "behaviour"}}})
    lines = printed(capsys, run, "step=1", "group=0")
    assert "divided by that when it was written; mean after: when that update was made." in lines
    assert "     1       0       2      -      -      -        -           -" in lines
    assert not any("has not changed yet" in line for line in lines)
    lines = printed(capsys, run, "step=1", "group=1")  # .5 and .4 are stored; .25 and .4 after it
    assert "     0       0       2  1.000  1.000  1.000    0.0 %       0.750" in lines


def test_a_loss_that_clips_no_tokens(run, capsys):
    settings(run, {"objective": {"policy": {"loss": {**CLIP, "kind": "gspo"}}}})
    lines = printed(capsys, run, "step=1", "group=0")
    assert "answer  update  tokens   mean    min    max  mean after" in lines
    assert "     0       1       2  1.150  1.000  1.300       0.950" in lines
    assert "The loss (gspo) clips no single tokens by their ratios." in lines


def test_advantages_within_an_answer(run, capsys):
    written(run, 2, [answer(0, 0, "a", 1.0)], advantage=floats(0, 0, 0.5, 1.0))
    lines = printed(capsys, run, "step=2", "group=0")
    assert lines[4] == "reward     mean 1.000"
    assert "     0       1    1       2  stop       +0.750  a" in lines
    assert "Advantages differ from token to token; their mean over the answer is shown." in lines


# An answer


def test_an_answer_token_by_token(run, capsys):
    assert printed(capsys, run, "step=1", "group=0", "answer=0") == [
        "step 1, group 0, answer 0",
        "",
        "question   3+4=",
        "gold       7",
        "reward     1, acc 1, 2 tokens, finish stop",
        "advantage  +1.155",
        "           (parts: format 0.5)",
        "",
        "  | 3+4=7",
        "  | #7",
        "",
        "token  text    prob  entropy  advantage  ratio  after",
        "    0  a     0.5000   0.6900     +1.155  1.300  1.400  clipped",
        "    1  ↵     0.4000   0.0100     +1.155  1.000  0.500",
        "",
        "prob: of the token when it was written, at the sampling temperature",
        "entropy: of the choice that it was drawn from, in nats; colours show it",
        "ratio: the probability in update 1, divided by that before the step",
        "after: the same after that update",
        "clipped by ppo_clip: ratios above 1.2 where the advantage is positive, below",
        "0.8 where it is negative. Such tokens have no gradient.",
    ]


def test_an_answer_that_no_update_learned_from(run, capsys):
    lines = printed(capsys, run, "step=1", "group=0", "answer=3")
    assert lines[4] == "reward     failed, 2 tokens, finish stop"
    assert lines[-6] == "    0  a     0.5000   0.6900          -"
    assert lines[-1] == "No update of the policy in this step learned from this, so there are no ratios."


def test_what_an_environment_wrote(run, capsys):
    one = answer(0, 0, "ab", 1.0)
    tokens = {"tokens": np.arange(5, dtype=np.int32), "is_action": np.array([0, 0, 1, 0, 1], dtype=bool)}
    for name in ("logp", "log_kept", "entropy", "version"):
        tokens[name] = np.append(getattr(one.rollout, name), getattr(one.rollout, name)[-1:])
    graded = [replace(one, rollout=replace(one.rollout, **tokens))]
    written(run, 2, graded, lambda tokens: ("3+4=a 7", np.array([0, 2, 4, 5, 6], dtype=np.int32)))
    lines = printed(capsys, run, "step=2", "group=0", "answer=0")
    start = lines.index("token  text    prob  entropy")
    assert lines[start + 1 : start + 4] == [
        "    0  a     0.5000   0.6900",
        "    1  ␣          -        -",
        "    2  7     0.4000   0.0100",
    ]
    assert "Tokens without numbers are the environment's." in lines


def test_without_texts_and_entropies(run, capsys):
    """A folder of format 1, and a sampler that gives less."""
    graded = [answer(0, 0, "a", 1.0)]
    written(run, 2, graded)
    path = run / "transcripts" / "step_000002.parquet"
    pq.write_table(pq.read_table(path).drop(["entropy"]), path)
    lines = printed(capsys, run, "step=2", "group=0", "answer=0")
    assert "    0  id 3  0.5000" in [line.rstrip() for line in lines]
    assert "The sampler of this run gives no entropies." in lines
    assert "A folder of format 1 has no text of each token; their numbers are shown." in lines


# The terminal


def test_colours_only_on_a_terminal(run, capsys, monkeypatch):
    words = [str(run), "step=1", "group=0", "answer=0"]
    show(words)
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    show(words)
    coloured = capsys.readouterr().out
    assert "\x1b[" in coloured
    show([*words[:3]])
    out = capsys.readouterr().out
    assert "\x1b[31m8" not in out  # what the model wrote
    assert re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()[0] == "step 1, group 0: 4 answers"


def test_lines_fit_the_width(run, capsys):
    for words in (["step=1"], ["step=1", "group=0"], ["step=1", "group=0", "answer=2"]):
        lines = printed(capsys, run, *words)
        assert max(len(line) for line in lines if "menon show" not in line) <= 80


def test_long_questions_fit_the_width(run, capsys, trees):
    long = Prompt(7, np.array([1, 2], dtype=np.int32), "why " * 50, "because " * 9)
    scores = [-0.12345, -0.23456, *[0.5] * 6]
    written(run, 2, [answer(0, i, "a", score, prompt=long) for i, score in enumerate(scores)])
    written(run, 3, [answer(0, i, "a", float(i % 2), prompt=long) for i in range(16)])
    for folder, step in ((run, 2), (run, 3), (trees, 3)):
        lines = [line for line in printed(capsys, folder, f"step={step}") if "menon show" not in line]
        assert max(map(len, lines)) <= 80
    assert "-0.2346 to 0.5" in printed(capsys, run, "step=2")[3]
    assert "0101010101010101" in printed(capsys, run, "step=3")[3]


def test_an_empty_answer(run, capsys):
    one = answer(0, 0, "", 0.0)
    none = replace(one, rollout=replace(one.rollout, is_action=np.zeros(4, dtype=bool)))
    written(run, 1, [none], spans, advantage=floats(0, 0, 0, 0))
    (run / "updates" / "step_000001.parquet").unlink()
    zero = UpdateRecord(
        *(0, "policy", "policy", np.array([0]), np.array([0, 4]), floats(0, 0, 0, 0)),
        logp_before=floats(0, 0, 0, 0),
        logp_after=floats(0, 0, 0, 0),
    )
    write_updates(run / "updates" / "step_000001.parquet", 1, [zero])
    lines = printed(capsys, run, "step=1", "group=0")
    assert "     0       0    0       0  stop            -" in lines
    assert "     0       0       0     -    -    -        -           -" in lines
    assert "reward     0, acc 0, 0 tokens, finish stop" in printed(
        capsys, run, "step=1", "group=0", "answer=0"
    )


def test_wide_characters_are_aligned():
    lines = [line.plain for line in table(["a", "b"], [["数", "1"], ["xyz", "2"]], ["a"])]
    assert lines == ["a    b", "数   1", "xyz  2"]
    assert folded_text("数" * 5, 4) == ["数数", "数数", "数"]


def test_a_run_that_goes_on_and_one_that_was_moved(run, capsys, tmp_path):
    before = printed(capsys, run, "step=1", "group=0")
    folder = RunFolder.open(run)
    assert folder.view.state == "running"
    assert printed(capsys, run, "step=1", "group=0") == before
    folder.close()
    shutil.move(run, tmp_path / "elsewhere")
    moved = printed(capsys, tmp_path / "elsewhere", "step=1", "group=0")
    assert moved[:-1] == before[:-1]


# Trees


def node(number, parent, depth, text, start, score, acc=NAN, group=0, **graded):
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
def trees(tmp_path):
    """Root .75 of a (.5, leaves 1 and 0) and b, which ended early with 1; a second tree; an old edge."""
    graded = [
        node(1, 0, 1, "a\n", ROOT, 0.5, learn=False),
        node(2, 0, 1, "b\x1b", ROOT, 1.0, 1.0),
        node(3, 1, 2, "a\nright", A, 1.0, 1.0),
        node(4, 1, 2, "a\n" + "0" * 80, A, 0.0, 0.0),
        node(1, 0, 1, "c", Estimate(0, 0, 1), 0.0, 0.0, group=1),
        node(9, 1, 2, "old", A, 1.0, group=2, age=2),
    ]
    RunFolder.create(tmp_path, {}).close()
    written(tmp_path, 3, graded)
    return tmp_path


def test_a_tree_is_drawn(trees, capsys):
    assert printed(capsys, trees, "step=3", "group=0") == [
        "question   3+4=",
        "gold       7",
        "value 0.750 ± 0.177   4 nodes   * learned from in this step",
        "  1 ├ 0.50 ± 0.35 (-0.25)  a↵",
        "* 3 │ ├ 1.00 (+0.50)  right  right",
        f"* 4 │ └ 0.00 (-0.50)  {'0' * 48}...  wrong",
        "* 2 └ 1.00 (+0.25)  b\N{REPLACEMENT CHARACTER}  right",
    ]
    assert printed(capsys, trees, "step=3", "group=1")[-1] == "* 1 └ 0.00 (+0.00)  c  wrong"


def test_the_trees_of_a_step(trees, capsys):
    assert printed(capsys, trees, "step=3") == [
        "step 3: 2 trees, 5 nodes",
        "",
        "group  question  gold  nodes          value  learned from",
        "    0  3+4=         7      4  0.750 ± 0.177             3",
        "    1  3+4=         7      1  0.000 ± 0.000             1",
        "",
        f"one tree:  menon show {trees} step=3 group=0",
    ]


def test_a_node_of_a_tree(trees, capsys):
    lines = printed(capsys, trees, "step=3", "group=0", "answer=3")
    assert lines[0] == "step 3, group 0, node 3"
    assert "  | right" in lines


# Mistakes

USAGE = "menon show takes a run's folder, a step, and maybe a group and an answer, like menon show runs/mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["step=9"], "has no transcripts of step 9; it has 1, 4"),
        (["step=4"], "step 4 of .* wrote no answers; choose another step"),
        (["step=4", "group=0"], "step 4 of .* has no group 0; it has none at all"),
        (["step=1", "group=7"], "step 1 of .* has no group 7; it has 0 to 1"),
        (["step=1", "group=0", "answer=9"], "group 0 of step 1 has no answer 9; it has 0 to 3"),
        (["step=x"], f"step takes a number, not 'x'; {USAGE}"),
        (["step=1", "group=-1"], "group takes a number, not '-1'"),
        (["group=1"], "group=1 needs a step too, like menon show runs/mine step=5 group=3 answer=2"),
        (["step=1", "answer=1"], "answer=1 needs a group too"),
        (["--tree", "3"], f"there is no option --tree; {USAGE}"),
        (["step=1", "k=1"], USAGE),
        (["other"], USAGE),
        ([], f"{USAGE} step=5 group=3 answer=2; .* has the steps 1, 4"),
    ],
)
def test_mistakes(run, words, said):
    with pytest.raises(UserError, match=said):
        show([str(run), *words])


def test_mistakes_in_trees(trees):
    with pytest.raises(UserError, match="has no group 2; it has 0 to 1"):
        show([str(trees), "step=3", "group=2"])
    with pytest.raises(UserError, match="group 0 of step 3 has no node 5; it has 1 to 4"):
        show([str(trees), "step=3", "group=0", "answer=5"])


def test_no_run(tmp_path):
    with pytest.raises(UserError, match=r"holds no run \(it has no run.json\)"):
        show([str(tmp_path), "step=1"])
    RunFolder.create(tmp_path, {}).close()
    with pytest.raises(UserError, match="has no transcripts of step 1; it has no transcripts at all"):
        show([str(tmp_path), "step=1"])
    with pytest.raises(UserError, match="holds no transcripts"):
        show([str(tmp_path)])


def test_the_command(run, capsys):
    assert main(["show", str(run), "step=1", "group=3"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
