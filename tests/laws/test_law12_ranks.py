"""Law 12: the result does not depend on where models live. One batch gives one gradient, in this process and
on 1, 2 or 4 ranks, and so do several updates: relative 1e-6 in fp32 (twice that where the mean
log-ratio of an answer is in the gradient, see `objectives.AMPLIFIED`), 1e-12 in fp64."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from batches import near, random_batch
from menon.batch import Batch, take
from menon.engines.in_process import InProcessHost
from menon.engines.ranked_host import RankedHost
from menon.loss.aggregation import SequenceMean, TokenMean
from menon.loss.entropy_bonus import EntropyBonus
from menon.loss.kl import KL
from menon.loss.ppo_clip import PPOClip
from menon.loss.value import ValueLoss
from menon.update.host import Ask
from menon.update.objective import prepare
from menon.update.protocols import Hidden
from menon.update.terms import MiniBatch, Term, Update, split
from objectives import CRITIC, POLICY, amplified
from rank_models import Models, copied, host_here, shared_host

RANKS = (1, 2, 4)
SMALL = Models("gpt2", "float64", tokens_per_forward=30, checkpointing=True, tied=False)
"""A model without a fast path, and layers that are computed again."""


@dataclass(frozen=True)
class Setting:
    here: InProcessHost
    batch: Batch
    start: Path
    """A checkpoint of the models as they begin."""


def setting_of(models: Models, folder: Path) -> Setting:
    here = host_here(models)
    if not models.adapter:
        here.follow("reference", "reference", 1)  # so that its weights are saved too
    here.save(folder)
    batch = random_batch(dtype=getattr(torch, models.dtype))
    return Setting(here, near(batch, here.score(batch, [Ask("policy", "logp")])["logp"]), folder)


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> Setting:
    torch.set_num_threads(1)
    return setting_of(Models(), tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module", params=RANKS, ids=lambda count: f"{count} ranks")
def ranked(request, setting: Setting) -> RankedHost:
    """Other tests have used the ranks too."""
    host = shared_host(request.param)
    host.load(setting.start)
    return host


def gradient(host: InProcessHost | RankedHost, here: InProcessHost, update: Update, batch: Batch) -> Tensor:
    """The whole gradient as a vector; the update's statistics are those of the host in process."""
    part = MiniBatch(update, torch.arange(batch.num_sequences), first=False)
    found = copied(host.gradient(update.model, prepare(part, batch, here)))
    return torch.cat([found[name].flatten() for name in sorted(found)])


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


EVERY = {**POLICY, "a critic of its own": CRITIC}
FEW = ("policy, KL and value on one trunk: three normalisers", "a pair is a unit", "a critic of its own")


@pytest.mark.parametrize("name", EVERY)
def test_one_batch_gives_one_gradient(setting: Setting, ranked: RankedHost, name: str):
    if len(ranked.workers) != 2 and name not in FEW:
        pytest.skip("all objectives on 2 ranks, some on 1 and 4")
    whole = gradient(setting.here, setting.here, EVERY[name], setting.batch)
    assert whole.norm() > 1e-3
    bound = 1e-6 * amplified(EVERY[name])
    assert distance(gradient(ranked, setting.here, EVERY[name], setting.batch), whole) < bound


def test_uneven_batches(setting: Setting, ranked: RankedHost):
    """Fewer answers than ranks; one long answer beside short ones, so that the passes of the ranks differ.
    The gradient is a sum: an update without any of its sequences would be another."""
    update = POLICY[FEW[0]]
    for rows in ([4], [0, 11, 5], list(range(12))):
        batch = take(setting.batch, torch.tensor(rows))
        whole = gradient(setting.here, setting.here, update, batch)
        assert distance(gradient(ranked, setting.here, update, batch), whole) < 1e-6, rows


def test_in_fp64_without_a_fast_path(tmp_path):
    setting, host = setting_of(SMALL, tmp_path), shared_host(2, SMALL)
    for name in FEW:
        whole = gradient(setting.here, setting.here, EVERY[name], setting.batch)
        assert distance(gradient(host, setting.here, EVERY[name], setting.batch), whole) < 1e-12, name


STEPS = (
    Update(
        {
            "policy": Term(PPOClip(), TokenMean()),
            "kl": Term(KL("k3"), SequenceMean(), coef=0.1),
            "entropy": Term(EntropyBonus(), TokenMean(), coef=0.01),
        },
        count=2,
    ),
    Update({"value": Term(ValueLoss(clip=0.2), TokenMean())}, model="critic", count=2),
)


def learn(host: InProcessHost | RankedHost, batch: Batch, steps: int) -> list[dict[str, float]]:
    """Some steps of several updates, of policy and critic in turn, and then a reference that follows."""
    reports = []
    for step in range(steps):
        for update in STEPS:
            for part in split(batch, update, 0, step):
                metrics = host.update(update.model, prepare(part, batch, host))
                reports.append({name: float(metric) for name, metric in metrics.items()})
        host.follow("reference", "policy", 0.5)
    return reports


def test_weights_and_metrics_after_some_steps(setting: Setting, ranked: RankedHost, tmp_path):
    here, there = host_here(Models()), ranked
    there.load(setting.start)
    assert there.fingerprint("policy") == here.fingerprint("policy")
    ours, theirs = learn(here, setting.batch, 2), learn(there, setting.batch, 2)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert other == pytest.approx(one, rel=1e-5, abs=1e-6)
    there.save(tmp_path)
    loaded = host_here(Models())
    loaded.load(tmp_path)  # what ranks have written, in this process
    for role in ("policy", "critic", "reference"):
        assert loaded.fingerprint(role) == there.fingerprint(role)
        weights, wanted = loaded.models[role].weights(), here.models[role].weights()
        apart = [distance(weights[name].detach(), wanted[name].detach()) for name in wanted]
        assert max(apart) < 1e-6, role
    there.load(setting.start)


def test_columns_are_in_the_order_of_the_batch(setting: Setting, ranked: RankedHost):
    asks = [Ask("policy", "logp"), Ask("policy", Hidden()), Ask("teacher", "entropy", "doubt")]
    ours, theirs = setting.here.score(setting.batch, asks), ranked.score(setting.batch, asks)
    assert ours.keys() == theirs.keys()
    for name, column in ours.items():
        assert theirs[name].shape == column.shape
        # Two roundings of a log-prob of -7; without AVX-512 a product of fewer rows adds in another order.
        assert torch.allclose(theirs[name], column, rtol=0, atol=2e-6), name


def test_what_is_not_finite_on_one_rank_is_skipped_on_all(setting: Setting):
    host = shared_host(2)
    host.load(setting.start)
    before = host.fingerprint("policy")
    advantage = setting.batch.advantage.clone()
    advantage[setting.batch.offset[1] - 1] = torch.inf  # of one answer
    broken = replace(setting.batch, advantage=advantage)
    update = Update({"policy": Term(PPOClip(), TokenMean())})
    part = MiniBatch(update, torch.arange(12), first=False)
    metrics = host.update("policy", prepare(part, broken, setting.here))
    assert float(metrics["update/skipped"]) == 1
    assert host.fingerprint("policy") == before
    nothing = prepare(part, replace(setting.batch, valid=torch.zeros(12, dtype=torch.bool)), setting.here)
    assert float(host.update("policy", nothing)["update/empty"]) == 1
    assert host.fingerprint("policy") == before
    metrics = host.update("policy", prepare(part, setting.batch, setting.here))
    assert (float(metrics["update/skipped"]), float(metrics["update/empty"])) == (0, 0)
    assert host.fingerprint("policy") != before
    host.load(setting.start)


@pytest.mark.parametrize("ranks", [1, 2])
def test_an_adapter(ranks, tmp_path):
    """Only its weights have a gradient; the sampler gets the weights that it makes, and a checkpoint of ranks
    holds it alone and is read in this process."""
    pytest.importorskip("peft", reason="adapters need the extra peft")
    models = Models(adapter=2)
    setting, host = setting_of(models, tmp_path / "start"), shared_host(ranks, models)
    for name in FEW:
        whole = gradient(setting.here, setting.here, EVERY[name], setting.batch)
        assert distance(gradient(host, setting.here, EVERY[name], setting.batch), whole) < 1e-6, name
    for _ in range(2):
        for one in (setting.here, host):
            part = MiniBatch(STEPS[0], torch.arange(setting.batch.num_sequences), first=False)
            one.update("policy", prepare(part, setting.batch, setting.here))
    given, wanted = (copied(one.tensors()) for one in (host, setting.here))
    assert given.keys() == wanted.keys()
    assert not any("lora" in name for name in given)
    assert max(distance(given[name], wanted[name]) for name in wanted) < 1e-6
    host.save(tmp_path / "ranks")
    assert (tmp_path / "ranks" / "adapter_config.json").exists()
    loaded = host_here(models)
    loaded.load(tmp_path / "ranks")
    assert loaded.fingerprint("policy") == host.fingerprint("policy")
