"""A run on a simulated clock: times that can be worked out on paper, and bounds that hold for any lengths."""

from pathlib import Path

import pytest

from menon.cli import main
from menon.errors import UserError
from menon.settings import read
from menon.simulate.lengths import lengths_of
from menon.simulate.plan import SimulateConfig, planned, speed_of
from menon.simulate.run import Cluster, Found, Work, simulate
from menon.simulate.samplers import Speed

SPEED = Speed(step=0.1, each=0.01, read=0.001, slots=100)


def constant(prompt: int, visit: int, sample: int) -> int:
    return 50


def alternating(prompt: int, visit: int, sample: int) -> int:
    """Three of four answers have 10 tokens, one has 200."""
    return 200 if sample == 3 else 10


def of(length, staleness: int, learn: float = 0.001, samplers: int = 1, steps: int = 8) -> Found:
    cluster = Cluster(samplers, SPEED, update_seconds=2.0, learn_seconds=learn, publish_seconds=1.0)
    return simulate(cluster, Work(5, 4, 10, length, steps), staleness)


def test_a_synchronous_step_by_hand():
    """20 answers of 50 tokens in one sampler: five prompts of 10 tokens are read in .05 s, then 50 steps of
    .1 + 20 * .01 s are 15 s. 20 * (50 + 10) tokens at 1 ms and 2 s are 3.2 s of learning, then 1 s."""
    found = of(constant, 0)
    assert found.step == pytest.approx(15.05 + 3.2 + 1)
    assert found.seconds == pytest.approx(8 * found.step)
    assert found.tokens == pytest.approx(1000 / found.step)
    assert found.learner_idle == pytest.approx(1 - 3.2 / found.step)
    assert found.sampler_idle == pytest.approx(1 - 15.05 / found.step)
    assert found.slots_empty == pytest.approx(1 - 15.05 * 20 / 100 / found.step, abs=0.01)
    assert (found.staleness, found.oldest) == (0, 0)


def test_two_samplers_share_the_prompts():
    """Three prompts of five go to one of them: .03 s and 50 steps of .1 + 12 * .01 s."""
    assert of(constant, 0, samplers=2).step == pytest.approx(0.03 + 50 * 0.22 + 3.2 + 1)


def test_a_long_tail_by_hand():
    """Five answers of 200 tokens: 10 steps of 20 sequences, then 190 of 5."""
    expected = 0.05 + 10 * 0.3 + 190 * 0.15
    learn = 2 + 0.001 * (20 * 10 + 15 * 10 + 5 * 200)
    assert of(alternating, 0).step == pytest.approx(expected + learn + 1)


@pytest.mark.parametrize("learn", [0.001, 0.02, 0.05])
def test_asynchronous_is_never_slower_and_never_faster_than_either_side(learn):
    """For a sampler that is the slower side, equal sides, and a learner that is the slower side."""
    apart, last = of(alternating, 0, learn), None
    learning = (1 - apart.learner_idle) * apart.step
    for staleness in (1, 2):
        found = of(alternating, staleness, learn)
        assert learning + 1 - 1e-9 <= found.step <= apart.step
        assert last is None or found.step <= last * 1.02
        assert 0 < found.oldest <= staleness
        assert 0 < found.staleness <= staleness
        last = found.step


def test_a_slow_learner_never_waits():
    """Learning takes longer than any text, so all of it is hidden: 60 s and 1 s, and the learner is idle for
    that second."""
    found = of(constant, 1, learn=0.058 / 1.2)
    assert found.step == pytest.approx(60 + 1)
    assert found.learner_idle == pytest.approx(1 / 61)


def test_it_is_the_same_whenever_it_runs():
    lengths = lengths_of("lognormal", 40, 1.0, 400, 3)
    assert of(lengths, 2) == of(lengths_of("lognormal", 40, 1.0, 400, 3), 2)


def test_named_lengths_have_their_mean_and_are_cut():
    for name in ("exponential", "lognormal"):
        length = lengths_of(name, 100, 0.8, 10_000, 0)
        drawn = [length(prompt, 0, 0) for prompt in range(3000)]
        assert sum(drawn) / 3000 == pytest.approx(100, rel=0.06)
        assert min(drawn) >= 1
    assert max(lengths_of("exponential", 100, 0, 50, 0)(prompt, 0, 0) for prompt in range(99)) == 50
    assert lengths_of("constant", 7, 0, 50, 0)(1, 2, 3) == 7


def test_two_speeds_settle_a_decoding_step():
    """All 100 slots: 2,000 tokens a second; one alone: 50."""
    speed = speed_of(2000, 50, 1000, 100)
    assert 100 / (speed.step + 100 * speed.each) == pytest.approx(2000)
    assert 1 / (speed.step + speed.each) == pytest.approx(50)
    assert speed_of(50, 50, 1000, 1) == Speed(1 / 50, 0.0, 0.001, 1)


def test_devices_are_divided_as_the_work_is():
    config = SimulateConfig(devices=(8,), lengths="constant", prompts_per_step=16, steps=6, staleness=(0, 1))
    turns, beside = planned(config)
    assert (turns.layout, turns.staleness, beside.staleness) == ("in turns", 0, 1)
    samplers, learners = map(int, beside.layout.split(" + "))
    assert samplers + learners == 8
    assert beside.found.answers > 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"samplers": 2}, "samplers and learners belong together; give both, or devices alone"),
        ({"staleness": (6,)}, "steps is 8; it must be at least 9"),
        ({"lengths": "normal"}, "lengths=normal is neither a run folder nor one of constant, exponential"),
        ({"tokens_per_second": 10.0}, "tokens_per_second=10 of full slots is less than single"),
        ({"slots": 4}, "4 slots of 60 tokens a second each cannot write tokens_per_second=8000"),
        ({"mean_length": 0.0}, "mean_length is 0; it must be positive"),
        ({"devices": (1,)}, "devices is 1; it must be at least 2"),
        ({"staleness": ()}, "staleness and devices need at least one number each"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        list(planned(read(SimulateConfig, settings)))


def test_the_command_says_what_it_does_not_take(capsys):
    assert main(["simulate", "grpo"]) == 2
    assert "simulate takes settings alone, like devices=64; leave 'grpo' out" in capsys.readouterr().err
    assert main(["simulate", "staleness=x"]) == 2
    assert "staleness is x; give whole numbers, like staleness=1,2" in capsys.readouterr().err


def test_the_case_that_is_worked_out_in_the_docs(capsys):
    """The table of docs/asynchronous.md, and its numbers by hand."""
    page = (Path(__file__).parents[2] / "docs" / "asynchronous.md").read_text()
    block = next(part for part in page.split("```") if "$ menon simulate" in part)
    command, _, shown = block.strip().partition("\n")
    assert main(command.removeprefix("$ menon ").split()) == 0
    assert capsys.readouterr().out.strip() == shown.strip()
    each = (256 / 8000 - 1 / 60) / 255
    writing = 500 * (1 / 60 - each + 64 * each) + 8 * 200 / 50_000
    assert writing + 512 * 700 / 64_000 + 0.5 + 11 == pytest.approx(27.4, abs=0.05)
    assert pytest.approx(16.4, abs=0.05) == 512 * 700 / 24_000 + 0.5 + 1
