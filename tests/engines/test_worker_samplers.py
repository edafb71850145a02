"""Answers written by several processes: the same as those of one, and nothing is left behind."""

import copy
import gc
import os
import signal
import socket
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from helpers import Kind, prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.decoding.torch_stream import TorchStream
from menon.engines.hf_models import export
from menon.errors import UserError
from menon.types import Completion, Request, Sampling
from scripted import answered, begun, written_by

V = 40


def sampler_of(processes: int, kind: Kind = "qwen3", fixed_slots: bool = False) -> TorchSampler:
    return TorchSampler(
        tiny_model(kind, vocab=V),
        tiny_tokenizer(V),
        seed=5,
        slots=8,
        fixed_slots=fixed_slots,
        processes=processes,
    )


@pytest.fixture(scope="module")
def two():
    sampler = sampler_of(2)
    yield sampler
    sampler.close()


@pytest.fixture
def one() -> TorchSampler:
    return sampler_of(1)


class NotSent(str):
    def __reduce__(self) -> str:
        raise TypeError("cannot go")


def requests(samples: int = 5, stop: tuple[str, ...] = (), new: int = 20) -> list[Request]:
    prompts = [prompt(i, range(1, 3 + 2 * i), vocab=V) for i in range(3)]
    settings = [Sampling(new, stop=stop), Sampling(new - 8, temperature=0.8, top_p=0.9, stop=stop)]
    return [Request(p, settings[k % 2], sample=k) for p in prompts for k in range(samples)]


def answers(asked_of: TorchSampler | TorchStream, asked: list[Request]) -> list[Completion]:
    write = written_by if isinstance(asked_of, TorchSampler) else answered
    found = {id(c.request): c for c in write(asked_of, asked)}
    return [found[id(request)] for request in asked]


def assert_same(got: list[Completion], want: list[Completion], atol: float = 2e-5) -> None:
    for a, b in zip(got, want, strict=True):
        assert (a.tokens.tolist(), a.text, a.finish) == (b.tokens.tolist(), b.text, b.finish)
        for name in ("logp", "log_kept", "entropy"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=atol, rtol=0, err_msg=name)


def test_the_same_answers_as_one_process(two, one):
    asked = requests(stop=("5", "a"))
    one.computed_tokens = two.computed_tokens = 0
    got = answers(two, asked)
    assert_same(got, answers(one, asked))
    assert {c.finish for c in got} == {"stop", "length"}
    assert all(c.request is request for c, request in zip(got, asked, strict=True))
    split = (
        len(asked[5].prompt.tokens) - 1
    )  # of the second prompt's five answers two are written here: it is computed twice
    assert two.computed_tokens == one.computed_tokens + split


def test_both_processes_write(two):
    with two.open() as stream:
        stream.ask(requests())
        completions = iter(stream)
        next(completions)
        assert [lane.asked for lane in stream.workers.lanes] == [8]
        assert len(list(completions)) == 14


def test_new_weights_are_seen_at_once(two, one):
    before = {name: weight.clone() for name, weight in two.weights().items()}
    with torch.no_grad():
        for sampler in (one, two):
            for name, weight in sampler.weights().items():
                weight.mul_(1.5 if "proj" in name else 1.0)
            sampler.version += 1
        got = answers(two, requests())
        for name, weight in two.weights().items():
            weight.copy_(before[name])
    assert_same(got, answers(one, requests()))
    assert {int(v) for c in got for v in c.version} == {two.version}


def test_what_is_held_stays_with_its_process(two, one):
    def tree(sampler: TorchSampler) -> list[Completion]:
        with sampler.open(keep=True) as stream:
            roots = answers(stream, requests(samples=3, new=12))
            before = sampler.computed_tokens
            children = [replace(c.request, prefix=c.tokens, path=(k,)) for c in roots for k in range(2)]
            # Other questions first, so that dealing by place alone would move them.
            found = answers(stream, children[::-1])
        written = sum(len(c.tokens) for c in found)
        assert sampler.computed_tokens - before == written  # of what was held nothing is computed again
        return found

    assert_same(tree(two), tree(one))


def test_a_call_that_is_given_up_leaves_the_next_one_whole(two, one):
    begins = begun(two, requests())
    next(begins)
    begins.close()
    assert_same(answers(two, requests()), answers(one, requests()))


def test_a_call_within_a_call(two, one):
    outer = begun(two, requests())
    first = next(outer)
    inner = answers(two, requests(samples=2))
    assert_same(inner, answers(one, requests(samples=2)))
    assert len([first, *outer]) == 15


def test_fixed_slots_repeat_to_the_bit():
    sampler = sampler_of(2, fixed_slots=True)
    asked = requests()
    first = answers(sampler, asked)
    assert_same(answers(sampler, asked[::-1])[::-1], first, atol=0)
    sampler.close()


def test_the_same_in_bfloat16():
    one, two = (
        TorchSampler(
            tiny_model("qwen3", vocab=V).to(torch.bfloat16), tiny_tokenizer(V), seed=5, processes=processes
        )
        for processes in (1, 2)
    )
    assert_same(answers(two, requests()), answers(one, requests()))
    two.close()


def test_a_model_without_a_short_path_needs_no_processes():
    assert sampler_of(2, kind="gpt2")._workers is None


def test_a_process_that_was_killed_is_replaced_once_a_stream(one, capsys):
    sampler = sampler_of(2)
    want = answers(one, requests())
    for _ in range(2):
        pid = sampler._workers.workers[0].pid
        os.kill(pid, signal.SIGKILL)
        assert_same(answers(sampler, requests()), want)
        assert sampler._workers.workers[0].pid not in (0, pid)
        said = "a process that writes answers has ended (signal SIGKILL); another one writes what it owed"
        assert capsys.readouterr().err == f"menon: {said}\n"
    with sampler.open() as stream:
        stream.ask(requests(samples=20, new=100))
        worker = sampler._workers.workers[0]
        with pytest.raises(UserError, match=r"has ended \(signal SIGKILL\); if memory ran out .* threads=1"):
            list(map(lambda _: worker.kill(), stream))  # noqa: C417 - each answer kills it again
    sampler.close()
    assert len(written_by(sampler, requests())) == 15  # in this process


def test_a_process_that_dies_amid_its_answers_is_replaced(one, capsys):
    """What it had answered is kept, what it owed is written by another."""
    sampler = sampler_of(2)
    asked = requests(samples=9, new=60)
    want = {id(c.request): c for c in written_by(one, asked)}
    with sampler.open() as stream:
        stream.ask(asked)
        found, killed = [], False
        for completion in stream:
            found.append(completion)
            if not killed and sampler._workers.workers[0].pid and stream.workers.lanes[0].owed < 13:
                killed = True
                sampler._workers.workers[0].kill()
    assert killed
    assert "another one writes what it owed" in capsys.readouterr().err
    assert sorted(id(c.request) for c in found) == sorted(want)
    assert_same(found, [want[id(c.request)] for c in found])
    sampler.close()


def test_a_settlement_outlives_the_process_that_it_was_for():
    """Without it a stream would wait for ever; what a process that ended has sent is dropped."""
    sampler = sampler_of(2)
    try:
        assert answers(sampler, requests())
        workers = sampler._workers
        workers.inbox.put(((0, workers.lives[0]), "of the process"))
        workers.put(0, "settled")
        workers.lives[0] += 1
        assert workers.hear(lambda index: False) == (0, "settled")
    finally:
        sampler.close()


def test_what_was_kept_cannot_be_replaced():
    sampler = sampler_of(2)
    with sampler.open(keep=True) as stream:
        stream.ask(requests())
        sampler._workers.workers[0].kill()
        with pytest.raises(UserError, match=r"has ended \(signal SIGKILL\)"):
            for _ in stream:
                pass
    sampler.close()


def test_a_process_that_was_stopped_does_not_hang_the_run(one, monkeypatch, capsys):
    monkeypatch.setattr("menon.engines.worker_samplers.BEAT", 0.1)
    monkeypatch.setattr("menon.processes.idle.SILENT", 1.0)
    sampler = sampler_of(2)
    want = answers(one, requests())
    answers(sampler, requests())
    os.kill(sampler._workers.workers[0].pid, signal.SIGSTOP)
    assert_same(answers(sampler, requests()), want)
    assert "another one writes what it owed" in capsys.readouterr().err
    sampler.close()


def test_a_process_that_dies_before_the_first_call_is_replaced(one):
    sampler = sampler_of(2)
    sampler._workers.workers[0].kill()
    assert sampler._workers.inbox.get(timeout=60) == ((0, 0), None)
    assert_same(answers(sampler, requests()), answers(one, requests()))
    sampler.close()


def test_damaged_weights_are_said_and_the_processes_go_on():
    sampler = sampler_of(3)
    want = answers(sampler, requests())
    norm = sampler.weights()["model.norm.weight"]
    before = norm.clone()
    with torch.no_grad():
        norm.fill_(float("nan"))
        with pytest.raises(UserError, match="weights are damaged"):
            written_by(sampler, requests())
        norm.copy_(before)
    assert_same(answers(sampler, requests()), want)
    assert (sampler._workers.busy, sampler._workers.inbox.empty()) == (False, True)
    sampler.close()


def test_what_cannot_be_sent_is_raised_before_anything_is_asked(two):
    asked = requests()
    odd = replace(asked[-1], purpose=NotSent("train"))
    with pytest.raises(TypeError, match="cannot go"):
        written_by(two, [*asked[:-1], odd])
    assert len(written_by(two, asked)) == 15


def test_another_failure_of_a_process_is_said():
    sampler = sampler_of(2)
    asked = requests()
    odd = replace(asked[-1], sampling=replace(asked[-1].sampling, stop=(3,)))
    with pytest.raises(UserError, match=r"has failed \(TypeError: argument of type 'int' is not .*threads=1"):
        written_by(sampler, [*asked[:-1], odd])
    sampler.close()
    assert len(written_by(sampler, asked)) == 15


def test_a_call_that_is_interrupted_ends_the_processes():
    sampler = sampler_of(2)
    answers(sampler, requests())

    def interrupted(*args: object, **limits: float) -> list[Completion]:
        raise KeyboardInterrupt

    sampler._workers.inbox = type("", (), {"get": interrupted, "empty": lambda self: False})()
    with pytest.raises(KeyboardInterrupt):
        written_by(sampler, requests())
    assert not sampler._workers.close.alive
    sampler.close()
    assert len(written_by(sampler, requests())) == 15


def test_all_processes_keep_a_quarter_of_the_memory_together(monkeypatch):
    monkeypatch.setattr("menon.engines.decoding.torch_sampler.free_bytes", lambda device: 8000)
    sampler = sampler_of(2)
    assert sampler.open(keep=True).settings.prefix_bytes == 1000
    assert sampler.open().settings.prefix_bytes is None
    sampler.close()


def test_nothing_stays_behind():
    sampler = sampler_of(2)
    answers(sampler, requests())
    process = psutil.Process(sampler._workers.workers[0].pid)
    del sampler
    gc.collect()
    assert not process.is_running()


def test_a_process_ends_with_its_run():
    sampler = sampler_of(2)
    answers(sampler, requests())
    worker = sampler._workers.workers[0]
    process = psutil.Process(worker.pid)
    worker.connection.socket.shutdown(socket.SHUT_RDWR)  # as when the run is killed
    assert process.wait(timeout=10) == 0
    sampler.close()


def test_weights_that_are_not_shared_any_more_are_said():
    sampler = sampler_of(2)
    answers(sampler, requests())
    sampler.model.double()
    with pytest.raises(UserError, match="were replaced and not changed in place"):
        written_by(sampler, requests())
    sampler.close()


def test_a_model_in_shared_memory_is_saved_and_copied_like_any_other(two, tmp_path):
    export(two.model, two.tokenizer, tmp_path)
    loaded = type(two.model).from_pretrained(tmp_path)
    copied = copy.deepcopy(two.model)
    for name, weight in two.weights().items():
        assert torch.equal(dict(loaded.named_parameters())[name], weight)
        own = dict(copied.named_parameters())[name]
        assert torch.equal(own, weight)
        assert own.data_ptr() != weight.data_ptr()


def test_what_could_be_drawn_comes_from_both_processes():
    """The ids that top-k and top-p kept are those of one process."""
    settings = Sampling(12, top_p=0.9, top_k=7)
    asked = [
        Request(prompt(i, range(1, 4 + i), vocab=V), settings, sample=k) for i in range(2) for k in range(4)
    ]
    found = []
    for processes in (1, 2):
        sampler = TorchSampler(tiny_model(vocab=V), tiny_tokenizer(V), seed=5, processes=processes, kept=7)
        written = written_by(sampler, asked)
        found.append({(c.request.prompt.index, c.request.sample): c for c in written})
        sampler.close()
    for name, one in found[0].items():
        two = found[1][name]
        assert np.array_equal(one.tokens, two.tokens)
        assert one.kept is not None
        assert two.kept is not None
        assert np.array_equal(np.sort(one.kept, -1), np.sort(two.kept, -1))
        assert one.kept.shape == (len(one.tokens), 7)
