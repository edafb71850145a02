"""Tokens that a vocabulary lacks: their rows, the checkpoint, and what is refused."""

import json

import pytest
import torch

from helpers import END, Kind, tiny_model, tiny_tokenizer
from menon.assembly.placement import place
from menon.config import changed
from menon.engines.added_tokens import add_padding, add_tokens
from menon.engines.hf_models import export, load_policy
from menon.errors import UserError
from menon.python import train
from menon.recipes import recipe


def loaded(path, kind: Kind = "qwen3", vocab: int = 257, **more):
    """The model and the tokenizer of a folder."""
    model = tiny_model(kind, vocab=vocab, **more)
    model.config.eos_token_id = model.generation_config.eos_token_id = 256
    export(model, tiny_tokenizer(), path)
    return load_policy(path)


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_new_rows_are_the_mean_and_old_ones_stay(kind, tied, tmp_path):
    model, tokenizer = loaded(tmp_path, kind, tied=tied)
    before = [layer.weight.clone() for layer in embeddings(model)]
    add_tokens(model, tokenizer, ("<think>", "</think>"), "it")
    assert tokenizer.encode("a<think>b", add_special_tokens=False) == [97, 257, 98]
    assert tokenizer.decode([97, 258], skip_special_tokens=True) == "a"
    assert model.config.vocab_size == 259
    for layer, old in zip(embeddings(model), before, strict=True):
        assert torch.equal(layer.weight[:257], old)
        assert torch.allclose(layer.weight[257:], old.mean(0).expand(2, -1), atol=1e-7)


def embeddings(model):
    return model.get_input_embeddings(), model.get_output_embeddings()


def test_spare_rows_are_used(tmp_path):
    """A vocabulary that is padded to a round number keeps its size; the mean is that of rows with tokens."""
    model, tokenizer = loaded(tmp_path, vocab=264)
    old = model.get_input_embeddings().weight.clone()
    add_tokens(model, tokenizer, ("<think>",), "it")
    new = model.get_input_embeddings().weight
    assert new.shape == old.shape
    assert torch.allclose(new[257], old[:257].mean(0), atol=1e-7)
    assert torch.equal(new[258:], old[258:])


def test_a_run_learns_new_tokens_and_its_checkpoint_has_them(tmp_path):
    export(tiny_model(), tiny_tokenizer(), tmp_path / "model")
    rows = [{"question": f"{i}+1=", "completion": f"<think>{i}</think> {i + 1}"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = train(
        "sft",
        steps=2,
        model=str(tmp_path / "model"),
        data=str(tmp_path / "rows.jsonl"),
        add_tokens=("<think>", "</think>"),
        learning_rate=1e-2,
        device="cpu",
        out=str(tmp_path / "run"),
    )
    assert report["after"]["nll"] < report["before"]["nll"]
    model, tokenizer = load_policy(tmp_path / "run" / "checkpoints" / "latest")
    assert tokenizer.encode("<think>", add_special_tokens=False) == [257]
    learned = model.get_input_embeddings().weight[257:]
    assert learned.shape[0] == 2
    assert not torch.allclose(learned[0], learned[1], atol=1e-4)


def critic_of(folder, **more):
    settings = {"model": str(folder), "device": "cpu", "task": "chain_sum", **more}
    with place(changed(recipe("ppo"), settings)) as placed:
        policy = placed.host.models["policy"].weights()
        return policy, placed.host.models["critic"].weights()


def test_a_critic_has_the_policy_s_trunk_with_its_new_tokens_and_a_new_head(tmp_path):
    export(tiny_model(), tiny_tokenizer(), tmp_path)
    policy, critic = critic_of(tmp_path, add_tokens=["<think>"], dtype="float64")
    assert critic["trunk.embed_tokens.weight"].shape[0] == 258
    for name, weight in policy.items():
        own = critic[name.replace("model.", "trunk.", 1)]
        assert torch.equal(own, weight)
        assert own.data_ptr() != weight.data_ptr()
    assert torch.all(critic["head.weight"] == 0)
    assert critic["head.weight"].dtype == torch.float64
    drawn = [critic_of(tmp_path, seed=s, **{"critic.init": "orz"})[1]["head.weight"] for s in (5, 5, 6)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_padding_is_a_token_that_ends_nothing(tmp_path):
    model, tokenizer = loaded(tmp_path)
    tokenizer.pad_token = END
    add_padding(model, tokenizer, (256,))
    assert tokenizer.pad_token_id == 257
    add_padding(model, tokenizer, (256,))
    assert len(tokenizer) == 258


def test_what_is_refused(tmp_path):
    model, tokenizer = loaded(tmp_path)
    with pytest.raises(UserError, match="'a' is a token of it already; leave it out of add_tokens"):
        add_tokens(model, tokenizer, ("<think>", "a"), "it")
    assert len(tokenizer) == 257
    for wrong in (["<a>", "<a>"], [""]):
        with pytest.raises(UserError, match="add_tokens names a token twice, or an empty one"):
            changed(recipe("sft"), {"add_tokens": wrong})
