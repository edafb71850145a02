from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from batches import VOCAB, random_batch
from helpers import tiny_model
from menon.batch import take
from menon.engines import packed
from menon.engines.decoder import hidden_states
from menon.engines.forward import run_trunk
from menon.engines.llama_family import decoder_of
from menon.engines.network import take_apart
from menon.engines.packed import LEAST_ROWS, alike, attention, distinct, pack_distinct
from menon.engines.torch_scorer import TorchScorer


def tree():
    """Five sequences: 1 and 3 are the same, 0 and 4 share two tokens with them, 2 begins otherwise."""
    token = torch.tensor([7, 8, 9, 7, 8, 5, 6, 4, 8, 9, 7, 8, 5, 6, 7, 8, 5, 9])
    return token, torch.tensor([0, 3, 7, 10, 14, 18])


def batch_of_tree():
    token, offset = tree()
    batch = take(random_batch(), torch.arange(5))
    per_token = dict.fromkeys(("reward", "behaviour_logp"), torch.zeros(len(token)))
    empty = dict.fromkeys(
        ("old_logp", "ref_logp", "value", "advantage", "ret", "entropy", "log_kept", "version", "value_after")
    )
    batch = replace(batch, token=token % VOCAB, offset=offset, **per_token, **empty, columns={})
    return replace(batch, is_action=batch.position >= 2)


def test_tokens_with_the_same_beginning_have_one_number():
    token, offset = tree()
    number = distinct(token, offset)
    paths = [
        tuple(token[start : t + 1].tolist())
        for start, end in pairwise(offset.tolist())
        for t in range(start, end)
    ]
    assert len(set(number.tolist())) == len(set(paths)) == 9
    for one in range(len(paths)):
        for other in range(len(paths)):
            assert (number[one] == number[other]) == (paths[one] == paths[other])
    assert sorted(set(number.tolist())) == list(range(9))


def test_only_what_is_needed_is_packed():
    batch = batch_of_tree()
    needed = torch.zeros(batch.num_tokens, dtype=torch.bool)
    needed[[1, 4, 5, 11]] = (
        True  # up to the second token of 0, the third of 1, the second of 3; nothing of 2 and 4
    )
    packed = pack_distinct(batch, needed)
    assert packed.offset.tolist() == [0, 2, 5, 5, 7, 7]
    assert len(packed.token) == 3
    for t in range(batch.num_tokens):
        if packed.place[t] >= 0:
            assert packed.token[packed.place[t]] == batch.token[t]
            assert packed.position[packed.place[t]] == batch.position[t]
    assert packed.place[:3].tolist()[2] == -1
    assert torch.equal(packed.used[packed.first], torch.arange(3))


def test_runs_of_like_length_cover_every_sequence_once():
    lengths = sorted(torch.randint(0, 90, (300,), generator=torch.Generator().manual_seed(0)).tolist())
    runs = alike(lengths)
    covered = [row for run in runs for row in range(run.start, run.stop)]
    assert covered == [row for row, length in enumerate(lengths) if length]
    assert all(run.stop - run.start >= LEAST_ROWS for run in runs[:-1])
    padded = sum((run.stop - run.start) * lengths[run.stop - 1] for run in runs)
    assert padded < 1.3 * sum(lengths)
    assert alike([]) == alike([0, 0]) == []


@pytest.mark.parametrize("spared", [32, 1])
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_states_and_gradients_are_those_of_the_sequences_alone(kind, spared, monkeypatch):
    monkeypatch.setattr(packed, "SPARED", spared)
    model, batch = tiny_model(kind, vocab=VOCAB, dtype=torch.float64), batch_of_tree()
    network = take_apart(model)
    assert network.decoder is not None
    weight = torch.linspace(-1, 1, 16, dtype=torch.float64)

    def gradients(total):
        found = torch.autograd.grad(total, list(model.base_model.parameters()))
        return torch.cat([gradient.flatten() for gradient in found])

    states = run_trunk(network, batch, after=True)
    alone = [
        hidden_states(network.decoder, row[None])[0] for row in batch.token.split(batch.lengths.tolist())
    ]
    before = torch.cat([rows[1:-1] for rows in alone])  # of actions, which begin at the third token
    after = torch.cat([rows[2:] for rows in alone])
    torch.testing.assert_close(states.rows, before, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(states.after, after, rtol=1e-10, atol=1e-12)
    one, other = gradients((states.rows @ weight).sum()), gradients((before @ weight).sum())
    assert float((one - other).norm() / other.norm()) < 1e-12


def test_a_long_beginning_is_asked_for_no_queries_again(monkeypatch):
    """Of the tree, 0 and 2 ask for all of their tokens, 1 for its last two, because it begins as 0, 4 for
    its last, because it begins as 1, and 3, which is the same as 1, for none."""
    monkeypatch.setattr(packed, "SPARED", 2)
    batch = batch_of_tree()
    found = pack_distinct(batch, torch.ones_like(batch.is_action))
    grids, cell = found.rows(spare=True)
    assert [rows.shape for rows in grids] == [(2, 3, 3), (2, 2, 4)]
    assert grids[0].before is None
    assert grids[1].before.tolist() == [2, 3]
    asked = torch.cat([rows.query for rows in grids])
    assert torch.equal(asked[cell], torch.arange(len(found.token)))
    mask = grids[1].mask(torch.float32, heads=2)
    assert mask.shape == (2, 1, 4, 4)
    assert (mask[0, 0] == 0).tolist() == [[True, True, True, False], [True] * 4] * 2
    assert bool((mask[1, 0] == 0).all())
    whole, _ = found.rows(spare=False)
    assert [rows.shape for rows in whole] == [(4, 4, 4)]


def test_a_batch_without_actions_has_no_states():
    batch = batch_of_tree()
    batch = replace(batch, is_action=torch.zeros_like(batch.is_action))
    scored = TorchScorer(tiny_model("qwen3", vocab=VOCAB)).score(batch, ("logp", "entropy"))
    assert scored["logp"].shape == (batch.num_tokens,)
    assert float(scored["logp"].abs().max()) == 0


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_attention_on_a_cpu_takes_the_fused_kernel_both_ways(kind):
    model, batch = tiny_model(kind, vocab=VOCAB), batch_of_tree()
    decoder = decoder_of(model)
    packed = pack_distinct(batch, batch.is_action)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        attend = attention(packed, decoder.head_dim, torch.device("cpu"), None)
        hidden_states(decoder, packed.token, packed.position, attend).sum().backward()
    names = {event.key for event in seen.key_averages()}
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in names
    assert "aten::_scaled_dot_product_flash_attention_for_cpu_backward" in names
