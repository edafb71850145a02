from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Lfm2Config,
    MambaConfig,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from helpers import KINDS, prompt, tiny_model, tiny_tokenizer
from menon.engines.decoding.decoder_slots import DecoderSlots
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.errors import UserError
from menon.streams import stream
from menon.types import Completion, Request, Sampling
from scripted import begun, written_by

V = 40
END = V - 1
SEED = 11


def sampler_of(model: PreTrainedModel, slots: int = 256) -> TorchSampler:
    return TorchSampler(model, tiny_tokenizer(V), seed=SEED, slots=slots)


def name(request: Request) -> tuple[Any, ...]:
    return (
        request.prompt.index,
        request.sample,
        request.visit,
        request.purpose,
        request.path,
        request.prefix.tobytes(),
    )


def answers(model: PreTrainedModel, requests: list[Request], slots: int = 256) -> list[Completion]:
    """In the order of the requests."""
    by_name = {name(c.request): c for c in written_by(sampler_of(model, slots), requests)}
    assert len(by_name) == len(requests)
    return [by_name[name(request)] for request in requests]


@torch.no_grad()
def reference(model: PreTrainedModel, request: Request) -> Completion:
    """One sequence at a time, the whole of it computed anew for every token, in fp64 from the logits on."""
    tokenizer, s, prefix = tiny_tokenizer(V), request.sampling, request.prefix
    numbers = stream(
        SEED, request.purpose, request.visit, request.prompt.index, request.sample, *request.path
    )
    numbers = numbers.random(len(prefix) + s.max_new_tokens)
    answer, rows, finish = prefix.tolist(), [], "length"
    for _ in range(s.max_new_tokens):
        ids = torch.tensor([request.prompt.tokens.tolist() + answer])
        logits = model(input_ids=ids, use_cache=False).logits[0, -1].double().numpy()
        raw = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        forks = s.forking_temperature is not None and -(raw * np.log(raw)).sum() > s.entropy_threshold
        temperature = s.forking_temperature if forks else s.temperature
        logits = logits / (temperature or 1)
        p = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        kept = sorted(range(V), key=lambda i: -p[i])[: s.top_k or V]
        mass = np.cumsum(p[kept])
        kept = kept[: int(np.searchsorted(mass, s.top_p * mass[-1])) + 1] if s.top_p < 1 else kept
        q = np.where(np.isin(np.arange(V), kept), p, 0)
        token = (
            int(p.argmax())
            if temperature == 0
            else int(np.argmax(q.cumsum() > numbers[len(answer)] * q.sum()))
        )
        rows.append((np.log(p[token]), np.log(q.sum()) if temperature else 0, -(p * np.log(p)).sum()))
        answer.append(token)
        text = tokenizer.decode(answer, skip_special_tokens=True)
        if token == END or any(stop in text for stop in s.stop):
            finish = "stop"
            break
    columns = [np.array(column, dtype=np.float32) for column in zip(*rows, strict=True)]
    tokens = np.array(answer[len(prefix) :], dtype=np.int32)
    return Completion(
        request,
        tokens,
        *columns,
        np.zeros_like(tokens),
        finish,
        tokenizer.decode(answer, skip_special_tokens=True),
    )


def assert_same(got: Completion, want: Completion) -> None:
    assert got.tokens.tolist() == want.tokens.tolist()
    assert (got.finish, got.text) == (want.finish, want.text)
    for column in ("logp", "log_kept", "entropy"):
        np.testing.assert_allclose(getattr(got, column), getattr(want, column), atol=2e-5, err_msg=column)


def ragged_requests() -> list[Request]:
    rng = np.random.default_rng(1)
    prompts = [
        prompt(i, rng.integers(0, END, size=size), vocab=V) for i, size in enumerate((5, 1, 17, 2, 9, 9))
    ]
    settings = [
        Sampling(max_new_tokens=12),
        Sampling(max_new_tokens=7, temperature=0.0),
        Sampling(max_new_tokens=20, temperature=0.7, top_p=0.8),
        Sampling(max_new_tokens=5, temperature=1.5, top_k=4),
        Sampling(max_new_tokens=16, top_k=20, top_p=0.9, stop=("5", "a", "11")),
    ]
    plain = [Request(p, settings[(p.index + k) % 5], sample=k) for p in prompts for k in range(3)]
    forks = [
        Request(
            p,
            settings[0],
            path=(k, 1),
            purpose="fork",
            visit=2,
            prefix=rng.integers(0, END, size=4 * k).astype(np.int32),
        )
        for p in prompts[:3]
        for k in (1, 2)
    ]
    return plain + forks


@pytest.mark.parametrize("kind", KINDS)
def test_equals_one_at_a_time_without_a_cache(kind):
    model = tiny_model(kind, vocab=V)
    requests = ragged_requests()
    got = answers(model, requests, slots=5)
    for completion, request in zip(got, requests, strict=True):
        assert_same(completion, reference(model, request))
    assert {c.finish for c in got} == {"stop", "length"}
    assert sum(len(c.tokens) for c in got) > 100


def test_uncertain_tokens_have_a_temperature_of_their_own():
    """Among neighbours that have none; each token's numbers are at its own temperature."""
    model = tiny_model(vocab=V, spread=0.4)
    plain = replace(Sampling(max_new_tokens=12), entropy_threshold=2.5)
    sampling = [
        plain,
        *(
            replace(plain, temperature=low, forking_temperature=high)
            for low, high in ((1, 3), (0, 1), (0.5, 0))
        ),
    ]
    requests = [Request(prompt(i, f"{i}+2=", vocab=V), sampling[i % 4], sample=i) for i in range(12)]
    got = answers(model, requests, slots=5)
    for completion in got:
        assert_same(completion, reference(model, completion.request))
    entropy = np.concatenate([c.entropy for c in got if c.request.sampling.temperature == 1])
    assert (entropy > 2.5).any()
    assert (entropy < 2.5).any()  # or this test had only one temperature to tell apart


def test_eager_attention_is_the_same():
    requests = ragged_requests()[:8]
    plain, eager = tiny_model(vocab=V), tiny_model(vocab=V)
    eager.set_attn_implementation("eager")
    for got, want in zip(answers(eager, requests, slots=3), answers(plain, requests, slots=3), strict=True):
        assert_same(got, want)


def test_two_calls_are_bit_identical():
    model, requests = tiny_model(vocab=V), ragged_requests()
    for a, b in zip(answers(model, requests, slots=4), answers(model, requests, slots=4), strict=True):
        for column in ("tokens", "logp", "log_kept", "entropy"):
            assert getattr(a, column).tobytes() == getattr(b, column).tobytes()


def test_a_beginning_is_computed_once_for_its_group():
    model, long = tiny_model(vocab=V), prompt(0, np.arange(100) % END, vocab=V)
    requests = [Request(long, Sampling(max_new_tokens=4), sample=k) for k in range(8)]
    for slots in (8, 3, 1):
        sampler = sampler_of(model, slots)
        written = sum(len(c.tokens) for c in written_by(sampler, requests))
        assert sampler.computed_tokens == 99 + written, f"{slots} slots"
    # Requests of one prompt far apart in the list still share it.
    other = prompt(1, np.arange(50) % END, vocab=V)
    mixed = [
        request for k in range(3) for request in (requests[k], Request(other, requests[k].sampling, sample=k))
    ]
    sampler = sampler_of(model, 2)
    written = sum(len(c.tokens) for c in written_by(sampler, mixed))
    assert sampler.computed_tokens == 99 + 49 + written


def test_the_room_of_a_cache_is_there_before_the_first_token(monkeypatch):
    """Growing on the way would hold keys and values twice."""
    sampler, steps = sampler_of(tiny_model(vocab=V)), []
    decode = DecoderSlots.decode

    def watched(slots: DecoderSlots, token: Any, position: Any) -> Any:
        steps.append(slots.cache.capacity)
        return decode(slots, token, position)

    written_by(sampler, [Request(prompt(0, [1, 2]), Sampling(max_new_tokens=1))])  # its check of the model
    monkeypatch.setattr(DecoderSlots, "decode", watched)
    written_by(sampler, [Request(prompt(0, [1, 2]), Sampling(max_new_tokens=most)) for most in (3, 100)])
    assert set(steps) == {128}


def test_an_answer_ends_with_its_stop_string():
    model = tiny_model(vocab=V)
    start = prompt(0, [1, 2, 3], vocab=V)
    free = Sampling(max_new_tokens=40)
    for k, whole in enumerate(answers(model, [Request(start, free, sample=k) for k in range(6)])):
        stop = whole.text[len(whole.text) // 2 :][:3]
        (cut,) = answers(model, [Request(start, replace(free, stop=(stop,)), sample=k)])
        kept = whole.text.index(stop) + len(stop)
        assert (cut.text, cut.finish) == (whole.text[:kept], "stop")
        assert cut.tokens.tolist() == whole.tokens[: len(cut.tokens)].tolist()


def test_a_fork_of_the_same_name_goes_on_as_its_answer_did():
    model, start = tiny_model(vocab=V), prompt(0, [1, 2, 3], vocab=V)
    request = Request(start, Sampling(max_new_tokens=20))
    (whole,) = answers(model, [request])
    assert len(whole.tokens) > 8
    fork = replace(request, prefix=whole.tokens[:8], sampling=Sampling(max_new_tokens=12))
    (rest,) = answers(model, [fork])
    assert rest.tokens.tolist() == whole.tokens[8:].tolist()
    assert rest.text == whole.text
    np.testing.assert_allclose(rest.logp, whole.logp[8:], atol=1e-5)


def test_first_tokens_follow_the_exact_distribution():
    model, start = tiny_model(vocab=V), prompt(0, [4, 7], vocab=V)
    with torch.no_grad():
        p = torch.softmax(model(input_ids=torch.tensor([[4, 7]])).logits[0, -1].double(), 0).numpy()
    n = 4000
    requests = [Request(start, Sampling(max_new_tokens=1), sample=k) for k in range(n)]
    counts = np.bincount([c.tokens[0] for c in written_by(sampler_of(model, n), requests)], minlength=V)
    # Chi-square with V - 1 degrees of freedom: mean V - 1, standard deviation sqrt(2 (V - 1)).
    assert ((counts - n * p) ** 2 / (n * p)).sum() < V - 1 + 4 * np.sqrt(2 * (V - 1))


def test_tokens_carry_the_version_that_wrote_them():
    sampler = sampler_of(tiny_model(vocab=V), slots=1)
    sampler.version = 3
    completions = begun(
        sampler, [Request(prompt(0, [1], vocab=V), Sampling(max_new_tokens=2), sample=k) for k in range(2)]
    )
    assert set(next(completions).version.tolist()) == {3}
    sampler.version = 4
    assert set(next(completions).version.tolist()) == {4}


def test_the_learners_module_is_left_as_it_was():
    """Dropout is off while sampling; training flags, gradients and grad mode are as before, also between
    completions."""
    model = tiny_model("gpt2", vocab=V, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    requests = ragged_requests()[:6]
    want = answers(model, requests)
    model.train()
    model.transformer.h[0].eval()
    flags = [module.training for module in model.modules()]
    got = {}
    for completion in begun(sampler_of(model, slots=2), requests):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert [module.training for module in model.modules()] == flags
        model(input_ids=torch.tensor([[1, 2, 3]])).logits.sum().backward()
        got[name(completion.request)] = completion
    for completion in want:
        assert_same(got[name(completion.request)], completion)
    assert all(p.grad is not None for p in model.parameters())


def test_bf16_weights():
    """Log-probs are fp32 numbers, and agree with those of the same weights in fp32 to bf16's three digits."""
    model = tiny_model(vocab=V, dtype=torch.bfloat16)
    wide = tiny_model(vocab=V, dtype=torch.bfloat16).float()
    start = prompt(0, [1, 2, 3], vocab=V)
    for completion in answers(
        model, [Request(start, Sampling(max_new_tokens=20), sample=k) for k in range(4)]
    ):
        ids = torch.tensor([[1, 2, 3, *completion.tokens.tolist()]])
        with torch.no_grad():
            logp = torch.log_softmax(wide(input_ids=ids).logits[0, 2:-1], -1)
        taken = logp.gather(-1, ids[0, 3:, None])[:, 0]
        assert completion.logp.dtype == np.float32
        np.testing.assert_allclose(completion.logp, taken, atol=0.15)
        assert np.abs(completion.logp - taken.numpy()).mean() < 0.03


def test_a_copy_of_its_own_keeps_its_buffers_and_its_ties():
    model = tiny_model(vocab=V).train()
    copied: Any = own_copy(model, torch.bfloat16)
    assert copied.lm_head.weight is copied.get_input_embeddings().weight
    assert torch.equal(copied.lm_head.weight, model.lm_head.weight.bfloat16())
    assert copied.model.rotary_emb.inv_freq.dtype == torch.float32
    assert not any(p.requires_grad for p in copied.parameters())
    assert not copied.training
    assert model.training
    assert model.lm_head.weight.dtype == torch.float32
    (completion,) = answers(
        copied, [Request(prompt(0, [1], vocab=V), Sampling(max_new_tokens=5, temperature=0.0))]
    )
    ids = torch.tensor([[1, *completion.tokens.tolist()]])
    assert copied(input_ids=ids).logits[0].argmax(-1)[:-1].tolist() == completion.tokens.tolist()


def test_a_sliding_window_bounds_what_is_written():
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        sliding_window=24,
        eos_token_id=END,
        bos_token_id=None,
        initializer_range=0.3,
    )
    model = MistralForCausalLM(config).eval()
    requests = [replace(r, sampling=replace(r.sampling, max_new_tokens=5)) for r in ragged_requests()[:12]]
    for completion, request in zip(answers(model, requests, slots=3), requests, strict=True):
        assert_same(completion, reference(model, request))
    with pytest.raises(UserError, match=r"sliding window is 24; lower max_new_tokens"):
        written_by(sampler_of(model), [Request(prompt(0, [1] * 20, vocab=V), Sampling(max_new_tokens=5))])


MISFITS: dict[str, tuple[Callable[[], Request], str]] = {
    "empty": (lambda: Request(prompt(7, [], vocab=V)), r"prompt 7 is empty"),
    "long": (
        lambda: Request(prompt(7, [1] * 200, vocab=V)),
        r"prompt 7 has 200 tokens .* is 128; leave it out or shorten it",
    ),
    "answer": (
        lambda: Request(prompt(7, [1] * 100, vocab=V), Sampling(max_new_tokens=29)),
        r"prompt 7 has 100 tokens and may get 29 more, but the model's context is 128; lower max_new_tokens",
    ),
    "fork": (
        lambda: Request(
            prompt(7, [1] * 100, vocab=V), Sampling(max_new_tokens=9), prefix=np.ones(20, dtype=np.int32)
        ),
        r"prompt 7 has 100 tokens and 20 of its answer and may get 9 more",
    ),
    "unknown": (
        lambda: Request(prompt(7, [1, V], vocab=V)),
        rf"prompt 7 holds token {V}, but the model knows 0 to {END}",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_requests_that_cannot_be_answered(case):
    make, sentence = MISFITS[case]
    sampler = sampler_of(tiny_model(vocab=V))
    with pytest.raises(UserError, match=sentence):
        written_by(sampler, [Request(prompt(0, [1], vocab=V)), make()])  # before anything is computed
    assert sampler.computed_tokens == 0


def test_an_answer_that_never_stops_ends_at_its_limit_and_fills_the_context():
    model = tiny_model(vocab=V)
    with torch.no_grad():  # rows of the tied embedding: the end token is never the best
        model.get_input_embeddings().weight[END] = 0
    (completion,) = answers(
        model, [Request(prompt(0, [1] * 28, vocab=V), Sampling(max_new_tokens=100, temperature=0.0))]
    )
    assert (len(completion.tokens), completion.finish) == (100, "length")


def test_no_requests():
    assert answers(tiny_model(vocab=V), []) == []


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            MambaConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, eos_token_id=END),
            "keep a running state",
        ),
        (
            Lfm2Config(
                vocab_size=V,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                layer_types=["conv", "full_attention"],
                block_multiple_of=8,
                eos_token_id=END,
            ),
            r"layers \(of the kind conv\) that keep a running state",
        ),
        (
            BloomConfig(vocab_size=V, hidden_size=16, n_layer=2, n_head=2, eos_token_id=END),
            "cannot run Bloom",
        ),
    ],
    ids=["state_space", "convolutions", "positions_from_the_mask"],
)
def test_a_model_that_cannot_decode_by_rows_is_refused(config, sentence):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(UserError, match=f"{sentence}.*; use a model with plain attention in every layer"):
        written_by(sampler_of(model), [Request(prompt(0, [1], vocab=V))])


def test_broken_weights_are_told():
    model = tiny_model(vocab=V)
    sampler = sampler_of(model)
    written_by(sampler, [Request(prompt(0, [1], vocab=V))])
    with torch.no_grad():
        model.get_input_embeddings().weight[:] = float("nan")
    with pytest.raises(UserError, match=r"no finite log-probs after prompt 3; its weights are damaged"):
        written_by(sampler, [Request(prompt(3, [1], vocab=V))])


def test_a_kept_cache_changes_no_bit_and_a_damaged_one_is_not_kept():
    model, requests = tiny_model(vocab=V), ragged_requests()
    sampler, long = sampler_of(model), Request(prompt(0, [1], vocab=V), Sampling(max_new_tokens=120))
    embedding = model.get_input_embeddings().weight

    def bits(sampler: TorchSampler) -> dict[Any, tuple[bytes, ...]]:
        columns = ("tokens", "logp", "log_kept", "entropy")
        return {
            name(c.request): tuple(getattr(c, k).tobytes() for k in columns)
            for c in written_by(sampler, requests)
        }

    fresh = bits(sampler_of(model))
    written_by(sampler, [long])
    assert bits(sampler) == fresh
    kept = sampler._kept
    assert bits(sampler) == fresh
    assert kept is not None
    assert sampler._kept is kept
    sound = embedding.detach().clone()
    with torch.no_grad():
        embedding[:] = float("nan")
    with pytest.raises(UserError, match="its weights are damaged"):
        bits(sampler)
    assert sampler._kept is None
    with torch.no_grad():
        embedding[:] = sound
    assert bits(sampler) == fresh
