"""docs/tutorial.md is true: its arithmetic, its tables, and what its commands print.

Rewards and texts may differ between processors, so the numbers of a table are compared with what follows from
its own rewards, on the page and in a new run alike, and the lines around the tables with each other.
"""

import math
import re
from pathlib import Path

import pytest

from menon.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
TRAIN = re.findall(r"```sh\n(menon train .*)\n```", PAGE)
SHOWN = dict(re.findall(r"```console\n\$ (menon show .*)\n([^`]*)```", PAGE))
FIRST, LATER = "menon show runs/group step=1 group=0", "menon show runs/group step=5 group=1"
SUM = re.compile(r"`([-+*/(). \d]+) = ([-+]?[\d.]+)`")
ANSWER = re.compile(r" {5}(\d) +([01]) +([01]) +(\d+)  (?:stop|length) +([-+.\d]+)  ")
RATIO = re.compile(r" {5}(\d) +(\d) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) % +([\d.]+)")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Command -> its output, of one step of the page's own run."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "80")
        words = TRAIN[0].split()[1:]
        quick = ["steps=1", "heldout=1", "report_questions=0", "threads=1", "device=cpu"]
        assert main([*(word for word in words if not word.startswith("steps=")), *quick]) == 0
        yield


def numbers(pattern, text):
    return [tuple(map(float, row)) for row in pattern.findall(text)]


def check_tables(text):
    """The advantages follow from the rewards, (r - mean) / (deviation over n - 1 + 1e-6), or are 0 where the
    rewards are equal; the ratios of the first update are 1."""
    answers, ratios = numbers(ANSWER, text), numbers(RATIO, text)
    assert [row[0] for row in answers] == [row[0] for row in ratios] == list(range(8))
    rewards = [row[1] for row in answers]
    mean = sum(rewards) / 8
    deviation = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / 7)
    assert f"reward     mean {mean:.3f}, standard deviation {deviation:.3f} (over n - 1)" in text
    for _, reward, acc, _, advantage in answers:
        assert acc == reward
        assert advantage == pytest.approx((reward - mean) / (deviation + 1e-6), abs=6e-4)
    for (_, _, _, length, advantage), (_, update, tokens, average, low, high, clipped, _) in zip(
        answers, ratios, strict=True
    ):
        assert (update in range(4), tokens) == (True, length)
        assert low <= average <= high
        if update == 0:
            assert (low, average, high, clipped) == (1, 1, 1, 0)
        else:
            assert low < high
            beyond = high > 1.2 if advantage > 0 else low < 0.8 if advantage < 0 else False
            assert (clipped > 0) == beyond


def around(text):
    """The lines that are in no table, without their numbers."""
    lines = [line for line in text.splitlines() if not line.startswith("     ")]
    return [re.sub(r"[-+]?\d[\d.+=?]*", "0", line) for line in lines]


@pytest.mark.parametrize("command", [FIRST, LATER])
def test_the_tables_of_the_page(command):
    check_tables(SHOWN[command])


def test_the_page_has_a_mixed_and_an_equal_group():
    assert list(SHOWN) == [FIRST, LATER]
    rewards = [{row[1] for row in numbers(ANSWER, SHOWN[command])} for command in SHOWN]
    assert rewards == [{0, 1}, {1}]


def test_a_new_run_prints_what_the_page_shows(fresh, capsys):
    assert main(FIRST.split()[1:]) == 0
    text = capsys.readouterr().out
    check_tables(text)
    assert around(text) == around(SHOWN[FIRST]) == around(SHOWN[LATER])
    assert text.splitlines()[:4] == SHOWN[FIRST].splitlines()[:4]  # the question, and its gold answer


def test_the_whole_step_agrees_with_its_metrics(fresh, capsys):
    """All ratios of the step: their largest, mean, and share that is clipped are those that the run
    measured itself."""
    from menon.cli.show_group import clip_of
    from menon.record.group import read_group
    from menon.record.reader import RunView

    view = RunView.open("runs/group")
    answers = [answer for group in range(8) for answer in read_group(view, 1, group)]
    clip = clip_of(view.settings)
    ratios = [ratio for answer in answers for ratio in answer.ratio.before[answer.trained]]
    clipped = [one for a in answers for one in clip.clips(a.ratio.before[a.trained], a.advantage)]
    measured = view.metrics[0]
    assert measured["clip/frac"] == pytest.approx(sum(clipped) / len(clipped), abs=1e-9)
    assert measured["ratio/mean"] == pytest.approx(sum(ratios) / len(ratios), abs=1e-6)
    assert measured["ratio/max"] == pytest.approx(max(ratios), rel=1e-6)
    assert measured["clip/frac"] > 0
    firsts = {ratio for a in answers if a.ratio.first for ratio in a.ratio.before[a.trained]}
    assert firsts == {1.0}
    assert main(["show", "runs/group", "step=1"]) == 0
    text = capsys.readouterr().out
    assert f"mean reward {measured['reward/mean']:.3f}" in text


def test_the_arithmetic_of_the_page():
    sums = SUM.findall(PAGE)
    assert len(sums) >= 9
    for left, right in sums:
        digits = len(right.partition(".")[2])
        assert f"{eval(left):.{digits}f}" == right.removeprefix("+"), left


def test_what_the_text_says_of_the_tables():
    """The mean and the advantages that are worked out, and the token that is clipped, are those shown."""
    answers, ratios = numbers(ANSWER, SHOWN[FIRST]), numbers(RATIO, SHOWN[FIRST])
    scores = " + ".join(f"{row[1]:g}" for row in answers)
    assert f"`({scores}) / 8 = 0.375`" in " ".join(PAGE.split())
    assert {f"{row[4]:+.3f}" for row in answers} == {"+1.208", "-0.725"}
    assert (ratios[0][1], ratios[0][2], ratios[0][4], ratios[0][6]) == (3, 4, 0.785, 25)
    assert "In update 3 the first of the four tokens of answer 0, `#`, had the ratio 0.785" in " ".join(
        PAGE.split()
    )


def test_the_page_is_short():
    assert PAGE.count("\n") <= 150
