"""Up to which length a model reads and writes in the same way, whatever its length and its neighbours."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as T

from helpers import prompt, tiny_model, tiny_tokenizer
from menon.batch import pack
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.limits import cache_per_token, context_of, rows_of
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.limit import Limit
from menon.types import Graded, Request, Rollout, Sampling, Verdict
from scripted import written_by

V = 40
SIZES = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": V - 1,
    "pad_token_id": None,
    "initializer_range": 0.3,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 24,
}
MIXED = ["sliding_attention", "full_attention"] * 2
LLAMA4 = {
    "head_dim": 8,
    "intermediate_size_mlp": 32,
    "num_local_experts": 2,
    "no_rope_layer_interval": 4,
    "attn_scale": 2.0,
}
GEMMA2 = {"head_dim": 8, "sliding_window": 24, "query_pre_attn_scalar": 8}
CASES = {
    "plain": (T.LlamaConfig(**SIZES), (128, "context"), (128, "context")),
    "longrope": (
        T.LlamaConfig(**SIZES, rope_parameters=LONG),
        (24, "length before longrope scaling"),
        (24, "length before longrope scaling"),
    ),
    "longrope in some layers": (
        T.Gemma3TextConfig(
            **SIZES,
            head_dim=8,
            layer_types=MIXED,
            sliding_window=64,
            rope_parameters={
                "full_attention": LONG,
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        ),
        (24, "length before longrope scaling"),
        (24, "length before longrope scaling"),
    ),
    "dynamic": (
        T.LlamaConfig(
            **SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
        ),
        (128, "context"),
        (128, "context"),
    ),
    "chunks": (
        T.Llama4TextConfig(**SIZES, **LLAMA4, attention_chunk_size=24),
        (128, "context"),
        (24, "attention chunk"),
    ),
    "temperature": (
        T.Llama4TextConfig(**SIZES, **LLAMA4, attention_chunk_size=64, floor_scale=25),
        (128, "context"),
        (24, "length before attention scaling"),
    ),
    "window without sdpa": (
        T.Gemma2Config(**SIZES, **GEMMA2),
        (128, "context"),
        (24, "sliding window"),
    ),
    "a window that no layer uses": (
        T.Gemma2Config(**SIZES, **GEMMA2, layer_types=["full_attention"] * 4),
        (128, "context"),
        (128, "context"),
    ),
    "local layers": (
        T.GPTNeoConfig(
            vocab_size=V,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            max_position_embeddings=128,
            attention_types=[[["global", "local"], 1]],
            window_size=24,
            eos_token_id=V - 1,
            bos_token_id=None,
            initializer_range=0.3,
            attention_dropout=0.0,
            embed_dropout=0.0,
            resid_dropout=0.0,
        ),
        (128, "context"),
        (24, "sliding window"),
    ),
}


def model_of(config):
    kind = T.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    torch.manual_seed(0)
    how = "sdpa" if kind._supports_sdpa else "eager"
    return T.AutoModelForCausalLM.from_config(config, attn_implementation=how).eval()


@pytest.mark.parametrize("case", CASES)
def test_up_to_its_limit_a_model_is_sampled_and_scored_like_alone_and_beyond_it_is_refused(case):
    config, reads, writes = CASES[case]
    model = model_of(config)
    assert [(limit, limit.what) for limit in (context_of(model), rows_of(model))] == [reads, writes]
    sampler = TorchSampler(model, tiny_tokenizer(V), seed=3)
    full = min(writes[0], 60)
    asked = [
        Request(prompt(index, range(1, 1 + size), vocab=V), Sampling(count), sample=sample)
        for index, size in enumerate((3, 12, 1))
        for sample, count in enumerate((6, full - size, full - size))
    ]
    written = written_by(sampler, asked)
    batch = pack(
        [Graded(Rollout.of(c, group=c.request.prompt.index), Verdict(score=1.0, acc=1.0)) for c in written]
    )
    together = TorchScorer(model, tokens_per_forward=4096).score(batch, ("logp",))["logp"]
    torch.testing.assert_close(batch.behaviour_logp, together, atol=5e-5, rtol=0)
    for completion in written:
        tokens = np.concatenate([completion.request.prompt.tokens, completion.tokens])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor(tokens[None]).long(), use_cache=False).logits
        start = len(completion.request.prompt.tokens)
        want = logits[0].log_softmax(-1)[np.arange(start - 1, len(tokens) - 1), tokens[start:]]
        np.testing.assert_allclose(completion.logp, want, atol=5e-5)
    with pytest.raises(
        UserError, match=f"but the model's {writes[1].replace('(', '.')} is {writes[0]}; lower"
    ):
        sampler.check(Request(prompt(0, [1, 2], vocab=V), Sampling(writes[0])))


def test_a_learner_refuses_what_changes_its_neighbours():
    """24 tokens are the most at which longrope leaves the frequencies of all tokens of a pass alone."""
    scorer = TorchScorer(model_of(CASES["longrope"][0]))
    for size in (24, 25):
        numbers = np.zeros(size, dtype=np.float32)
        rollout = Rollout(
            prompt=prompt(0, [1], vocab=V),
            tokens=np.arange(size, dtype=np.int32),
            is_action=np.arange(size) > 0,
            logp=numbers,
            log_kept=numbers,
            entropy=numbers,
            version=np.zeros(size, dtype=np.int32),
            finish="stop",
            text="",
            group=0,
        )
        batch = pack([Graded(rollout, Verdict(score=1.0, acc=1.0))])
        if size == 24:
            assert scorer.score(batch, ("logp",))["logp"].isfinite().all()
            continue
        with pytest.raises(
            UserError, match="25 tokens is longer than the model's length before longrope scaling of 24"
        ):
            scorer.score(batch, ("logp",))


def test_a_limit_is_a_number_that_has_a_name():
    window = Limit(32, "sliding window")
    assert min(window, Limit(64)) == 32
    assert (Limit(window).what, Limit(7).what, window - 2) == ("sliding window", "context", 30)


def gemma4(**changes):
    kinds = ["sliding_attention"] * 3 + ["full_attention"]
    given = SIZES | {
        "head_dim": 8,
        "global_head_dim": 16,
        "layer_types": kinds,
        "hidden_size_per_layer_input": 0,
    }
    return T.Gemma4TextConfig(
        **given | {"vocab_size_per_layer_input": V, "num_kv_shared_layers": 0} | changes
    )


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        (tiny_model("qwen3").config, 2 * 2 * 2 * 4),
        (tiny_model("gpt2").config, 2 * 2 * 4 * 4),
        (gemma4(), 2 * 2 * (3 * 8 + 16)),
        (T.Gemma4Config(text_config=gemma4().to_dict()), 2 * 2 * (3 * 8 + 16)),
        (gemma4(num_global_key_value_heads=1, attention_k_eq_v=True), 2 * (2 * 3 * 8 + 1 * 16)),
        (T.MambaConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2), 0),
        (
            T.DeepseekV3Config(**SIZES | {"num_key_value_heads": 4}, kv_lora_rank=12, qk_rope_head_dim=4),
            4 * (12 + 4),
        ),
    ],
    ids=["qwen3", "gpt2", "gemma4", "gemma4 nested", "gemma4 with few global heads", "mamba", "deepseek"],
)
def test_keys_and_values_of_a_token_are_those_of_all_layers(config, numbers):
    assert cache_per_token(SimpleNamespace(config=config)) == numbers


def test_a_sampler_counts_them_by_what_it_holds():
    model = model_of(gemma4())
    sampler = TorchSampler(model, tiny_tokenizer(V))
    assert sampler.bytes_per_token() == 4 * cache_per_token(model)
