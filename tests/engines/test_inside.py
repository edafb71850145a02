"""What a learner compares of the layers of two models, against the models' own outputs."""

import pytest
import torch

from batches import VOCAB, random_batch
from helpers import tiny_model
from menon.batch import Batch, take
from menon.engines.inside import projection
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.loss import AttentionMaps, Distill, Features
from menon.update.protocols import Hidden

KINDS = ["qwen3", "gpt2"]


def scorers(kind: str, own: int = 16, other: int = 16, **head: object) -> tuple[TorchScorer, TorchScorer]:
    """A policy of two layers and a teacher of three."""
    heads = {f"projection_{i}_{j}": projection(own, other, 5, f"{i}") for i, j in ((1, 2), (2, 3))}
    models = tiny_model(kind, 0, VOCAB, hidden=own), tiny_model(kind, 1, VOCAB, hidden=other, layers=3)
    for model in models:
        model.set_attn_implementation("eager")
    return (
        TorchScorer(models[0], heads=heads if own != other else {}, tokens_per_forward=64),
        TorchScorer(models[1], tokens_per_forward=64),
    )


def by_hand(batch: Batch, scorer: TorchScorer) -> list[dict[str, tuple[torch.Tensor, ...]]]:
    """Of each sequence the states [L, d] and maps [heads, L, L] of all layers, by `transformers`."""
    found = []
    for tokens in batch.token.split(batch.lengths.tolist()):
        with torch.no_grad():
            out = scorer.model(tokens[None], output_hidden_states=True, output_attentions=True)
        states, maps = ([each[0] for each in kind] for kind in (out.hidden_states, out.attentions))
        found.append({"states": tuple(states), "maps": tuple(maps)})
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", [16, 24])
def test_states_are_those_of_transformers(kind, other):
    """Both ways through a model: its distinct tokens as plain data, and its own forward."""
    policy, teacher = scorers(kind, other=other)
    batch, part = random_batch(), Features(layers=((1, 2), (2, 3)), weights=(1.0, 0.5))
    assert (policy.readout.network.decoder is None) == (kind == "gpt2")
    found = policy.score(batch, part.needs, {"teacher": teacher})[repr(part)]
    expected = []
    for own, their in zip(by_hand(batch, policy), by_hand(batch, teacher), strict=True):
        total = torch.zeros(len(own["states"][0]))
        for (i, j), weight in zip(((1, 2), (2, 3)), (1.0, 0.5), strict=True):
            states = own["states"][i]
            if other != 16:
                states = states @ policy.heads[f"projection_{i}_{j}"].weight.detach().T
            total += weight * (states - their["states"][j]).square().mean(-1)
        expected.append(torch.cat([torch.zeros(1), total[:-1]]))  # the shift by one
    torch.testing.assert_close(
        found[batch.is_action], torch.cat(expected)[batch.is_action], rtol=1e-4, atol=1e-4
    )
    assert float(found[~batch.is_action].abs().max()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_those_of_transformers(kind):
    policy, teacher = scorers(kind)
    batch, part = random_batch(), AttentionMaps(layers=((2, 3),))
    found = policy.score(batch, part.needs, {"teacher": teacher})[repr(part)]
    expected = []
    for own, their in zip(by_hand(batch, policy), by_hand(batch, teacher), strict=True):
        q, p = own["maps"][1].double(), their["maps"][2].double()
        each = (
            torch.where(p > 0, p * (p.clamp(min=1e-30).log() - q.clamp(min=1e-30).log()), 0).sum(-1).mean(0)
        )
        expected.append(torch.cat([torch.zeros(1), each[:-1].float()]))
    torch.testing.assert_close(
        found[batch.is_action], torch.cat(expected)[batch.is_action], rtol=1e-4, atol=1e-5
    )
    assert float(found.std()) > 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [Features(), Features("cosine"), AttentionMaps()], ids=repr)
def test_a_sequence_among_others_equals_itself_alone(kind, part):
    policy, teacher = scorers(kind)
    batch = random_batch()
    together = policy.score(batch, part.needs, {"teacher": teacher})[repr(part)]
    alone = [
        policy.score(take(batch, torch.tensor([s])), part.needs, {"teacher": teacher})[repr(part)]
        for s in range(batch.num_sequences)
    ]
    size = max(1.0, float(together.abs().max()))
    assert float((together - torch.cat(alone)).abs().max()) < 1e-6 * size


def test_one_pass_of_the_teacher_serves_logits_and_states(monkeypatch):
    policy, teacher = scorers("qwen3")
    seen = []
    look = teacher.look
    monkeypatch.setattr(teacher, "look", lambda *given: seen.append(1) or look(*given))
    batch, needs = random_batch(), (*Features().needs, *Distill().needs)
    together = policy.score(batch, needs, {"teacher": teacher})
    passes = len(seen)
    apart = [policy.score(batch, (need,), {"teacher": teacher}) for need in needs]
    assert passes == (len(seen) - passes) / 2
    for need, columns in zip(needs, apart, strict=True):
        torch.testing.assert_close(together[need.name], columns[need.name], rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_torch():
    """Of the policy's first embedding rows and of the projection, through an `mse` written out."""
    policy, teacher = scorers("gpt2", other=24)
    batch, part = random_batch(2), Features(layers=((1, 2),))
    policy.forward(batch, part.needs, {"teacher": teacher})[repr(part)].sum().backward()
    head, table = policy.heads["projection_1_2"], policy.model.get_input_embeddings().weight
    found = head.weight.grad.clone(), table.grad.clone()
    policy.model.zero_grad()
    head.zero_grad()
    total = torch.zeros(())
    size = batch.lengths.tolist()
    for tokens, is_action in zip(batch.token.split(size), batch.is_action.split(size), strict=True):
        own = policy.model(tokens[None], output_hidden_states=True).hidden_states[1][0]
        with torch.no_grad():
            their = teacher.model(tokens[None], output_hidden_states=True).hidden_states[2][0]
        total = total + (own @ head.weight.T - their).square().mean(-1)[:-1][is_action[1:]].sum()
    total.backward()
    for gradient, weight in zip(found, (head.weight, table), strict=True):
        torch.testing.assert_close(gradient, weight.grad, rtol=1e-4, atol=1e-4)
        assert float(gradient.norm()) > 0.1


class TestRefused:
    def test_widths_without_a_projection(self):
        policy, teacher = scorers("qwen3", other=24)
        with pytest.raises(UserError, match="layer 1 has 16 numbers and layer 1 of the teacher 24; give the"):
            policy.score(random_batch(), Features(layers=((1, 1),)).needs, {"teacher": teacher})

    def test_no_teacher(self):
        policy, _ = scorers("qwen3")
        with pytest.raises(UserError, match="compares with a teacher model, and this run has none"):
            policy.score(random_batch(), Features().needs, {})

    def test_maps_of_a_fused_kernel(self):
        """One sentence where a model keeps its attention to itself."""
        policy, teacher = scorers("gpt2")
        teacher.model.set_attn_implementation("sdpa")
        with pytest.raises(UserError, match=r"does not hand out how its heads attend.*take loss=features"):
            policy.score(random_batch(), AttentionMaps().needs, {"teacher": teacher})

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("layer", [3, -4])
    def test_layers_that_are_not_there(self, kind, layer):
        policy, _ = scorers(kind)
        with pytest.raises(UserError, match="is none of the model's 2 layers; name 0 to 2, or -1"):
            policy.score(random_batch(), (Hidden(layer),), {})
