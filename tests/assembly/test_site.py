"""Where the processes of a run are started, and what a run without any is told."""

import pytest
import torch

from menon.assembly import site
from menon.assembly.site import Site, check_processes
from menon.config import changed
from menon.engine_settings import VLLM, Engine, OnRay, OpenAI, ThisMachine
from menon.errors import UserError
from menon.processes.forkserver import Forkserver
from menon.recipes.grpo import grpo


def engine(**changes) -> Engine:
    return changed(grpo(), {"prompts_per_step": 4, **changes}).engine


def test_the_settings_are_read():
    assert engine().placement == ThisMachine()
    assert (engine().num_samplers, engine(samplers=3).num_samplers) == (0, 3)
    joined = engine(placement="ray", **{"placement.address": "10.0.0.1:6379", "samplers": 2, "ranks": 2})
    assert joined.placement == OnRay(address="10.0.0.1:6379")
    assert (joined.num_samplers, joined.ranks, engine(placement="ray").num_samplers) == (2, 2, 1)
    with pytest.raises(UserError, match="samplers"):
        engine(samplers=0)
    other = OpenAI(server="http://127.0.0.1:1/v1")
    assert Engine(placement=OnRay(), sampler=other, ranks=2).num_samplers == 0
    with pytest.raises(UserError, match=r"^samplers=2 are processes of the built-in sampler; leave it out"):
        Engine(samplers=2, sampler=other)
    with pytest.raises(UserError, match="colocated=true is about samplers in processes of their own"):
        Engine(placement=OnRay(), sampler=other, colocated=True)
    with pytest.raises(UserError, match="colocated=true works with ranks=1"):
        Engine(samplers=1, ranks=2, colocated=True)
    with pytest.raises(UserError, match="placement"):
        engine(placement="slurm")


class Cluster:
    """Stands for Ray."""

    def __init__(self, name, bundles, address, interface, spread):
        self.bundles, self.address, self.closed = bundles, address, False

    def launch(self, bundle, spawn):
        return bundle, spawn.settings[0], spawn.environment["OMP_NUM_THREADS"]

    def close(self):
        self.closed = True


def test_samplers_and_ranks_have_bundles_of_their_own(monkeypatch):
    monkeypatch.setattr(site, "RayCluster", Cluster)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    found = Site(Engine(placement=OnRay("there:1"), ranks=4, device="cpu"), samplers=2)
    assert found.cluster.bundles == [{"CPU": 4.0}] * 2 + [{"CPU": 2.0}] * 4
    assert found.sampler_launches("a:b") == [(0, "a:b", "4"), (1, "a:b", "4")]
    assert found.rank_launches("c:d") == [(place, "c:d", "2") for place in range(2, 6)]
    found.close()
    assert found.cluster.closed


def test_on_this_machine_samplers_are_forked_and_ranks_are_left_to_their_host():
    found = Site(Engine(ranks=2), samplers=2)
    one, two = found.sampler_launches("a:b")
    assert one is two
    assert isinstance(one, Forkserver)
    assert found.rank_launches("c:d") is None
    found.close()


VLLM_HERE, VLLM_THERE = VLLM(python="/opt/vllm/bin/python"), VLLM(server="http://127.0.0.1:1")
SERVER = OpenAI(server="http://127.0.0.1:1/v1")


@pytest.mark.parametrize(
    ("engine", "writes", "why"),
    [
        (Engine(placement=OnRay(), sampler=VLLM_HERE), True, r"sampler=vllm, ranks=1"),
        (Engine(placement=OnRay("10.0.0.1:6379"), sampler=VLLM_HERE), True, r"sampler=vllm, ranks=1"),
        (Engine(placement=OnRay(), sampler=VLLM_THERE), True, r"sampler=vllm, ranks=1"),
        (Engine(placement=OnRay(), sampler=SERVER), True, r"sampler=openai, ranks=1"),
        (Engine(placement=OnRay(), sampler=SERVER), False, r"it writes no text, ranks=1"),
        (Engine(placement=OnRay()), False, r"it writes no text, ranks=1"),
        (Engine(placement=OnRay(), colocated=True), False, r"it writes no text, ranks=1"),
    ],
)
def test_a_run_that_ray_has_nothing_to_place_of_is_told(engine, writes, why):
    words = rf"the built-in sampler, and this run has neither \({why}\); set ranks=2 or more, or leave plac"
    with pytest.raises(UserError, match=words):
        check_processes(engine, writes)


@pytest.mark.parametrize(
    ("engine", "writes"),
    [
        (Engine(placement=OnRay()), True),
        (Engine(placement=OnRay(), samplers=3), True),
        (Engine(placement=OnRay(), samplers=1, colocated=True), True),
        (Engine(placement=OnRay(), ranks=2), True),
        (Engine(placement=OnRay(), ranks=2), False),
        (Engine(placement=OnRay(), ranks=2, sampler=VLLM_HERE), True),
        (Engine(placement=OnRay(), ranks=2, sampler=SERVER), True),
        (Engine(sampler=VLLM_HERE), True),
        (Engine(samplers=2), True),
        (Engine(ranks=2), False),
        (Engine(), False),
    ],
)
def test_a_run_with_processes_to_place_or_without_ray_goes_on(engine, writes):
    check_processes(engine, writes)


def test_a_run_that_writes_no_text_is_told_of_samplers():
    with pytest.raises(UserError, match="writes no text, so samplers=2 has nothing to do"):
        check_processes(Engine(samplers=2), writes=False)
