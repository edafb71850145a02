"""Law 11 for samplers in another process, over every way that weights take, on the fake engine; and that
`menon check sync` catches what is planted in it."""

import pytest
import torch

from engines import fake_ends
from menon.assembly.check_sync import SyncFailed
from menon.sync.fingerprint import fingerprint

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


def test_the_check_is_content_at_another_temperature(ends):
    ends.fresh(0.01, 0.7)
    assert len(ends.check("changed", 0.7)) == 5
