"""Law 11 for samplers in another process, over every way that weights take, on the fake engine; and that
`menon check sync` catches what is planted in it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engines import V, fake_ends, prompts
from fake_engine import SCALE
from helpers import tiny_model
from menon.assembly.check_sync import SyncFailed
from menon.assembly.engine_samplers import PolicyAdapter
from menon.assembly.engine_samplers import frozen as frozen_of
from menon.assembly.scored import scored
from menon.engines import lora
from menon.engines.in_process import InProcessHost
from menon.engines.torch_scorer import TorchScorer
from menon.sync.by_adapter import ByAdapter
from menon.sync.fingerprint import content, fingerprint
from menon.types import Request, Sampling
from menon.update.adapter import Adapter
from scripted import written_by

WAYS = ["changed", "file", "broadcast"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    with fake_ends(tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture
def ends(both):
    both.fresh()
    both.channels["changed"].publish(both.sampler.version + 1)
    yield both
    both.sampler.call("plant", "")


def moved(ends, much: float = 0.1) -> None:
    with torch.no_grad():
        for weight in ends.host.models["policy"].weights().values():
            weight.add_(much * torch.randn_like(weight))


@pytest.mark.parametrize("way", WAYS)
def test_publishing_changes_only_what_it_should(ends, way):
    assert len(ends.check(way)) == 5
    channel = ends.channels[way]
    moved(ends)
    published = channel.publish(ends.sampler.version + 1)
    assert published.fingerprint == fingerprint(ends.host.models["policy"].weights())
    assert published.version == ends.sampler.version


def test_only_tensors_that_changed_are_carried(ends):
    channel = ends.channels["changed"]
    whole = channel.carried
    assert whole == sum(weight.nbytes for weight in ends.host.models["policy"].weights().values())
    channel.publish(ends.sampler.version + 1)
    assert channel.carried == 0
    name, weight = next(iter(ends.host.models["policy"].weights().items()))
    with torch.no_grad():
        weight[0, 0] += 1
    channel.publish(ends.sampler.version + 1)
    assert channel.carried == weight.nbytes < whole, name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("moves_nothing", r"the sampler holds other weights than the learner: \d+ of \d+ tensors differ"),
        ("half_update", r"\d+ of \d+ tensors differ; the first, 'model\..*', has other numbers"),
        ("swapped", r"2 of \d+ tensors differ; the first, 'model\.layers\.0\.mlp\.up_proj\.weight'"),
        ("other_dtype", r"tensors differ"),
        ("no_reset", r"did not reset its prefix cache"),
    ],
)
def test_a_publication_proves_the_weights_that_compute(ends, way, fault, words):
    """These faults leave other weights in the engine, or a cache, and it says so itself when it is asked."""
    ends.sampler.call("plant", fault)
    moved(ends)
    version = ends.sampler.version
    with pytest.raises(RuntimeError, match=words):
        ends.channels[way].publish(version + 1)
    assert ends.sampler.version == version


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("keep_cache", "the sampler's prefix cache of other weights answers: .* after the weights changed"),
        ("lying_moves_nothing", "the publication moved nothing: the sampler answers as before"),
        ("lying_half_update", "trainer and sampler disagree after the weights changed"),
        ("lying_swapped", "publishing unchanged weights changed|disagree"),
        ("lying_other_dtype", "publishing unchanged weights changed log-probs|changed .* texts|disagree"),
        ("raw_logp", "trainer and sampler disagree before anything is published"),
        ("moves_nothing", "the sampler holds other weights than the learner"),
    ],
)
def test_the_check_catches(ends, fault, words):
    """Also where the engine says that it has the right weights, and where the right weights do not answer."""
    temperature = 0.7 if fault == "raw_logp" else 1.0
    ends.fresh(0.01, temperature)
    ends.sampler.call("plant", fault)
    with pytest.raises(SyncFailed, match=words):
        ends.check("changed", temperature)


@dataclass
class LoRA:
    """The adapter of a policy, without one around it."""

    folder: Path
    rank: int = 2
    scale: float = SCALE

    def __post_init__(self):
        draw = torch.Generator().manual_seed(7)
        layer = "base_model.model.model.layers.1.mlp.up_proj"
        shapes = {"lora_A": (2, 16), "lora_B": (32, 2)}
        self.held = {f"{layer}.{n}.weight": torch.randn(s, generator=draw) for n, s in shapes.items()}

    def tensors(self):
        return iter(self.held.items())

    def write(self, folder):
        folder.mkdir()
        save_file(self.held, folder / "adapter_model.safetensors")


def test_an_adapter_alone_is_put_in_place_of_the_last_one(ends, tmp_path):
    """The policy's weights are those of the model, with B A added by hand."""
    start = {name: w.clone() for name, w in ends.host.models["policy"].weights().items()}
    lora = LoRA(tmp_path)
    frozen = {each: content(weight) for each, weight in start.items() if "_proj" not in each}
    channel = ByAdapter(lora, ends.sampler, tmp_path, frozen)
    name = "model.layers.1.mlp.up_proj"
    for step in range(1, 3):
        for matrix in lora.held.values():
            matrix.mul_(0.5)
        down, up = lora.held.values()
        with torch.no_grad():
            ends.host.models["policy"].weights()[f"{name}.weight"].copy_(
                start[f"{name}.weight"] + SCALE * up @ down
            )
        assert channel.publish(ends.sampler.version + 1).version == ends.sampler.version
        found = written_by(ends.sampler, [Request(each, Sampling(8)) for each in prompts()])
        wanted = scored(ends.host, found)
        assert max(abs(a - c.logp).max() for a, c in zip(wanted, found, strict=True)) < 1e-4, step
        assert not list(tmp_path.iterdir())
    ends.sampler.call("plant", "stale_adapter")
    for matrix in lora.held.values():
        matrix.mul_(0.5)
    with pytest.raises(
        RuntimeError, match=r"2 of 2 tensors differ; the first, 'model\.layers\.1\.mlp\.up_proj\.lora_A'"
    ):
        channel.publish(ends.sampler.version + 1)
    ends.sampler.call("plant", "")
    other = {**frozen, "model.norm.weight": content(torch.zeros(16))}
    with pytest.raises(RuntimeError, match=r"the first, 'model\.norm\.weight'"):
        ByAdapter(lora, ends.sampler, tmp_path, other).publish(ends.sampler.version + 1)


def test_the_adapter_of_a_model_is_given_in_the_numbers_that_learn(ends, tmp_path):
    """Rank 2 and alpha 4 have the fake engine's scale of 2."""
    model = tiny_model(vocab=V)
    lora.attach(model, Adapter(rank=2, alpha=2 * SCALE, targets=("q_proj", "up_proj")), 0, "tiny")
    given = PolicyAdapter(model)
    assert (given.rank, given.scale) == (2, SCALE)
    frozen = {name: content(weight) for name, weight in frozen_of(model) if "_proj" not in name}
    channel = ByAdapter(given, ends.sampler, tmp_path, frozen)
    with torch.no_grad():
        for layer in lora.layers(model).values():
            layer.lora_B[lora.NAME].weight.normal_()
    assert channel.publish(ends.sampler.version + 1).version == ends.sampler.version
    found = written_by(ends.sampler, [Request(each, Sampling(8)) for each in prompts()])
    ends.host = InProcessHost({"policy": TorchScorer(lora.merged_copy(model))})
    wanted = scored(ends.host, found)
    assert max(abs(a - c.logp).max() for a, c in zip(wanted, found, strict=True)) < 1e-4


def test_the_check_is_content_at_another_temperature(ends):
    ends.fresh(0.01, 0.7)
    assert len(ends.check("changed", 0.7)) == 5
