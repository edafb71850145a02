import math
from dataclasses import replace

import pytest
import torch
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM

from batches import VOCAB, random_batch
from helpers import KINDS, tiny_model
from menon.engines.network import ValueModel, take_apart, value_head
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.loss.exact_kl import REVERSE_KL
from menon.update.protocols import VALUE, VALUE_AFTER, Reduction

TAU = 0.7


def scorer_of(**settings):
    return TorchScorer(tiny_model(vocab=VOCAB), **settings)


def by_hand(model, batch, tau=1.0):
    """The same columns the slow way: one sequence, one token at a time, the model's own forward on the
    prefix."""
    logp, entropy = torch.zeros(batch.num_tokens), torch.zeros(batch.num_tokens)
    for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
        for t in range(start + 1, end):
            if batch.is_action[t]:
                with torch.no_grad():
                    logits = model(batch.token[start:t][None]).logits[0, -1] / tau
                logp[t] = logits[batch.token[t]] - logits.logsumexp(-1)
                entropy[t] = logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum()
    return {"logp": logp, "entropy": entropy}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_equal_the_definition(kind):
    model, batch = tiny_model(kind, vocab=VOCAB), random_batch(4)
    scored = TorchScorer(model, temperature=TAU, tokens_per_forward=30).score(batch, ("logp", "entropy"))
    for name, column in by_hand(model, batch, TAU).items():
        torch.testing.assert_close(scored[name], column, rtol=1e-5, atol=2e-5)
        assert torch.all(scored[name][~batch.is_action] == 0)


def test_columns_of_logits_that_the_model_scales_or_caps():
    shared = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    shared |= {
        "num_key_value_heads": 1,
        "intermediate_size": 16,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    scaled = CohereForCausalLM(CohereConfig(**shared, logit_scale=0.3, initializer_range=0.5)).eval()
    capped = Gemma2ForCausalLM(
        Gemma2Config(
            **shared,
            head_dim=8,
            final_logit_softcapping=0.5,
            attn_logit_softcapping=None,
            initializer_range=0.5,
        )
    ).eval()
    batch = random_batch(4)
    for model in (scaled, capped):
        scorer = TorchScorer(model, temperature=TAU, vocabulary_chunk=7 * VOCAB)
        assert scorer.readout.network.whole is model
        scored = scorer.score(batch, ("logp", "entropy"))
        for name, column in by_hand(model, batch, TAU).items():
            torch.testing.assert_close(scored[name], column, rtol=1e-5, atol=2e-5)
        torch.nn.init.zeros_(model.get_output_embeddings().weight)  # then all logits are 0, scaled or not
        assert take_apart(model).whole is model
        with pytest.raises(UserError, match="its trunk cannot carry a head"):
            TorchScorer(model, heads={"value": value_head(16)})


def test_value_is_that_of_the_state_before_the_token():
    model, batch = tiny_model(vocab=VOCAB), random_batch(4)
    head = value_head(16, "orz", seed=3)
    assert 2 < head.weight.abs().max() <= math.sqrt(5)
    shared = TorchScorer(model, heads={"value": head}).score(batch, ("logp", VALUE))
    apart = TorchScorer(ValueModel(model.base_model, head)).score(batch, (VALUE,))
    assert torch.equal(shared["value"], apart["value"])
    start, t = int(batch.offset[0]), int(batch.offset[1]) - 1
    with torch.no_grad():
        value = head(model.base_model(batch.token[start:t][None]).last_hidden_state[0, -1])
    assert float(shared["value"][t]) == pytest.approx(float(value), abs=1e-4)


def test_value_after_is_the_value_before_the_next_token_and_goes_on_behind_the_last():
    model, batch = tiny_model(vocab=VOCAB), random_batch(4)
    critic = TorchScorer(ValueModel(model.base_model, value_head(16, "orz", seed=3)))
    scored = critic.score(batch, (VALUE, VALUE_AFTER))
    assert torch.equal(scored["value"], critic.score(batch, (VALUE,))["value"])
    pair = batch.is_action & batch.is_action.roll(-1) & (batch.position.roll(-1) > batch.position)
    assert pair.sum() > 5
    assert torch.allclose(scored["value_after"][pair], scored["value"][pair.roll(1)], atol=1e-5, rtol=1e-5)
    end = int(batch.offset[1])
    with torch.no_grad():
        value = critic.model.head(model.base_model(batch.token[:end][None]).last_hidden_state[0, -1])
    assert float(scored["value_after"][end - 1]) == pytest.approx(float(value), abs=1e-4)


def test_a_new_critic_says_zero_if_asked_so():
    critic = TorchScorer(ValueModel(tiny_model(vocab=VOCAB).base_model, value_head(16)))
    assert torch.all(critic.score(random_batch(), (VALUE,))["value"] == 0)


def test_a_reduction_sees_both_models_at_the_temperature():
    policy, reference = (TorchScorer(tiny_model(seed=s, vocab=VOCAB), temperature=TAU) for s in (0, 1))
    batch = random_batch(4)
    names = Reduction("spread", lambda logits, _: logits.amax(-1) - logits.amin(-1))
    scored = policy.score(batch, (REVERSE_KL, names), {"reference": reference})
    start, t = int(batch.offset[2]), int(batch.offset[2]) + 2
    with torch.no_grad():
        z, w = (m.model(batch.token[start:t][None]).logits[0, -1] / TAU for m in (policy, reference))
    kl = (z.softmax(-1) * (z.log_softmax(-1) - w.log_softmax(-1))).sum()
    assert float(scored["reverse_kl"][t]) == pytest.approx(float(kl), rel=1e-4)
    assert float(scored["spread"][t]) == pytest.approx(float(z.max() - z.min()), rel=1e-5)


def test_columns_of_nothing():
    batch = replace(random_batch(2), is_action=torch.zeros(random_batch(2).num_tokens, dtype=torch.bool))
    assert torch.equal(scorer_of().score(batch, ("logp",))["logp"], torch.zeros(batch.num_tokens))


def test_mistakes():
    batch = random_batch(2)
    first = batch.is_action.clone()
    first[batch.offset[1]] = True
    with pytest.raises(UserError, match="begins with a token of the policy"):
        scorer_of().score(replace(batch, is_action=first), ("logp",))
    with pytest.raises(UserError, match="no value head"):
        scorer_of().score(batch, (VALUE,))
    with pytest.raises(UserError, match="no vocabulary"):
        TorchScorer(ValueModel(tiny_model(vocab=VOCAB).base_model, value_head(16))).score(batch, ("logp",))
    with pytest.raises(UserError, match="reference model, and this run has none"):
        scorer_of().score(batch, (REVERSE_KL,))
    with pytest.raises(UserError, match="longer than the model's context of 8"):
        TorchScorer(tiny_model(vocab=VOCAB, context=8)).score(batch, ("logp",))
    with pytest.raises(UserError, match="temperature is 0"):
        scorer_of(temperature=0)
