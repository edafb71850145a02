"""The asynchronous source on a sampler in a process of its own."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.remote_sampler import ENTRY, RemoteSampler
from menon.loop import loop
from menon.parts import Around
from menon.processes.forkserver import Forkserver
from menon.record.asynchrony import asynchrony
from menon.record.reader import RunView
from menon.rollout.groups import Groups
from menon.rollout.pieces import GroupsInPieces
from menon.source.asynchronous import Asynchronous
from menon.sync.by_message import ByMessage
from menon.types import Request, Sampling, StepReport, Verdict
from scripted import written_by
from tiny_run import VOCAB, Watching, models_of, online, opened, tiny_run

STEPS = 5
SAMPLING = Sampling(max_new_tokens=24, temperature=1.3)


@pytest.fixture(scope="module")
def server() -> Iterator[Forkserver]:
    """The processes are forked from one that has imported what they need."""
    server = Forkserver(ENTRY)
    yield server
    server.close()


class Three:
    def take(self, count: int) -> list[Any]:
        return [(prompt(i, f"{i}+{i + 1}=", "7", VOCAB), 0) for i in range(count)]


def test_text_that_is_aborted_in_another_process_goes_on_as_it_would_have(server):
    model = tiny_model("qwen3", vocab=VOCAB)
    sampler = RemoteSampler(model, tiny_tokenizer(VOCAB), [server] * 2, seed=5, slots=3)
    ByMessage(
        type("Policy", (), {"tensors": lambda self: iter(model.named_parameters())})(), sampler
    ).publish(0)
    asked = [Request(one, SAMPLING, sample) for one, _ in Three().take(3) for sample in range(4)]
    whole = {(c.request.prompt.index, c.request.sample): c for c in written_by(sampler, asked)}
    unfinished: GroupsInPieces = Groups().begin(
        Three(),  # type: ignore[arg-type]
        lambda rollout: Verdict(0.0, 0.0),
        Around(3, 4, SAMPLING),
    )
    aborted = 0
    for completions in (0, 2, 2, None):
        with sampler.open() as stream:
            stream.ask(unfinished.requests())
            if completions == 0:
                stream.abort()
            for count, completion in enumerate(stream, start=1):
                unfinished.take(completion)
                aborted += completion.finish == "abort" and len(completion.tokens) > 0
                if count == completions:
                    stream.abort()
    sampler.close()
    assert aborted > 0
    for answer in unfinished.collected().graded:
        rollout = answer.rollout
        expected = whole[rollout.prompt.index, rollout.sample]
        assert rollout.tokens[rollout.is_action].tolist() == expected.tokens.tolist()
        assert np.abs(rollout.logp[rollout.is_action] - expected.logp).max() < 1e-5


def test_a_run_in_two_processes_survives_the_kill_of_its_sampler(server, tmp_path):
    """Killed after the second step, while it writes or waits; nothing is lost, and the run's own report says
    so."""
    run = tiny_run(steps=STEPS, evaluate=None)
    source, policy = online(run), models_of(run)["policy"]
    source.sampler = sampler = RemoteSampler(policy.model, source.sampler.tokenizer, [server], seed=0)
    channel = ByMessage(run.host, sampler)
    channel.publish(0)
    run = replace(run, source=Asynchronous(source, 1, STEPS), channel=channel)

    def see(done: StepReport) -> None:
        if done.step == 2:
            os.kill(sampler.members[0].worker.pid, signal.SIGKILL)

    try:
        with opened(tmp_path / "run") as folder:
            report = loop(run, folder, Watching(see))
    finally:
        run.source.close()
        sampler.close()
    said = report["asynchrony"]
    assert said == asynchrony(RunView.open(tmp_path / "run"))
    assert said["groups"] == {"asked": 15, "trained": 15, "dropped": 0, "asked_again": 0}
    assert (said["lengths"]["written"], said["lengths"]["trained"], said["lengths"]["p"]) == (30, 30, 1.0)
    assert set(said["staleness"]) <= {"0", "1"}
    assert sum(said["staleness"].values()) == pytest.approx(1)
    page = Path(tmp_path / "run" / "metrics.jsonl").read_text()
    assert "async/groups_begun" in page
