"""Whole runs with an adapter: laws 3, 6 and 11 hold, only the adapter learns and is kept, and what cannot
work is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import menon
from helpers import tiny_model, tiny_tokenizer
from menon.assembly.build import build
from menon.assembly.run import resume
from menon.config import Critic, changed
from menon.engines import lora
from menon.engines.hf_models import export, load_policy
from menon.engines.preference_model import load_preference_model
from menon.errors import UserError
from menon.recipes import recipe
from menon.report.terminal import terminal
from menon.sync.fingerprint import fingerprint
from menon.update.adapter import Adapter
from menon.update.reference import MovingAverage

peft = pytest.importorskip("peft", reason="adapters need the extra peft")

RULE = """
def score(completion, completion_ids, **_):
    right = float(sum(completion_ids) % 2)
    return {"score": right, "acc": right}
"""
"""A resumed run needs a reward with a name."""
KL = {"reference": "frozen", "objective": {"kl": {"loss": "kl", "coef": 0.1}}}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Models, rows and a reward."""
    path = tmp_path_factory.mktemp("adapters")
    for kind in ("qwen3", "gpt2"):
        export(tiny_model(kind), tiny_tokenizer(), path / kind)
    rows = [{"question": f"{i}+2=", "answer": str(i + 2)} for i in range(20)]
    (path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "rule.py").write_text(RULE)
    return path


def settings(place: Path, kind: str = "qwen3", **more: Any) -> dict[str, Any]:
    return {
        "model": str(place / kind),
        "data": str(place / "rows.jsonl"),
        "reward": f"{place / 'rule.py'}:score",
        "adapter": {"rank": 2},
        "learning_rate": 0.02,
        "max_new_tokens": 5,
        "heldout": 2,
        "prompts_per_step": 4,
        "samples_per_prompt": 4,
        "device": "cpu",
        "threads": 1,
        "report_questions": 0,
    } | more


def run(place: Path, out: Path, name: Any = "grpo", **more: Any) -> list[dict[str, Any]]:
    menon.train(name, out=str(out), **settings(place, **more))
    return lines(out)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(place) -> Path:
    run(place, place / "trained", steps=2, **KL)
    return place / "trained"


def test_at_the_start_the_kl_is_0_and_the_sampler_is_the_learner(trained, place, tmp_path):
    """Law 3, also where the model's own forward pass is used."""
    for found in (lines(trained), run(place, tmp_path / "gpt2", kind="gpt2", steps=2, **KL)):
        assert found[0]["kl/ref_k1"] == found[0]["kl/ref_k3"] == 0
        assert found[1]["kl/ref_k1"] != 0
        assert all(line["mismatch/abs"] < 1e-6 for line in found)
        assert all(abs(line["mismatch/max_w"] - 1) < 1e-4 for line in found)
        assert found[0]["grad_norm"] > 0


def test_a_checkpoint_holds_the_adapter_alone(trained, place):
    """peft reads it, and so does everything that reads a model; the published weights are those that it
    makes."""
    folder = trained / "checkpoints" / "latest"
    assert not (folder / "config.json").exists()
    tensors = load_file(folder / "adapter_model.safetensors")
    assert len(tensors) == 2 * 2 * 7
    assert load_file(folder / "state" / "policy.safetensors") == {}  # nothing is written twice
    moments = {name for name in load_file(folder / "state" / "optimisers.safetensors") if "exp_avg" in name}
    assert len({name.rpartition(".exp_avg")[0] for name in moments}) == len(tensors)
    model, _ = load_policy(folder)
    assert fingerprint(dict(model.named_parameters())) == lines(trained)[-1]["fingerprint"]
    theirs = peft.PeftModel.from_pretrained(load_policy(place / "qwen3")[0], str(folder)).eval()
    ids = torch.tensor([[50, 51, 52]])
    assert torch.allclose(theirs(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-4)
    numbers = menon.evaluate(str(trained), k=1, threads=1)
    assert numbers["n"] == 2


def test_an_export_is_an_ordinary_folder(trained, tmp_path):
    with build(changed(recipe("grpo"), settings(trained.parent))) as built:
        built.host.load(trained / "checkpoints" / "latest")
        built.host.export("policy", tmp_path / "whole")
        assert built.host.fingerprint("policy") == lines(trained)[-1]["fingerprint"]
    assert (tmp_path / "whole" / "config.json").exists()
    one, other = load_policy(tmp_path / "whole")[0], load_policy(trained / "checkpoints" / "latest")[0]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("grpo", {**KL, "reference_update": {"kind": "hard_reset", "every": 1}}),
        ("grpo", {"dtype": "bfloat16", "save_dtype": "bfloat16"}),
        ("ppo", {}),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(name, more, place, tmp_path):
    """Law 6. After each step the reference is the policy; files round what trains; the critic has an adapter
    of its own on the policy's frozen weights."""
    whole = run(place, tmp_path / "whole", name, steps=3, **more)
    run(place, tmp_path / "cut", name, steps=2, **more)
    resume(tmp_path / "cut", {"steps": 3}, terminal)
    assert [line["fingerprint"] for line in lines(tmp_path / "cut")] == [x["fingerprint"] for x in whole]
    for file in ("adapter_model.safetensors", "state/optimisers.safetensors", "state/policy.safetensors"):
        one, other = (load_file(tmp_path / each / "checkpoints/latest" / file) for each in ("whole", "cut"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert len({line["fingerprint"] for line in whole}) == 3


def test_only_the_adapter_learns_and_the_frozen_weights_are_there_once(place):
    more = {"dtype": "bfloat16", "critic": Critic(recipe("ppo").models.critic.objective), **KL}
    with build(changed(recipe("ppo"), settings(place, **more))) as built:
        policy, critic, reference = (built.host.models[role] for role in ("policy", "critic", "reference"))
        assert policy.weights().keys() == {name for name, _ in policy.adapter_tensors()}
        assert set(critic.weights()) - set(policy.weights()) != set()
        assert {name for name in critic.weights() if "lora" not in name} == {"head.weight"}
        frozen = {id(w) for w in policy.model.parameters() if not w.requires_grad}
        assert {id(w) for w in reference.model.parameters()} == frozen
        assert {id(w) for w in critic.model.parameters() if not w.requires_grad} <= frozen
        assert not lora.has_adapter(reference.model)


def test_a_run_begins_with_an_adapter(trained, place, tmp_path):
    """It goes on with that one, and its reference is the policy as it begins, exactly."""
    folder = trained / "checkpoints" / "latest"
    found = run(place, tmp_path / "on", model=str(folder), steps=1, **KL)
    assert found[0]["kl/ref_k1"] == found[0]["kl/ref_k3"] == 0
    about = json.loads((tmp_path / "on/checkpoints/latest/adapter_config.json").read_text())
    assert about["base_model_name_or_path"] == str(place / "qwen3")
    whole = run(place, tmp_path / "whole", model=str(folder), steps=1, adapter=None)
    assert whole[0]["grad_norm"] > 0
    assert (tmp_path / "whole/checkpoints/latest/config.json").exists()
    for change, sentence in [
        ({"adapter": {"rank": 3}}, "has rank 2; set adapter.rank=2 to go on with it"),
        ({"adapter": {"rank": 2, "alpha": 8}}, "has 32; leave adapter.alpha out to go on with it"),
        ({"adapter": {"rank": 2, "targets": ("q_proj",)}}, "holds one already; leave it out"),
    ]:
        with (
            pytest.raises(UserError, match=sentence),
            build(changed(recipe("grpo"), settings(place, model=str(folder), **change))),
        ):
            pass


def test_a_reward_model_with_an_adapter(place, tmp_path):
    """Its checkpoints are whole classifiers, and it goes on bit for bit."""
    pairs = [{"prompt": f"{i}?", "chosen": "yes", "rejected": "no"} for i in range(8)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    own = {
        "model": str(place / "qwen3"),
        "data": str(tmp_path / "pairs.jsonl"),
        "threads": 1,
        "device": "cpu",
    }
    own |= {"adapter": {"rank": 2}, "heldout": 2, "rows_per_step": 4, "learning_rate": 0.02}
    menon.train("reward_model", steps=3, out=str(tmp_path / "whole"), **own)
    menon.train("reward_model", steps=2, out=str(tmp_path / "cut"), **own)
    resume(tmp_path / "cut", {"steps": 3}, terminal)
    scores = [
        load_preference_model(str(tmp_path / x / "checkpoints/latest"))(["0?yes", "1?no"])
        for x in ("whole", "cut")
    ]
    assert scores[0] == scores[1]
    assert scores[0][0] != scores[0][1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"add_tokens": ("<think>",)}, "added tokens would never learn; leave add_tokens out"),
        ({"natural": {"max_kl": 0.01}}, "moves all weights of a small model; set natural=null"),
        ({**KL, "reference_update": MovingAverage()}, "set reference_update=hard_reset, or adapter=null"),
        (
            {"teacher": "start", "teacher_rate": 0.5, "teacher_question": "{q}{answer}"},
            "so a teacher cannot follow the policy; set teacher_rate=0",
        ),
        ({"adapter": {"rank": 99}}, "whose rank is at most 16; set adapter.rank to 8 or less"),
    ],
)
def test_what_is_refused(change, sentence, place):
    with (
        pytest.raises(UserError, match=sentence),
        build(changed(recipe("grpo"), settings(place, **{"adapter": Adapter(rank=2), **change}))),
    ):
        pass
