"""A sampler whose engine is in another process, on the fake engine (`fake_engine`): the wire, streams, faults
of the process."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from engines import CONTEXT, V, engine_of, fake_ends
from helpers import prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.engine_stream import seed_of
from menon.engines.engine_wire import Answer, Asked, pack_answers, pack_asked, unpack_answers, unpack_asked
from menon.errors import UserError
from menon.processes.deadline import Late
from menon.types import Request, Sampling
from scripted import written_by


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    with fake_ends(tmp_path_factory.mktemp("engine")) as both:
        both.channels["changed"].publish(0)
        yield both


def requests(count: int = 6, new: int = 12, **sampling) -> list[Request]:
    return [
        Request(prompt(i % 3, [1, 2, 3 + i % 3], vocab=V), Sampling(new, **sampling), sample=i // 3)
        for i in range(count)
    ]


def test_the_wire_keeps_everything():
    tokens = np.array([5, 6, 7], np.int32)
    asked = [
        Asked(3, 2**62 + 1, 9, 0.7, 0.5, 4, ("#", "é"), 2, tokens),
        Asked(4, 0, 1, 0.0, 1.0, 0, (), 0, tokens[:1]),
    ]
    found = unpack_asked(*pack_asked(asked))
    assert [replace(one, tokens=tokens) for one in found] == [replace(one, tokens=tokens) for one in asked]
    assert [one.tokens.tolist() for one in found] == [[5, 6, 7], [5]]
    assert unpack_asked(*pack_asked([])) == []
    empty = np.zeros(0, np.int32)
    answers = [
        Answer(7, "stop", tokens, np.array([-0.5, -1, -2], np.float32), np.array([1, 1, 2], np.int32)),
        Answer(8, "abort", empty, np.zeros(0, np.float32), empty),
    ]
    first, second = unpack_answers(*pack_answers(answers))
    assert (first.number, first.finish, second.number, second.finish) == (7, "stop", 8, "abort")
    assert (first.logp.tolist(), first.version.tolist()) == ([-0.5, -1.0, -2.0], [1, 1, 2])
    assert len(second.tokens) == len(second.logp) == len(second.version) == 0


def test_it_writes_what_the_engine_would_write_in_this_process(ends):
    """The engine is the built-in sampler, asked with the seeds of the requests' names."""
    asked = requests(temperature=0.7)
    local = TorchSampler(tiny_model(vocab=V), tiny_tokenizer(V))
    named = [Request(replace(r.prompt, index=0), r.sampling, seed=seed_of(r, 0)) for r in asked]
    wanted = {id(c.request): c for c in written_by(local, named)}
    found = {id(c.request): c for c in written_by(ends.sampler, asked)}
    for one, other in zip(named, asked, strict=True):
        a, b = wanted[id(one)], found[id(other)]
        assert (a.tokens.tolist(), a.text, a.finish) == (b.tokens.tolist(), b.text, b.finish)
        assert np.abs(a.logp - b.logp).max() < 1e-4
        assert b.entropy is None
        assert b.log_kept is None
    assert len({c.text for c in found.values()}) > 2


def test_a_seed_is_of_the_whole_name():
    one = requests(1)[0]
    others = [
        replace(one, sample=1),
        replace(one, visit=1),
        replace(one, purpose="eval"),
        replace(one, path=(0,)),
        replace(one, prefix=np.array([3], np.int32)),
        replace(one, prompt=replace(one.prompt, index=5)),
    ]
    seeds = {seed_of(each, 0) for each in (one, *others)} | {seed_of(one, 1)}
    assert len(seeds) == 8
    assert seed_of(replace(one, seed=1), 0) == seed_of(one, 1)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_stop_strings_end_an_answer_and_stay_in_it(ends):
    plain = written_by(ends.sampler, requests(12))
    letter = max("".join(c.text[1:] for c in plain), key="".join(c.text[1:] for c in plain).count)
    stopped = written_by(ends.sampler, requests(12, stop=(letter,)))
    whole = {(c.request.prompt.index, c.request.sample): c for c in plain}
    assert any(c.text.endswith(letter) for c in stopped)
    for c in stopped:
        full = whole[c.request.prompt.index, c.request.sample]
        cut = full.text.find(letter)
        assert c.text == (full.text if cut < 0 else full.text[: cut + 1])
        assert c.finish == (full.finish if cut < 0 else "stop")


def test_requests_that_follow_are_written_while_others_are(ends):
    asked = requests(3, new=4)
    follow = []
    with ends.sampler.open(keep=True) as stream:
        stream.ask(asked)
        for c in stream:
            if not c.request.path:
                further = replace(c.request, prefix=c.tokens, path=(0,))
                stream.ask([further] if c.request.prompt.index else (each for each in [further]))
            else:
                follow.append(c)
    assert sorted(c.request.prompt.index for c in follow) == [0, 1, 2]
    assert all(len(c.text) >= len(c.tokens) for c in follow)


def test_what_is_abandoned_is_forgotten(ends):
    with ends.sampler.open() as stream:
        stream.ask(requests(6, new=100))
        assert ends.sampler.entry.task == "write 6 answers"
        next(iter(stream))
    assert not ends.sampler.streams
    assert ends.sampler.entry.task == ""
    assert len(written_by(ends.sampler, requests(3))) == 3


def test_what_is_stopped_is_a_part_of_the_answer(ends):
    asked = requests(6, new=100)
    whole = {id(c.request): c.tokens.tolist() for c in written_by(ends.sampler, asked)}
    with ends.sampler.open() as stream:
        stream.ask(asked)
        first = next(iter(stream))
        parts = stream.stopped()
    assert len(parts) == 5
    for c in (first, *parts):
        assert c.tokens.tolist() == whole[id(c.request)][: len(c.tokens)]
    assert {c.finish for c in parts} <= {"abort", "stop", "length"}


def test_a_late_request_that_cannot_be_read_is_raised_where_answers_are_awaited(ends):
    def broken():
        yield requests(1)[0]
        raise ValueError("the environment broke")

    with ends.sampler.open() as stream:
        stream.ask(broken())
        with pytest.raises(ValueError, match="the environment broke"):
            list(stream)


def test_two_streams_at_a_time(ends):
    found: dict[int, list[str]] = {}

    def work(place: int) -> None:
        found[place] = sorted(c.text for c in written_by(ends.sampler, requests(6)))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found[0] == found[1] == sorted(c.text for c in written_by(ends.sampler, requests(6)))


def test_requests_that_do_not_fit_are_refused(ends):
    with ends.sampler.open() as stream:
        with pytest.raises(UserError, match=r"may get 200 more, but the model's context is 128"):
            stream.ask(requests(1, new=200))
        odd = replace(prompt(0, [1], vocab=V), tokens=np.array([77], np.int32))
        with pytest.raises(UserError, match=r"holds token 77, but the model knows 0 to 39"):
            stream.ask([Request(odd)])
        assert list(stream) == []
    assert CONTEXT == 128


def test_an_answer_that_outlives_a_publication_says_which_weights_wrote_each_token(ends):
    with ends.sampler.open() as stream:
        stream.ask([replace(requests(1, new=100)[0], purpose=f"p{i}") for i in range(6)])
        done = next(iter(stream))
        ends.channels["changed"].publish(ends.sampler.version + 1)
        rest = list(stream)
    assert set(done.version) == {ends.sampler.version - 1}
    for c in rest:
        versions = c.version.tolist()
        assert versions == sorted(versions)
    assert {v for c in rest for v in c.version.tolist()} <= {ends.sampler.version - 1, ends.sampler.version}


def test_an_engine_that_fails_to_start_says_why():
    with engine_of("bad_engine:handler", "no room for the cache") as sampler:
        with pytest.raises(UserError, match=r"the engine has ended \(exit code 1.*no room for the cache"):
            sampler.ready(60)
        with pytest.raises(UserError, match="no room for the cache"):
            sampler.open().ask(requests(1))


def test_an_engine_that_dies_ends_the_stream_with_its_last_words():
    with engine_of("bad_engine:handler") as sampler:
        sampler.ready(60)
        stream = sampler.open()
        stream.ask(requests(6))
        sampler.send(["call", "die"])
        with pytest.raises(UserError, match=r"exit code 3.*the last words of the engine"):
            list(stream)
        line = sampler.entry.line()
        assert line["ended_for"].startswith("exit code 3")
        assert line["task"] == "write 6 answers"
        assert line["pid"] == 0  # no supervisor has looked at it while it lived


def test_a_call_that_fails_or_hangs():
    with engine_of("bad_engine:handler") as sampler:
        sampler.ready(60)
        with pytest.raises(RuntimeError, match=r"the engine, refuse: RuntimeError: no such adapter"):
            sampler.call("refuse")
        with pytest.raises(Late, match=r"the engine: hang took longer than 0\.2 s"):
            sampler.call("hang", 60, seconds=0.2)
        assert sampler.entry.fault == "hang took longer than 0.2 s"
