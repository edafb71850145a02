"""An adapter in a model: its gradient is that of a plain forward pass of peft, and the merged model is the
model that it makes."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from batches import VOCAB as V
from batches import random_batch
from helpers import KINDS, tiny_model, tiny_tokenizer
from menon.base import WEIGHTS
from menon.batch import Batch
from menon.engines import adapter_files, lora
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.hf_models import export, load_policy, load_with_adapter
from menon.engines.in_process import InProcessHost
from menon.engines.llama_family import decoder_of
from menon.engines.preference_model import load_preference_model
from menon.engines.torch_learner import TorchLearner
from menon.errors import UserError
from menon.loss import PolicyGradient
from menon.loss.aggregation import TokenMean
from menon.types import Request, Sampling
from menon.update.adapter import Adapter
from menon.update.objective import cut, prepare
from menon.update.optimiser import Optimiser
from menon.update.terms import MiniBatch, Term, Update
from scripted import written_by

peft = pytest.importorskip("peft", reason="adapters need the extra peft")


def adapted(kind: Any = "qwen3", setting: Adapter | None = None, moved: bool = True, **sizes: Any) -> Any:
    """A random model with an adapter; `moved`: one that has learned, whose B is not 0."""
    model = tiny_model(kind, vocab=V, **sizes)
    lora.attach(model, setting or Adapter(rank=4), 0, "the model")
    return shaken(model) if moved else model


@torch.no_grad()
def shaken(model: Any) -> Any:
    for place, layer in enumerate(lora.layers(model).values()):
        up = layer.lora_B["default"].weight
        up.copy_(torch.randn(up.shape, generator=torch.Generator().manual_seed(place)) * 0.02)
    return model


def by_peft(plain: Any, model: Any) -> Any:
    """The plain model in peft's own wrapper, with the same adapter."""
    wrapped = peft.get_peft_model(plain, copy.deepcopy(model.peft_config["default"]))
    names = peft.get_peft_model_state_dict(wrapped).keys()
    own = lora.own_parameters(model)
    assert names == own.keys()
    peft.set_peft_model_state_dict(wrapped, own)
    return wrapped.eval()


def gradient_here(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    learner = TorchLearner(model, Optimiser(), tokens_per_forward=24)
    part = MiniBatch(
        Update({"policy": Term(PolicyGradient(), TokenMean())}), torch.arange(batch.num_sequences), True
    )
    job = prepare(part, batch, InProcessHost({"policy": learner}))
    learner.accumulate(cut(job, 24, 1), {})
    return {name: weight.grad for name, weight in learner.weights().items() if weight.grad is not None}


def gradient_of_peft(wrapped: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """Of the same loss, -advantage * log-prob over the number of tokens, sequence by sequence."""
    count = int(batch.trained.sum())
    for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
        token = batch.token[start:end]
        logits = wrapped(input_ids=token[None]).logits[0, :-1]
        logp = logits.log_softmax(-1).gather(1, token[1:, None])[:, 0]
        trained = batch.trained[start + 1 : end]
        (-(batch.advantage[start + 1 : end] * logp)[trained].sum() / count).backward()
    grads = {name: weight.grad for name, weight in wrapped.named_parameters() if weight.grad is not None}
    return {name.replace(".default.", "."): grad for name, grad in grads.items()}


@pytest.mark.parametrize(
    ("kind", "rank", "tied"),
    [*((kind, 4, True) for kind in KINDS), ("qwen3", 1, False), ("llama", 1, True), ("llama", 8, False)],
)
def test_the_gradient_is_that_of_peft(kind, rank, tied):
    """Of the Llama family the learner takes the network apart; GPT-2 keeps its matrices the other way
    round."""
    sizes = {"hidden": 32, "tied": tied}
    model = adapted(kind, Adapter(rank=rank, alpha=16), **sizes)
    assert (decoder_of(model) is None) == (kind == "gpt2")
    same_gradient(model, tiny_model(kind, vocab=V, **sizes))


def test_the_gradient_is_that_of_peft_at_rank_64_on_the_built_in_base():
    model, _ = load_policy(WEIGHTS)
    plain = copy.deepcopy(model)
    lora.attach(model, Adapter(rank=64), 0, "base")
    same_gradient(shaken(model), plain)


def same_gradient(model: Any, plain: Any) -> None:
    batch = random_batch()
    wanted = gradient_of_peft(by_peft(plain, model), batch)
    found = gradient_here(model, batch)
    assert found.keys() == wanted.keys()
    size = torch.stack([grad.norm() for grad in wanted.values()]).norm()
    apart = torch.stack([(found[name] - grad).norm() for name, grad in wanted.items()]).norm()
    assert size > 1e-3
    assert apart < 3e-6 * size


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_copy_is_the_model(kind):
    model = adapted(kind)
    ids = torch.randint(0, V, (2, 9), generator=torch.Generator().manual_seed(0))
    merged, base = lora.merged_copy(model), lora.base_of(model)
    assert type(merged) is type(tiny_model(kind, vocab=V))
    assert torch.allclose(merged(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-5)
    assert torch.equal(base(input_ids=ids).logits, tiny_model(kind, vocab=V)(input_ids=ids).logits)
    assert not torch.allclose(merged(input_ids=ids).logits, base(input_ids=ids).logits, atol=1e-2)
    plain = dict(tiny_model(kind, vocab=V).named_parameters())
    given = dict(lora.merged_tensors(model))
    assert given.keys() == plain.keys() == dict(merged.named_parameters()).keys()
    assert all(torch.equal(given[name], weight) for name, weight in merged.named_parameters())


def test_copies_share_what_the_adapter_leaves_as_it_is():
    model = adapted(setting=Adapter(rank=2, targets=("q_proj", "mlp.up_proj")))
    own = {id(weight) for weight in model.parameters()}
    assert all(id(weight) in own for weight in lora.base_of(model).parameters())
    apart = [name for name, w in lora.merged_copy(model).named_parameters() if id(w) not in own]
    assert {name.split(".", 3)[-1] for name in apart} == {"self_attn.q_proj.weight", "mlp.up_proj.weight"}
    narrow = lora.merged_copy(model, torch.bfloat16)
    assert {weight.dtype for weight in narrow.parameters()} == {torch.bfloat16}
    assert narrow.lm_head.weight is narrow.model.embed_tokens.weight
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_matrices_are_held_in_bfloat16_where_it_holds_them_exactly():
    model, _ = load_policy(WEIGHTS)
    lora.attach(model, Adapter(rank=2), 0, "base")
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    with torch.no_grad():
        layer: Any = model.model.layers[0].mlp.up_proj.base_layer
        layer.weight[0, 0] = before["model.layers.0.mlp.up_proj.base_layer.weight"][0, 0] = 1 / 3
    lora.hold_in_bfloat16(model)
    dtypes = {name: weight.dtype for name, weight in model.named_parameters()}
    narrow = {name for name, dtype in dtypes.items() if dtype == torch.bfloat16}
    assert len(narrow) == 4 * 7 - 1
    assert all(name.endswith("base_layer.weight") for name in narrow)
    assert all(torch.equal(w.float(), before[name]) for name, w in model.named_parameters())


def test_the_start_depends_on_the_seed_alone():
    one, again, other = adapted(moved=False), adapted(moved=False), tiny_model(vocab=V)
    lora.attach(other, Adapter(rank=4), 1, "the model")
    name = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"
    down = [lora.own_parameters(model)[name] for model in (one, again, other)]
    assert torch.equal(down[0], down[1])
    assert not torch.equal(down[0], down[2])
    assert float(down[0].detach().abs().max()) <= 32**-0.5  # 1 / sqrt(in)
    assert float(down[0].detach().std()) == pytest.approx(32**-0.5 / 3**0.5, rel=0.15)


def test_a_sampler_of_a_model_with_its_adapter_apart_is_refused():
    from helpers import prompt

    sampler = TorchSampler(adapted(), tiny_tokenizer(V))
    with pytest.raises(UserError, match="give the sampler a merged copy"):
        written_by(sampler, [Request(prompt(0, [1, 2], vocab=V), Sampling(2))])


# Files


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """A model, and an adapter of it that has learned."""
    export(tiny_model(vocab=V), tiny_tokenizer(V), tmp_path / "model")
    model, _ = load_policy(tmp_path / "model")
    lora.attach(model, Adapter(rank=4), 0, "the model")
    config: Any = model.peft_config
    config["default"].base_model_name_or_path = str(tmp_path / "model")
    base = adapter_files.fingerprint_of_base(model)
    adapter_files.write(shaken(model), base, tmp_path / "adapter")
    return tmp_path / "model", tmp_path / "adapter"


def test_peft_reads_what_is_written(folders):
    model, adapter = folders
    theirs = peft.PeftModel.from_pretrained(load_policy(model)[0], str(adapter)).eval()
    ours, tokenizer = load_policy(adapter)
    ids = torch.tensor([[1, 2, 3, 4]])
    assert torch.allclose(theirs(input_ids=ids).logits, ours(input_ids=ids).logits, atol=1e-5)
    assert len(tokenizer) == V
    assert all(weight.requires_grad for weight in ours.parameters())  # it can be trained as a whole


def test_what_peft_writes_is_read(folders, tmp_path):
    model, _ = folders
    config = peft.LoraConfig(
        r=3, lora_alpha=5, target_modules=["q_proj", "up_proj"], rank_pattern={"q_proj": 2}, use_rslora=True
    )
    theirs = peft.get_peft_model(load_policy(model)[0], config)
    shaken(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, _ = load_with_adapter(tmp_path / "theirs")
    ids = torch.tensor([[1, 2, 3, 4]])
    assert torch.equal(theirs.eval()(input_ids=ids).logits, ours(input_ids=ids).logits)
    assert decoder_of(ours) is not None


def refused(folder: Path, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        load_policy(folder)
    assert "\n" not in str(error.value)


def edited(folder: Path, **entries: Any) -> Path:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
    return folder


def test_an_adapter_of_another_model(folders, tmp_path):
    _, adapter = folders
    export(tiny_model(vocab=V, seed=1), tiny_tokenizer(V), tmp_path / "other")
    refused(edited(adapter, base_model_name_or_path=str(tmp_path / "other")), r"\(its weights differ\)")
    file = adapter / "adapter_model.safetensors"
    save_file(load_file(file), file)  # as other libraries write it: it does not say of which weights it is
    export(tiny_model(vocab=V, hidden=32), tiny_tokenizer(V), tmp_path / "wide")
    refused(edited(adapter, base_model_name_or_path=str(tmp_path / "wide")), "lora_A.weight' does not fit")
    export(tiny_model("gpt2", vocab=V), tiny_tokenizer(V), tmp_path / "gpt2")
    refused(edited(adapter, base_model_name_or_path=str(tmp_path / "gpt2")), "another model than .*gpt2 is")
    refused(edited(adapter, base_model_name_or_path=str(tmp_path / "gone")), "gone, which is not here; put")
    refused(edited(adapter, base_model_name_or_path=str(adapter)), "which is an adapter itself")
    refused(edited(adapter, base_model_name_or_path=None), "does not say which model it is for")


def test_adapters_of_other_kinds(folders):
    _, adapter = folders
    refused(edited(adapter, use_dora=True), r"of another kind \(use_dora\) than the LoRA that is read here")
    refused(edited(adapter, use_dora=False, bias="all"), r"bias=all")
    refused(edited(adapter, bias="none", init_lora_weights="pissa"), r"init_lora_weights=pissa")
    refused(edited(adapter, init_lora_weights=True, peft_type="IA3"), r"IA3|cannot be read")
    (adapter / "adapter_model.safetensors").unlink()
    refused(edited(adapter, peft_type="LORA"), "has no adapter_model.safetensors")


def test_where_a_whole_model_is_read(folders):
    _, adapter = folders
    with pytest.raises(UserError, match="a whole model is read here; merge it"):
        load_preference_model(str(adapter))


# Settings


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (lambda: Adapter(rank=0), "adapter.rank is 0; it must be at least 1"),
        (lambda: Adapter(alpha=0), "adapter.alpha is 0; it must be a finite positive number"),
        (lambda: Adapter(targets=("",)), "adapter.targets holds an empty name"),
        (lambda: Adapter(rank=9), r"k_proj of the model has 8 x 16 weights, whose rank is at most 8; set ad"),
        (
            lambda: Adapter(rank=2, targets=("q_prj",)),
            "'q_prj', which is no linear layer of the model; did you mean q_proj. There are q_proj, k_proj, "
            "v_proj, o_proj, gate_proj, up_proj, down_proj",
        ),
        (lambda: Adapter(rank=2, targets=("lm_head",)), "'lm_head', which is no linear layer of the model"),
    ],
)
def test_settings_that_fit_no_model(setting, sentence):
    with pytest.raises(UserError, match=sentence):
        adapted(setting=setting())


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(UserError, match=r"not installed; install it by pip install .*\[peft\]'"):
        adapted()
