"""A host on ranks beside the host in process: files, weights that are handed out, and the loss of a rank.
Law 12 is that both compute the same."""

import json
import os
import signal
import time
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from batches import random_batch
from menon.assembly.placement import place
from menon.assembly.ranks import host_on_ranks
from menon.assembly.site import Site
from menon.batch import take
from menon.config import Control, Engine, Models, changed
from menon.engines import rank_group, rank_workers
from menon.engines.hf_models import load_policy
from menon.engines.rank_parts import batch_parts, deal, job_parts
from menon.engines.rank_workers import RankLost
from menon.errors import UserError
from menon.loss.aggregation import TokenMean
from menon.loss.nll import NLL
from menon.processes.worker import Worker
from menon.recipes import recipe
from menon.sync.fingerprint import fingerprint
from menon.update.host import Ask, Job
from menon.update.objective import prepare
from menon.update.terms import MiniBatch, Term, Update
from rank_models import Models as Tiny
from rank_models import copied, host_here, host_on, shared_host

UPDATE = Update({"nll": Term(NLL(), TokenMean())})


def job_for(host, sequences: int = 6) -> Job:
    batch = take(random_batch(), torch.arange(sequences))
    return prepare(MiniBatch(UPDATE, torch.arange(sequences), first=False), batch, host)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A checkpoint of the models as they begin, written in process."""
    folder = tmp_path_factory.mktemp("start")
    host_here(Tiny()).save(folder)
    return folder


# What each rank gets


@pytest.mark.parametrize("ranks", [1, 2, 3, 20])
def test_each_rank_gets_whole_units_and_about_as_many_tokens(ranks):
    batch = random_batch()
    for unit, key in (("sequence", torch.arange(12)), ("pair", batch.pair), ("group", batch.group)):
        rows = deal(batch, unit, ranks)
        assert len(rows) == ranks
        assert torch.equal(torch.cat(rows).sort().values, torch.arange(12))
        owners = {int(key[row]): rank for rank, own in enumerate(rows) for row in own}
        assert all(owners[int(key[row])] == rank for rank, own in enumerate(rows) for row in own)
        tokens = [int(batch.lengths[own].sum()) for own in rows]
        longest = max(int(batch.lengths[key == name].sum()) for name in key.unique())
        assert max(tokens) - min(tokens) <= longest  # the last unit was dealt to the lightest rank


def test_by_hand():
    """Lengths 11, 3, 5, 4: the longest goes to rank 0, then 5, 4 and 3 to rank 1, which has fewer."""
    batch = random_batch(4)
    lengths = torch.tensor([11, 3, 5, 4])
    assert batch.lengths.tolist()[0] == 11
    given = take(batch, torch.tensor([0] * 4))
    cut = torch.cat([torch.arange(int(n)) + 11 * row for row, n in enumerate(lengths)])
    fields = {name: getattr(given, name)[cut] for name in ("token", "is_action", "reward")}
    offset = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    small = type(batch)(
        offset=offset, **fields, group=given.group, finish=given.finish, valid=given.valid, acc=given.acc
    )
    assert [rows.tolist() for rows in deal(small, "sequence", 2)] == [[0], [1, 2, 3]]


def test_an_idle_rank_passes_over_the_shortest_unit_without_weight():
    host = host_here(Tiny())
    job = job_for(host, 2)
    parts = job_parts(job, 3)
    assert [part.job.batch.num_sequences for part in parts] == [1, 1, 0]
    idle = parts[2].idle
    assert idle is not None
    assert idle.batch.num_tokens == int(job.batch.lengths.min())
    assert not idle.terms["nll"].weight.any()
    weights = [part.job.terms["nll"].weight for part in parts]
    assert sum(float(w.sum()) for w in weights) == pytest.approx(float(job.terms["nll"].weight.sum()))
    empty = take(job.batch, torch.zeros(0, dtype=torch.int64))
    assert batch_parts(empty, deal(empty, "sequence", 2))[0].idle is None


# Files


def test_resume_is_bit_for_bit_and_any_number_of_ranks_can_load(start, tmp_path):
    two, four = shared_host(2), shared_host(4)
    two.load(start)
    two.update("policy", job_for(two))
    two.follow("reference", "policy", 1.0)
    (tmp_path / "a").mkdir()
    two.save(tmp_path / "a")
    two.update("policy", job_for(two))
    ended = two.fingerprint("policy")
    two.load(tmp_path / "a")
    two.update("policy", job_for(two))
    assert two.fingerprint("policy") == ended  # weights, moments and counts came back
    four.load(tmp_path / "a")
    here = host_here(Tiny())
    here.load(tmp_path / "a")
    two.load(tmp_path / "a")
    for role in ("policy", "critic", "reference"):
        assert four.fingerprint(role) == two.fingerprint(role) == here.fingerprint(role)
    for host in (four, here):
        host.update("policy", job_for(host))
        after = copied(host.tensors())
        for name, weight in two.tensors():
            assert torch.allclose(after[name], weight, atol=1e-2), name
    assert not list(tmp_path.rglob("*.distcp"))  # nothing that a pickle could hide in
    assert sorted(p.suffix for p in (tmp_path / "a" / "state").rglob("*") if p.is_file()) == [
        ".json",
        ".safetensors",
        ".safetensors",
    ]


def test_the_exported_folder_is_that_of_the_host_in_process(start, tmp_path):
    two, here = shared_host(2), host_here(Tiny())
    two.load(start)
    here.export("policy", tmp_path / "here")
    two.export("policy", tmp_path / "ranks")
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("here", "ranks"))
    assert ours.keys() == theirs.keys()
    assert fingerprint(ours) == fingerprint(theirs)
    names = [{file.name for file in (tmp_path / name).iterdir()} for name in ("here", "ranks")]
    assert names[0] == names[1]
    about = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("here", "ranks")]
    assert about[0] == about[1]


def test_weights_are_handed_out_one_at_a_time(start):
    two = shared_host(2)
    two.load(start)
    model = copied(two.tensors())
    assert fingerprint(model) == fingerprint(dict(host_here(Tiny()).tensors()))
    assert not any(name.startswith("value_head") for name in model)
    few = two.tensors()
    assert [name for name, _ in islice(few, 2)] == list(model)[:2]
    few.close()  # the rest is read and dropped
    assert two.fingerprint("policy") == two.fingerprint("policy")


def test_the_models_of_a_run_on_ranks(tmp_path):
    """As a run places them: the sampler gets the policy's weights, and a checkpoint whose model is rounded
    still has every bit of them."""
    config = changed(
        recipe("grpo"), {"ranks": 2, "threads": 1, "save_dtype": "bfloat16", "out": str(tmp_path / "run")}
    )
    with place(config) as placed:
        batch = take(random_batch(), torch.arange(2))
        job = prepare(MiniBatch(UPDATE, torch.arange(2), first=False), batch, placed.host)
        before = placed.channel.publish(1).fingerprint
        placed.host.update("policy", job)
        after = placed.channel.publish(2).fingerprint
        assert after == placed.host.fingerprint("policy") != before
        placed.host.save(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["model.norm.weight"].dtype == torch.bfloat16
    model, _ = load_policy(tmp_path)
    assert fingerprint(dict(model.named_parameters())) == after


@pytest.mark.parametrize(
    ("name", "tree", "asked"),
    [
        ("trpo", {}, "natural"),
        ("self_distill", {}, "teacher_question"),
        ("energy_nce", {"negatives": "reference"}, "negatives"),
        ("grpo", {"device": "cuda:1"}, "device=cuda:1 is one GPU"),
    ],
)
def test_what_ranks_cannot_do_is_refused(name, tree, asked):
    with pytest.raises(UserError, match=asked):
        changed(recipe(name), {"ranks": 2, **tree})


# Faults


def test_the_loss_of_a_rank_ends_all_at_once_with_its_own_last_words():
    host = host_on(2, Tiny())
    assert [entry.task for entry in host.workers.entries] == ["", ""]
    worker = host.workers.workers[1]
    began = time.monotonic()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RankLost, match=r"rank 1 of 2 has ended \(signal SIGKILL.*last checkpoint"):
        host.score(random_batch(), [Ask("policy", "logp")])
    assert time.monotonic() - began < 20
    assert [worker.pid for worker in host.workers.workers] == [0, 0]
    last = [entry.line() for entry in host.workers.entries]
    assert [(line["name"], line["task"]) for line in last] == [
        ("rank 0", "compute log-probs"),
        ("rank 1", "compute log-probs"),
    ]
    assert last[0]["ended_for"] == ""
    assert last[1]["ended_for"].startswith("signal SIGKILL")
    with pytest.raises(RankLost, match="rank 1 of 2 has ended"):
        host.fingerprint("policy")


def test_a_rank_that_is_stopped_is_noticed(monkeypatch):
    monkeypatch.setattr("menon.processes.idle.SILENT", 1.0)
    monkeypatch.setattr(rank_workers, "BEAT", 0.5)
    host = host_on(2, Tiny())
    os.kill(host.workers.workers[0].pid, signal.SIGSTOP)
    with pytest.raises(RankLost, match=r"rank 0 is stopped, and no answer has come"):
        host.fingerprint("policy")
    stopped, other = (entry.line() for entry in host.workers.entries)
    assert (stopped["ended_for"], stopped["task"]) == ("it was stopped", "compute a fingerprint")
    assert other["ended_for"] == ""


def test_a_rank_that_is_stopped_on_another_host_is_noticed(monkeypatch):
    """There, nothing is known of its processor time; the others have handed out their rows."""
    monkeypatch.setattr(rank_workers, "BEAT", 0.2)
    monkeypatch.setattr(rank_workers, "PATIENCE", timedelta(seconds=1))
    monkeypatch.setattr(Worker, "is_here", False)
    host = host_on(2, Tiny())
    stopped = host.workers.workers[1].pid
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(RankLost, match=r"computes, and no answer has come for \d s \(at most 1 s"):
        list(host.tensors())


def test_a_users_fault_is_said_in_one_sentence(tmp_path):
    host = host_on(2, Tiny())
    with pytest.raises(UserError, match=r"^the critic of this run cannot be written"):
        host.export("critic", tmp_path)
    host.close()


def test_what_this_machine_cannot_hold_is_refused(monkeypatch):
    engine = Engine(ranks=2, device="cuda", threads=1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="ranks=2 needs as many GPUs, and torch sees 1; set ranks=1"):
        host_on_ranks(Models(), {}, engine, 1.0, Control(), (), print, Site(Engine(), 0))
    assert rank_group.device_of_ranks("cpu", 2, here=False) == "cpu"
    monkeypatch.setattr(rank_group.dist, "is_nccl_available", lambda: False)
    assert rank_group.device_of_ranks("cuda", 2, here=False) == "cuda"  # each host has its own
    monkeypatch.setattr(rank_group.dist, "is_gloo_available", lambda: False)
    with pytest.raises(UserError, match="no gloo"):
        host_on_ranks(Models(), {}, Engine(ranks=2), 1.0, Control(), (), print, Site(Engine(), 0))
    with pytest.raises(UserError, match="ranks is 0; it must be at least 1"):
        Engine(ranks=0)
    with pytest.raises(UserError, match="offload is about models in parts"):
        Engine(offload=True)
