"""Runs that compare layers with a teacher's: what they measure, keep, hand on and refuse."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity

from helpers import ALPHABET, tiny_model, tiny_tokenizer
from menon.assembly.given import build_given
from menon.assembly.run import resume
from menon.config import changed
from menon.engines.hf_models import load_policy
from menon.errors import UserError
from menon.python import train
from menon.recipes import recipe
from menon.report.terminal import terminal
from taught import exported, file_of_sums

NAME = "distill_features"


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    """Policies of two layers, and teachers of three and of other widths."""
    small = len(ALPHABET) + 1
    made = {
        "policy": (tiny_model("qwen3", 0), tiny_tokenizer()),
        "gpt2": (tiny_model("gpt2", 0), tiny_tokenizer()),
        "teacher": (tiny_model("qwen3", 3, hidden=32, layers=3), tiny_tokenizer()),
        "as_wide": (tiny_model("llama", 4, layers=3), tiny_tokenizer()),
        "other": (tiny_model("qwen3", 1, vocab=small), tiny_tokenizer(small)),
    }
    return exported(made, tmp_path_factory)


@pytest.fixture
def sums(tmp_path) -> Path:
    return file_of_sums(tmp_path)


def settings(models: dict[str, Path], sums: Path, **more) -> dict:
    given = {"model": str(models["policy"]), "teacher": str(models["teacher"]), "data": str(sums)}
    return given | {"device": "cpu", "threads": 1, "rows_per_step": 4, "heldout": 4} | more


def metrics_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("policy", ["policy", "gpt2"])
@pytest.mark.parametrize("teacher", ["teacher", "as_wide"])
def test_what_a_run_measures(policy, teacher, models, sums):
    """The mean over learned tokens of 1 - cos of both pairs of layers, (1, 2) and (2, 3)."""
    named = {"model": str(models[policy]), "teacher": str(models[teacher])}
    with build_given(changed(recipe(NAME), settings(models, sums, **named))) as run:
        held, measured = run.measure.args[0], run.measure()
        heads = run.host.models["policy"].heads
    assert sorted(heads) == (["projection_1_2", "projection_2_3"] if teacher == "teacher" else [])
    student, other = (load_policy(models[name])[0] for name in (policy, teacher))
    found = []
    size = held.lengths.tolist()
    for tokens, learned in zip(held.token.split(size), held.is_action.split(size), strict=True):
        with torch.no_grad():
            own, their = (m(tokens[None], output_hidden_states=True).hidden_states for m in (student, other))
        total = torch.zeros(len(tokens))
        for i, j in ((1, 2), (2, 3)):
            mapped = own[i][0] @ heads[f"projection_{i}_{j}"].weight.detach().T if heads else own[i][0]
            total += 1 - cosine_similarity(mapped, their[j][0], dim=-1)
        found.append(total[:-1][learned[1:]])
    assert measured["distill/features"] == pytest.approx(float(torch.cat(found).mean()), rel=1e-4)


def test_the_loss_of_a_step_is_the_sum_of_its_terms(models, sums, tmp_path):
    out, more = tmp_path / "run", {"objective.features.coef": 0.25, "steps": 2}
    train(NAME, **settings(models, sums, out=str(out), **more))
    for line in metrics_of(out):
        assert line["loss/teacher"] == pytest.approx(0.5 * 4 * line["distill/divergence"], rel=1e-5)
        assert line["loss/features"] == pytest.approx(0.25 * line["distill/features"], rel=1e-5)
        assert line["loss/nll"] == pytest.approx(0.5 * line["nll"], rel=1e-5)


@pytest.mark.parametrize("policy", ["policy", "gpt2"])
def test_memory_settings_change_nothing_but_rounding(policy, models, sums, tmp_path):
    told = []
    for size in (64, 8192):
        out = tmp_path / str(size)
        more = {"rows_per_step": 6, "tokens_per_forward": size, "objective.maps.loss": "attention_maps"}
        named = {"model": str(models[policy]), "out": str(out), "steps": 2}
        train(NAME, **settings(models, sums, **named, **more))
        told.append(metrics_of(out)[-1])
    for name in ("loss/features", "loss/maps", "grad_norm", "distill/features", "distill/attention"):
        assert told[0][name] == pytest.approx(told[1][name], rel=1e-4)
    assert told[0]["distill/attention"] > 0.01


def test_a_run_that_stops_and_goes_on(models, sums, tmp_path):
    """Its weights are those of a run that does not stop, bit for bit, and its projections too."""
    more = {"save_every": 3, "objective.maps.loss": "attention_maps"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(NAME, **settings(models, sums, out=str(whole), steps=5, **more))
    train(NAME, **settings(models, sums, out=str(parts), steps=3, **more))
    resume(parts, {"steps": 5}, terminal)
    prints = [[line["fingerprint"] for line in metrics_of(run)] for run in (whole, parts)]
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 5
    kept = [load_file(run / "checkpoints/latest/state/policy.safetensors") for run in (whole, parts)]
    for name in ("projection_1_2_head.weight", "projection_2_3_head.weight"):
        assert torch.equal(kept[0][name], kept[1][name])
        assert tuple(kept[0][name].shape) == (32, 16)


def test_projections_learn_and_are_not_handed_on(models, sums, tmp_path):
    out = tmp_path / "run"
    named = settings(models, sums, out=str(out), steps=3, learning_rate=1e-2)
    with build_given(changed(recipe(NAME), named)) as run:
        before = {name: w.clone() for name, w in run.host.models["policy"].weights().items()}
    train(NAME, **named)
    after = load_file(out / "checkpoints/latest/state/policy.safetensors")
    for name in ("projection_1_2_head.weight", "projection_2_3_head.weight"):
        assert float((before[name].detach() - after[name]).abs().max()) > 1e-3
    handed_on = load_file(out / "checkpoints/latest/model.safetensors")
    assert not [name for name in handed_on if name.startswith("projection_")]
    loaded, _ = load_policy(out / "checkpoints/latest")
    assert set(dict(loaded.named_parameters())) == set(
        dict(load_policy(models["policy"])[0].named_parameters())
    )


def test_a_policy_that_writes_beside_its_projections(models, sums, tmp_path):
    """Its sampler shares its weights, and knows nothing of the projections."""
    out = tmp_path / "run"
    more = {"written_share": 0.5, "prompts_per_step": 3, "max_new_tokens": 5, "source.samples_per_prompt": 1}
    train(NAME, **settings(models, sums, out=str(out), steps=4, **more))
    lines = metrics_of(out)
    assert ["reward/mean" in line for line in lines] == [True, False, True, False]
    assert all(line["distill/features"] > 0 for line in lines)


# What is refused


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"teacher": "other"}, "has another vocabulary than the policy, so its probabilities and states"),
        (
            {"objective.features.loss.layers": [[1, 4]]},
            "layers names layer 4 of the teacher, which has 0 to 3",
        ),
        (
            {"objective.features.loss.layers": [[3, 1]]},
            "layers names layer 3 of the policy, which has 0 to 2",
        ),
        ({"objective.features.loss.layers": []}, "layers of features names no pair"),
        ({"objective.features.loss.weights": [1, 2]}, "weights of features belong to the pairs of layers"),
        ({"teacher": ""}, "learns from a teacher, and none is named; set teacher=FOLDER"),
        ({"teacher": None}, "learns from a teacher, and this run has none; set teacher=FOLDER"),
        ({"natural.max_kl": 0.01}, "the maps to a teacher's layers have none; set natural=null"),
        ({"objective.features.loss.distance": "l1"}, "l1"),
    ],
    ids=str,
)
def test_what_cannot_be_compared(change, sentence, models, sums):
    if change.get("teacher"):
        change = {"teacher": str(models[change["teacher"]])}
    with (
        pytest.raises(UserError, match=sentence),
        build_given(changed(recipe(NAME), settings(models, sums) | change)),
    ):
        pass


def test_a_teacher_that_reads_another_question(models, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text(
        "".join(json.dumps({"question": f"{i}+2=", "answer": str(i + 2)}) + "\n" for i in range(20))
    )
    asked = {"model": str(models["policy"]), "device": "cpu", "data": str(data), "max_new_tokens": 4}
    more = {"objective.features.loss": "features", "heldout": 2, "prompts_per_step": 3, "steps": 1}
    with pytest.raises(UserError, match="the teacher reads other prompts, and layers are compared on equal"):
        train("self_distill", **asked, **more, report_questions=0, threads=1, out=str(tmp_path / "run"))
