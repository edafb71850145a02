"""Text that is written while earlier text is learned from: nothing lost, nothing twice, nothing favoured,
nothing older than the bound, for any speed of either side."""

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.errors import UserError
from menon.loop import Run, loop
from menon.parts import Around
from menon.prompts.order import Shuffled
from menon.record.reader import RunView
from menon.rollout.best_of import BestOf
from menon.rollout.groups import Groups
from menon.source.asynchronous import Asynchronous
from menon.source.online import Online
from menon.source.protocols import Gathered
from menon.sync.by_copy import ByCopy
from menon.types import Sampling, StepReport, Verdict
from scripted import Queue, question
from scripted_writing import SlowSampler
from sources import drawn_by, report
from tiny_run import Watching, models_of, online, opened, tiny_run, traces, weights_of

STEPS = 5


def zero(rollout: Any) -> Verdict:
    return Verdict(float(len(rollout.text)), 0.0)


def scripted(
    staleness: int, sampler: SlowSampler, prompts: Any = None, steps: int | None = None, grade: Any = zero
) -> Asynchronous:
    """Two prompts a step, two answers to each."""
    around = Around(2, 2, Sampling(max_new_tokens=50))
    inner = Online(prompts or Queue(), sampler, Groups(), grade, around)
    return Asynchronous(inner, staleness, steps)


def prompts_in(gathered: Gathered) -> list[int]:
    return [g.rollout.prompt.index for g in gathered.graded]


def learn(source: Asynchronous, sampler: SlowSampler, step: int, gathered: Gathered) -> None:
    source.learned(report(step, gathered))
    sampler.version = step
    source.published(step)


def ages(gathered: Gathered, step: int) -> list[int]:
    found: list[int] = []
    for g in gathered.graded:
        found += (step - 1 - g.rollout.version[g.rollout.is_action]).tolist()
    return found


def own_weights(run: Run, staleness: int) -> Run:
    """The run with a sampler of its own weights, whose text is written beside."""
    source, policy = online(run), models_of(run)["policy"]
    source.sampler = TorchSampler(own_copy(policy.model, torch.float32), source.sampler.tokenizer, seed=0)
    channel = ByCopy(policy, source.sampler)
    return replace(run, source=Asynchronous(source, staleness, run.steps), channel=channel, evaluate=None)


def drive(run: Run, path: Path, watch: Watching | None = None) -> None:
    try:
        with opened(path) as folder:
            loop(run, folder, watch or Watching())
    finally:
        run.source.close()


def test_staleness_0_is_the_synchronous_run_bit_for_bit(tmp_path):
    plain, run = tiny_run(steps=STEPS, evaluate=None), own_weights(tiny_run(steps=STEPS), 0)
    drive(plain, tmp_path / "plain")
    drive(run, tmp_path / "beside")
    found = []
    for path in (tmp_path / "plain", tmp_path / "beside"):
        (path / "checkpoints" / "best").symlink_to("none")
        found.append(traces(path))
        for line in found[-1]["metrics.jsonl"]:  # what only one of the two counts
            for name in [name for name in line if name.startswith("async/")]:
                del line[name]
    assert found[0] == found[1]
    one, other = weights_of(plain), weights_of(run)
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("staleness", [1, 3])
def test_steps_are_whole_in_the_order_of_drawing_and_no_token_is_too_old(staleness):
    """Answers of 1 to 30 tokens, learning that now and then takes long: whatever is finished first."""
    rng = np.random.default_rng(staleness)
    lengths = rng.choice([1, 2, 5, 30], size=(200, 2), p=[0.4, 0.3, 0.2, 0.1])
    sampler = SlowSampler(lambda p, v, s: int(lengths[p, s]), lambda turn: time.sleep(0.0005))
    source = scripted(staleness, sampler, steps=12)
    seen, old, several = [], [], 0
    for step in range(1, 13):
        gathered = source.next()
        seen += prompts_in(gathered)
        old += ages(gathered, step)
        for g in gathered.graded:
            assert g.rollout.num_actions == lengths[g.rollout.prompt.index, g.rollout.sample]
            assert g.rollout.tokens[g.rollout.is_action].tolist() == list(range(g.rollout.num_actions))
            assert (np.diff(g.rollout.version[g.rollout.is_action]) >= 0).all()
            several += len(set(g.rollout.version[g.rollout.is_action].tolist())) > 1
        if step % 3 == 0:
            time.sleep(0.01)
        learn(source, sampler, step, gathered)
    source.close()
    assert seen == [prompt for prompt in range(24) for _ in range(2)]
    assert 0 < max(old) <= staleness
    assert several > 0
    # Nothing was written for steps that the run does not have, and no answer was begun twice.
    assert max(prompt for prompt, *_ in sampler.asked) == 23
    begun = Counter(name[:3] for name in sampler.asked if name[3] == 0)
    again = Counter(name for name in sampler.asked)
    assert set(begun) == {(p, 0, s) for p in range(24) for s in range(2)}
    assert all(count == 1 or name[3] == 0 for name, count in again.items())


def test_a_step_begins_only_when_it_can_be_learned_within_the_bound():
    """At version v the steps up to v + 1 + K may begin; nothing is begun while weights are the same."""
    sampler = SlowSampler(lambda p, v, s: 1)
    source = scripted(2, sampler)
    highest = []
    for step in range(1, 6):
        gathered = source.next()
        learn(source, sampler, step, gathered)
        highest.append(max(prompt for prompt, *_ in sampler.asked) // 2)
    source.close()
    assert highest == [2, 3, 4, 5, 6]  # steps from 0: three begin at once, then one with each publication


def test_a_publication_does_not_wait_for_a_long_answer():
    """The first step's answers are short; one of the second has 500 tokens at 2 ms each."""
    sampler = SlowSampler(lambda p, v, s: 500 if (p, s) == (2, 0) else 2, lambda turn: time.sleep(0.002))
    source = scripted(1, sampler)
    gathered = source.next()
    start = time.perf_counter()
    learn(source, sampler, 1, gathered)
    assert time.perf_counter() - start < 0.3
    gathered = source.next()
    long = next(g.rollout for g in gathered.graded if g.rollout.num_actions == 500)
    assert set(long.version[long.is_action].tolist()) == {0, 1}
    assert float(gathered.metrics["async/computed_again"]) > 0
    source.close()


def test_an_error_comes_at_its_own_step_and_its_prompts_are_not_lost():
    def fail(turn: int) -> None:
        if turn == 4:
            raise OSError("the server is gone")

    sampler = SlowSampler(lambda p, v, s: 1 if p < 2 else 9, fail)
    source = scripted(1, sampler)
    gathered = source.next()
    assert prompts_in(gathered) == [0, 0, 1, 1]
    time.sleep(0.05)
    learn(source, sampler, 1, gathered)
    state = source.state()
    for _ in range(2):
        with pytest.raises(OSError, match="the server is gone"):
            source.next()
    source.close()
    sampler = SlowSampler(lambda p, v, s: 1)
    again = scripted(1, sampler)
    again.load(state)
    gathered = again.next()
    assert prompts_in(gathered) == [2, 2, 3, 3]
    assert gathered.wrote == {"groups": 2, "lengths": [1, 1, 1, 1], "again": 2}
    again.close()


def test_an_error_of_the_grader_is_raised_at_its_step():
    def grade(rollout: Any) -> Verdict:
        if rollout.prompt.index == 3:
            raise ValueError("a broken grader")
        return Verdict(0.0, 0.0)

    sampler = SlowSampler(lambda p, v, s: 1)
    source = scripted(1, sampler, grade=grade)
    learn(source, sampler, 1, source.next())
    with pytest.raises(ValueError, match="a broken grader"):
        source.next()
    source.close()


def test_graders_of_many_answers_get_what_they_would_in_a_synchronous_run():
    class Ranks:
        """Verdicts that depend on each other."""

        seen: list[int] = []  # noqa: RUF012

        def __call__(self, rollout: Any) -> Verdict:
            raise AssertionError("it is asked for all answers at once")

        def grade_all(self, rollouts: Any) -> list[Verdict]:
            self.seen.append(len(rollouts))
            order = np.argsort(np.argsort([len(r.text) for r in rollouts]))
            return [Verdict(float(rank), 0.0) for rank in order]

    sampler = SlowSampler(lambda p, v, s: 1 + (p * 7 + s * 3) % 5)
    source = scripted(1, sampler, grade=Ranks())
    gathered = source.next()
    assert sorted(g.verdict.score for g in gathered.graded) == [0, 1, 2, 3]
    source.close()
    assert set(Ranks.seen) == {4}


def test_it_notes_what_was_answered_and_is_quiet_between_steps():
    sampler = SlowSampler(lambda p, v, s: 20, lambda turn: time.sleep(0.001))
    source = scripted(1, sampler)
    gathered = source.next()
    learn(source, sampler, 1, gathered)
    turns = sampler.turns
    time.sleep(0.03)
    assert sampler.turns == turns
    source.close()


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def test_200_kills_lose_no_prompt_and_train_none_twice():
    """Law 10: the process dies in the middle of writing, of learning, before and after its checkpoint; the
    next one goes on from the newest checkpoint. Over all of them the trained prompts, with their visits, are
    exactly those that are drawn, in their order."""
    rng = np.random.default_rng(7)
    questions = [question(index) for index in range(17)]
    lengths = rng.choice([1, 3, 12], size=(17, 99, 2))
    saved: tuple[int, list[tuple[int, int]], dict[str, Any] | None] = (0, [], None)
    kills = 0
    while kills < 200:
        version, trained, state = saved
        staleness = int(rng.integers(1, 4))
        dies = int(rng.integers(1, 60))

        def turn(number: int, dies: int = dies) -> None:
            if number == dies:
                raise Killed

        sampler = SlowSampler(lambda p, v, s: int(lengths[p, v % 99, s]), turn)
        sampler.version = version
        source = scripted(staleness, sampler, Shuffled(questions, seed=3))
        if state is not None:
            source.load(state)
        try:
            for step in range(version + 1, version + 9):
                gathered = source.next()
                assert max(ages(gathered, step)) <= staleness
                trained = [*trained, *((g.rollout.prompt.index, g.rollout.visit) for g in gathered.graded)]
                if rng.random() < 0.1:
                    raise Killed  # in the update: what it learned is lost with it
                learn(source, sampler, step, gathered)
                if rng.random() < 0.7:
                    saved = step, trained, source.state()
        except Killed:
            kills += 1
        finally:
            source.close()
    step, trained, _ = saved
    whole = Shuffled(questions, seed=3).take(2 * step)
    assert step > 100
    assert trained == [(prompt.index, visit) for prompt, visit in whole for _ in range(2)]


@pytest.mark.parametrize("staleness", [1, 2])
def test_a_resumed_run_trains_no_prompt_twice_and_loses_none(tmp_path, staleness):
    """The same with real models, a run folder and its checkpoints: killed after each of these steps."""
    for last in (1, 2, 4, None):
        run = own_weights(tiny_run(steps=STEPS), staleness)

        def see(done: StepReport, last: int | None = last) -> None:
            if done.step == last:
                raise Killed

        try:
            drive(run, tmp_path / "run", Watching(see))
        except Killed:
            assert last is not None
    view = RunView.open(tmp_path / "run")
    rows = [row for step in view.transcripts.steps for row in view.transcripts.rows(step)]
    whole = drawn_by(tiny_run(steps=STEPS))
    whole.take(3 * STEPS)
    assert [row["prompt_index"] for row in rows] == [index for index, _ in whole.taken for _ in range(2)]
    wrote = [event for event in view.events if event["kind"] == "wrote"]
    assert [event["step"] for event in wrote] == list(range(1, STEPS + 1))
    assert sum(event["again"] for event in wrote) > 0


def test_log_probs_are_those_of_the_weights_that_wrote_each_token(tmp_path):
    """With the weights of every version kept, the learner gives each token the log-prob that it was drawn
    with, also where an answer survived a publication."""
    run = own_weights(tiny_run(steps=4), 1)
    policy = models_of(run)["policy"]
    kept = {0: weights_of(run)}
    seen: list[Any] = []

    def see(done: StepReport) -> None:
        kept[done.step] = weights_of(run)
        seen.extend(done.graded)

    drive(run, tmp_path / "run", Watching(see))
    assert len({v for g in seen for v in g.rollout.version[g.rollout.is_action].tolist()}) >= 3
    model = policy.model
    for version, weights in kept.items():
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.from_numpy(weights[name]))
        for g in seen:
            rollout = g.rollout
            mine = np.flatnonzero(rollout.is_action & (rollout.version == version))
            if len(mine):
                ids = torch.from_numpy(rollout.tokens.astype(np.int64))[None]
                with torch.no_grad():
                    logp = model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
                expected = logp[mine - 1, rollout.tokens[mine]].numpy()
                assert np.abs(expected - rollout.logp[mine]).max() < 1e-4


def test_what_cannot_pause_is_refused():
    inner = Online(Queue(), SlowSampler(lambda p, v, s: 1), BestOf(), zero, Around(2, 2))
    with pytest.raises(UserError, match="BestOf cannot pause in the middle of its text"):
        Asynchronous(inner, 1)
    with pytest.raises(UserError, match="staleness is -1; it must be at least 0"):
        scripted(-1, SlowSampler(lambda p, v, s: 1))
