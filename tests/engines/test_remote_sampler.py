"""A sampler in a process of its own writes bit for bit what it writes in this process, through kills too."""

import itertools
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.put_aside import tensors_within
from menon.engines.remote_sampler import ENTRY, RemoteSampler
from menon.engines.taking_turns import TakesTurns
from menon.errors import UserError
from menon.loop import Run, loop
from menon.processes import supervisor
from menon.processes.forkserver import Forkserver
from menon.record.reader import RunView
from menon.rollout.protocols import Sampler
from menon.sync.by_message import ByMessage
from menon.sync.fingerprint import fingerprint
from menon.types import Completion, Request, Sampling
from tiny_run import Watching, even, opened, tiny_run

V = 40


class Policy:
    def __init__(self, seed: int = 0) -> None:
        self.model = tiny_model("qwen3", seed, vocab=V)

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        return iter(self.model.named_parameters())


def here(policy: Policy, version: int = 0) -> TorchSampler:
    sampler = TorchSampler(policy.model, tiny_tokenizer(V), seed=5, slots=8)
    sampler.version = version
    return sampler


@pytest.fixture(scope="module", autouse=True)
def launch() -> Iterator[Forkserver]:
    """The processes are forked from one that has imported what they need."""
    global server
    server = Forkserver(ENTRY)
    yield server
    server.close()


def remote(policy: Policy, count: int = 1, **settings) -> RemoteSampler:
    launches = [server] * count
    return RemoteSampler(policy.model, tiny_tokenizer(V), launches, seed=5, slots=8, **settings)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy()


@pytest.fixture(scope="module")
def one(policy) -> Iterator[RemoteSampler]:
    sampler = remote(policy)
    ByMessage(policy, sampler).publish(0)
    yield sampler
    sampler.close()


@pytest.fixture(scope="module")
def two(policy) -> Iterator[RemoteSampler]:
    sampler = remote(policy, 2)
    ByMessage(policy, sampler).publish(0)
    yield sampler
    sampler.close()


def requests(samples: int = 5, new: int = 20) -> list[Request]:
    prompts = [prompt(i, range(1, 3 + 2 * i), vocab=V) for i in range(4)]
    settings = [Sampling(new), Sampling(new - 8, temperature=0.8, top_p=0.9, stop=("5", "a"))]
    return [Request(p, settings[k % 2], sample=k) for p in prompts for k in range(samples)]


def name(request: Request) -> tuple:
    return request.prompt.index, request.sample, request.visit, request.path, len(request.prefix)


def bits(completion: Completion) -> tuple:
    arrays = (completion.tokens, completion.logp, completion.log_kept, completion.entropy, completion.version)
    return (*(array.tobytes() for array in arrays), completion.text, completion.finish)


def written(sampler: Sampler, keep: bool = False, late: bool = False, at: dict | None = None) -> dict:
    """What a sampler writes where two further turns follow from each completion of the first sample, and
    other questions from that of the second. `at`: number of a completion -> what is done before it is
    used."""
    found = {}
    with sampler.open(keep) as stream:
        stream.ask(requests())
        for number, completion in enumerate(stream):
            if at and number in at:
                at[number]()
            request = completion.request
            found[name(request)] = bits(completion)
            more = [
                replace(
                    request,
                    prefix=np.concatenate([request.prefix, completion.tokens]),
                    path=(*request.path, child),
                    sampling=Sampling(10),
                )
                for child in range(2)
                if len(request.path) < 2 and request.sample == 0
            ]
            if request.sample == 1 and not request.visit:
                more.append(replace(request, visit=1))
            if more:
                stream.ask((r for r in more) if late else more)
    return found


@pytest.mark.parametrize(("keep", "late"), [(False, False), (True, False), (True, True)])
def test_the_same_bits_as_in_this_process(policy, one, keep, late):
    wanted = written(here(policy), keep, late)
    assert len(wanted) == 20 + 4 * 6 + 4
    assert written(one, keep, late) == wanted


def kill(sampler: RemoteSampler, member: int = 0) -> None:
    os.kill(sampler.members[member].worker.pid, signal.SIGKILL)


@pytest.mark.parametrize("keep", [False, True])
def test_a_killed_process_is_replaced_and_its_requests_asked_again(policy, one, keep, capfd):
    lives = one.members[0].life
    kills = {number: lambda: kill(one) for number in (0, 9, 30)}
    assert written(one, keep, late=keep, at=kills) == written(here(policy), keep, late=keep)
    assert one.members[0].life == lives + 3
    assert "has ended (signal SIGKILL); another process takes its place" in capfd.readouterr().err


def test_two_processes_write_the_same_text_whichever_is_killed(policy, two):
    wanted = written(here(policy), keep=True)
    kills = {number: lambda which=number % 2: kill(two, which) for number in (3, 8, 15)}
    for at in ({}, kills):
        got = written(two, keep=True, at=at)
        assert got.keys() == wanted.keys()
        assert [got[key][-2:] for key in wanted] == [wanted[key][-2:] for key in wanted]
        for key in wanted:
            numbers = [np.frombuffer(one[key][1], dtype=np.float32) for one in (got, wanted)]
            np.testing.assert_allclose(*numbers, atol=2e-5, rtol=0)


def test_streams_beside_each_other_do_not_mix(policy, one):
    wanted = {name(c.request): bits(c) for c in answers(here(policy), requests())}
    with one.open() as first, one.open() as second:
        first.ask(requests())
        second.ask(requests()[::-1])
        got = [next(iter(stream)) for stream in (first, second, first, second)]
        rest = [*first, *second]
    found = [(name(c.request), bits(c)[-2:]) for c in (*got, *rest)]
    assert sorted(found) == sorted([(key, value[-2:]) for key, value in wanted.items()] * 2)


def answers(sampler: Sampler, asked: list[Request]) -> list[Completion]:
    with sampler.open() as stream:
        stream.ask(asked)
        return list(stream)


def test_an_abandoned_stream_leaves_the_next_one_alone(policy, one):
    with one.open() as stream:
        stream.ask(requests(new=60))
        next(iter(stream))
    assert written(one) == written(here(policy))


def test_a_publication_reaches_every_process_and_its_version_counts(two):
    old, new = Policy(0), Policy(1)
    for version, policy in ((1, new), (2, old), (3, new)):
        found = ByMessage(policy, two).publish(version)
        assert (found.version, found.fingerprint) == (version, fingerprint(dict(policy.tensors())))
        got = {name(c.request): bits(c) for c in answers(two, requests())}
        wanted = {name(c.request): bits(c) for c in answers(here(policy, version), requests())}
        assert {key: value[-3:] for key, value in got.items()} == {
            key: value[-3:] for key, value in wanted.items()
        }
    ByMessage(old, two).publish(0)


def test_text_that_is_being_written_goes_on_with_new_weights(policy):
    """What was written before is kept; every token says which weights drew it, and a process that dies
    after the publication is asked for what is owed."""
    sampler = remote(policy)
    try:
        ByMessage(policy, sampler).publish(0)
        with sampler.open() as stream:
            stream.ask(requests(new=60))
            got = [next(iter(stream))]
            ByMessage(Policy(1), sampler).publish(1)
            got += [next(iter(stream)) for _ in range(2)]
            kill(sampler)
            got += list(stream)
        assert sorted(name(c.request) for c in got) == sorted(map(name, requests()))
        versions = [np.unique(c.version).tolist() for c in got]
        assert versions[0] == [0]
        assert [0, 1] in versions[1:]  # of the process before the kill
        assert versions[-1] == [1]
    finally:
        sampler.close()


class Faulty(RemoteSampler):
    """The first process loses one tensor on the way."""

    def take(self, weights):
        whole = list(weights)
        self.members, others = self.members[:1], self.members[1:]
        found = super().take(whole[1:])
        self.members = others
        found |= super().take(whole)
        self.members = self.members[:0]
        return found


def test_a_process_that_holds_other_weights_stops_the_run(policy):
    sampler = Faulty(policy.model, tiny_tokenizer(V), [server, server])
    members = sampler.members
    try:
        with pytest.raises(RuntimeError, match=r"^after a publication sampler 0 holds other weights \("):
            ByMessage(policy, sampler).publish(1)
        assert sampler.version == 0
    finally:
        sampler.members = members
        sampler.close()
    with pytest.raises(UserError, match=r"was closed"):
        answers(sampler, requests())


def test_a_process_that_is_stopped_is_replaced_in_the_stated_time(policy, one, monkeypatch, capfd):
    monkeypatch.setattr(supervisor, "SILENT", 2.0)
    with one.open() as stream:
        stream.ask(requests())
        got = [next(iter(stream))]
        os.kill(one.members[0].worker.pid, signal.SIGSTOP)
        began = time.monotonic()
        got += list(stream)
    assert sorted(name(c.request) for c in got) == sorted(map(name, requests()))
    assert 1 < time.monotonic() - began < 30
    assert "has ended (it sent nothing for" in capfd.readouterr().err


def test_weights_are_given_by_one_thread_at_a_time(one, policy, monkeypatch):
    """A stream that replaces the process at the same time copies weights too."""
    member, order = one.members[0], []
    copy = member._copy

    def slowly(life: int) -> str | None:
        order.append("begin")
        time.sleep(0.2)
        found = copy(life)
        order.append("end")
        return found

    monkeypatch.setattr(member, "_copy", slowly)
    os.kill(member.worker.pid, signal.SIGKILL)
    replaced = threading.Thread(target=member.replace, args=(member.life,))
    replaced.start()
    ByMessage(policy, one).publish(one.version + 1)
    replaced.join(60)
    assert order[::2] == ["begin"] * (len(order) // 2)
    assert order[1::2] == ["end"] * (len(order) // 2)


def test_what_is_written_a_second_time_is_no_sign_of_life(one):
    """A process that ends again and again at one place is not replaced for ever."""
    with one.open() as stream:
        stream.ask(requests(samples=1))
        next(iter(stream))
        part = stream.parts[0]
        part.member.failures = 3
        written = next(number for number in range(part.count) if number not in part.owed)
        assert part.completions(pickle.dumps([(written, {})])) == []
        assert part.member.failures == 3
        assert list(stream)
        assert part.member.failures == 0


def test_a_process_that_waits_for_an_environment_has_nothing_to_do(one):
    """Of requests that the caller cannot name yet."""
    answered, found = threading.Event(), []

    def slowly() -> Iterator[Request]:
        answered.wait(60)
        yield replace(requests()[0], visit=1)

    with one.open() as stream:
        stream.ask(requests(samples=1)[:1])
        next(iter(stream))
        stream.ask(slowly())
        taken = threading.Thread(target=lambda: found.extend(stream), daemon=True)
        taken.start()
        post = stream.parts[0].member.post
        end = time.monotonic() + 30
        while not stream.parts[0].promised and time.monotonic() < end:
            time.sleep(0.01)
        assert stream.parts[0].promised
        assert post.task == ""
        answered.set()
        taken.join(60)
    assert len(found) == 1


def test_requests_that_cannot_be_answered_are_refused_as_in_this_process(one, policy):
    for asked in (Request(prompt(3, [1, 2], vocab=V), Sampling(500)), Request(prompt(3, [90]), Sampling(5))):
        said = []
        for sampler in (one, here(policy)):
            with sampler.open() as stream, pytest.raises(UserError) as refused:
                stream.ask([asked])
            said.append(str(refused.value))
        assert said[0] == said[1]


def test_a_failing_source_of_requests_is_raised_here(one):
    def broken():
        raise ValueError("the environment is down")
        yield

    with one.open(keep=True) as stream:
        stream.ask(requests())
        next(iter(stream))
        stream.ask(broken())
        with pytest.raises(ValueError, match="the environment is down"):
            list(stream)


def test_damaged_weights_are_said_as_in_this_process(policy):
    sampler = remote(policy)
    broken = Policy()
    with torch.no_grad():
        next(broken.model.parameters()).fill_(float("nan"))
    try:
        ByMessage(broken, sampler).publish(0)
        with pytest.raises(UserError, match=r"finite log-probs|decodes other numbers"):
            answers(sampler, requests())
        ByMessage(policy, sampler).publish(1)
        assert len(answers(sampler, requests())) == 20
    finally:
        sampler.close()


def test_bfloat16_weights_are_those_of_a_copy_here(policy):
    sampler = remote(policy, dtype=torch.bfloat16)
    try:
        ByMessage(policy, sampler).publish(0)
        mine = TorchSampler(own_copy(policy.model, torch.bfloat16), tiny_tokenizer(V), seed=5, slots=8)
        assert written(sampler) == written(mine)
    finally:
        sampler.close()


def steps_of(run: Run, folder: Path) -> list[tuple]:
    """After each step of a run: the fingerprint of its weights, and the prompts that it has trained."""
    with opened(folder) as own:
        loop(run, own, Watching())
    rows = RunView.open(folder).transcripts
    return [
        (line["fingerprint"], [row["prompt_index"] for row in rows.rows(line["step"], ["prompt_index"])])
        for line in RunView.open(folder).metrics
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_through_kills_is_that_of_one_process(count, tmp_path):
    """Law 10: none of its prompts is lost, none trained twice."""
    wanted = steps_of(tiny_run(evaluate=None), tmp_path / "plain")
    graded = itertools.count()

    def grade(rollout):
        if (number := next(graded)) in (0, 9, 20):  # while others are being written, and while a step learns
            kill(sampler, number % count)
        return even(rollout)

    run = tiny_run(evaluate=None, grade=grade)
    model = run.host.models["policy"].model
    sampler = RemoteSampler(model, tiny_tokenizer(V), [server] * count)
    try:
        channel = ByMessage(run.host, sampler)
        channel.publish(0)
        run.source.sampler = sampler
        assert steps_of(replace(run, channel=channel), tmp_path / "kills") == wanted
        assert sum(member.life for member in sampler.members) >= 2
    finally:
        sampler.close()


def test_a_colocated_run_is_the_same_and_its_learner_is_put_aside_while_it_writes(tmp_path):
    wanted = steps_of(tiny_run("ppo", evaluate=None), tmp_path / "plain")
    run = tiny_run("ppo", evaluate=None, grade=lambda rollout: (held.append(sizes()), even(rollout))[1])
    models = run.host.models
    sampler = RemoteSampler(models["policy"].model, tiny_tokenizer(V), [server])
    turns, held = TakesTurns(run.host, sampler), list[int]()

    def sizes() -> int:
        moments = [tensors_within(learner.state()) for learner in run.host.roster.learners().values()]
        weights = [model.weights().values() for model in models.values()]
        return sum(t.untyped_storage().nbytes() for kind in (*moments, *weights) for t in kind)

    whole = sizes()
    try:
        channel = ByMessage(turns, sampler)
        channel.publish(0)
        run.source.sampler = sampler
        assert steps_of(replace(run, host=turns, channel=channel), tmp_path / "turns") == wanted
        assert set(held) == {0}
        turns.bring_back()
        assert sizes() > 2 * whole  # by the moments, which were not there before the first update
    finally:
        sampler.close()
