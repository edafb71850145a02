"""Names of other libraries are answered with ours, and what the answers say can be typed."""

import re
import shlex
from typing import Any

import pytest

from menon.cli import main
from menon.cli.catalogue import run_settings
from menon.config import RunConfig, changed
from menon.errors import UserError
from menon.eval.config import EvalConfig
from menon.other_names import ANSWERS, SENTENCES, SETTINGS
from menon.recipes import recipe
from menon.settings import override, read


def refusal(recipe_name: str, *words: str) -> str:
    with pytest.raises(UserError) as refused:
        changed(recipe(recipe_name), *(dict([override(word)]) for word in words))
    return str(refused.value)


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("lr=1e-6", "lr is learning_rate here"),
        ("num_generations=8", "num_generations is samples_per_prompt here"),
        ("n=8", "n is samples_per_prompt here"),
        ("group_size=8", "group_size is samples_per_prompt here"),
        ("max_completion_length=512", "max_completion_length is max_new_tokens here"),
        ("warmup=10", "warmup is warmup_updates here"),
        ("lora=true", "there is no LoRA here; all weights are trained"),
        ("vllm=true", "there is no vLLM or SGLang here; "),
        ("beta=.04", "beta is the coefficient of the KL term here, "),
        ("kl_coef=.04", "kl_coef is the coefficient of the KL term here, "),
        ("entropy_coef=.01", "entropy_coef is the coefficient of an entropy term here: "),
        ("epochs=2", "runs are counted in steps and not in epochs here; "),
        ("batch_size=8", "batch_size counts other things in every library; here prompts_per_step "),
        ("clip=.2", "clip is the pair objective.policy.loss.clip_low and "),
        ("save=10", "save is save_every here"),
        ("Num_Generations=8", "Num_Generations is samples_per_prompt here"),
        ("n-samples-per-prompt=8", "n-samples-per-prompt is samples_per_prompt here"),
        ("rollout.n=8", "in source.rollout: n is samples_per_prompt here"),
        ("optimiser.lr=1", "models.policy.optimiser.lr is learning_rate here"),
        ("actor_rollout_ref.rollout.n=8", "actor_rollout_ref.rollout.n is samples_per_prompt here"),
        ("actor_rollout_ref.actor.optim.lr=1", "actor_rollout_ref.actor.optim.lr is learning_rate here"),
        ("data.train_batch_size=8", "source.data.train_batch_size counts other things in every library; "),
        ("algorithm.adv_estimator=gae", "algorithm.adv_estimator is advantage.credit here"),
        ("trainer.nnodes=2", "a run takes one process and at most one GPU here; leave trainer.nnodes out"),
        ("trainer={nnodes: 2}", "a run takes one process and at most one GPU here; leave trainer.nnodes out"),
        ("model.path=x", "models.policy.model.path is model here"),
        ("num_generation=8", "unknown setting 'num_generation'; num_generations is samples_per_prompt here"),
        ("sampling_params.temperature=.7", "sampling_params.temperature is temperature here"),
        ("advantage=rloo", "advantage is a table of parts by name; write advantage.credit=rloo"),
        ("objective=gspo", "objective is a table of parts by name; write objective.policy.loss=gspo"),
        ("objective.policy.loss.epsilon=.2", "in objective.policy.loss: epsilon is the pair "),
    ],
)
def test_the_answer_names_ours(word, ours):
    assert refusal("grpo", word).startswith(ours)


VERL = {
    "data": {"train_files": "a", "train_batch_size": 8},
    "actor_rollout_ref": {"model": {"path": "m"}, "rollout": {"n": 8, "temperature": 1.0}},
    "algorithm": {"adv_estimator": "grpo"},
    "trainer": {"total_epochs": 1},
}


def test_a_file_of_another_library_is_answered_as_a_whole():
    with pytest.raises(UserError) as refused:
        changed(recipe("grpo"), VERL)
    said = str(refused.value).split("; ")
    assert [one for one in said if " is " in one and one.endswith(" here")] == [
        "data.train_files is data here",
        "actor_rollout_ref.model.path is model here",
        "actor_rollout_ref.rollout.n is samples_per_prompt here",
        "algorithm.adv_estimator is advantage.credit here",
    ]
    assert any(one.startswith("data.train_batch_size counts other things") for one in said)
    many = {f"a{i}": {"lr": 1} for i in range(13)}
    with pytest.raises(UserError) as refused:
        changed(recipe("grpo"), many)
    assert str(refused.value).startswith("a0.lr is learning_rate here; a1.lr is learning_rate here; ")
    assert str(refused.value).endswith("; a9.lr is learning_rate here; and 3 more")
    with pytest.raises(UserError) as refused:
        changed(recipe("grpo"), {"data": VERL["data"]})
    assert "data.train_files is data here; source.data.train_batch_size counts" in str(refused.value)


@pytest.mark.parametrize("flag", ["--lr", "--n-samples-per-prompt", "--kl-loss-coef=.1", "--lora"])
def test_flags_of_a_command_line(flag, capsys):
    assert main(["train", flag, "8"]) == 2
    assert re.search(r"^menon: .* here", capsys.readouterr().err)


def test_a_name_of_ours_that_this_run_lacks_says_where_it_is():
    """Never more than three places."""
    assert refusal("cispo", "clip_high=.3") == (
        "this run has no setting 'clip_high'; it belongs to objective.NAME.loss=clip_cov, "
        "objective.NAME.loss=dual_clip, objective.NAME.loss=gspo and others (`menon help clip_high` lists "
        "them); name one of them before it"
    )
    assert refusal("grpo", "lam_critic=1") == (
        "this run has no setting 'lam_critic'; it belongs to advantage.NAME=vapo, which must come before it"
    )
    # a part that has the name is asked before other libraries
    assert changed(recipe("grpo"), {"reward": "repetition"}, {"n": 3}).source.reward.n == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["zzz=1"], "unknown setting 'zzz'; `menon train --help` lists them all"),
        (["SAVE_EVRY=1"], "unknown setting 'SAVE_EVRY'; did you mean 'save_every'?"),
        (
            ["optimiser.beta=[1, 1]"],
            "'models.policy.optimiser.beta'; did you mean 'models.policy.optimiser.betas'?",
        ),
        (["critic=true"], "it takes a table of settings, like models.critic.objective=..."),
        (["sample_per_prompt=1"], "unknown setting 'sample_per_prompt'; did you mean 'samples_per_prompt'?"),
        (["top=1"], "unknown setting 'top'; did you mean 'stop', 'top_p' or 'top_k'?"),
        (["objective.policy.loss=zzz"], "unknown kind 'zzz'; `menon help loss` lists them all"),
        (["rollout.zzz=1"], "unknown setting 'zzz'; there are no settings here"),
        (["reward={kind: zzz}"], "unknown kind 'zzz'; `menon help reward` lists them all"),
    ],
)
def test_no_long_lists(words, sentence):
    assert refusal("grpo", *words).endswith(sentence)


def test_a_command_that_does_not_train_answers_with_its_own_settings_alone():
    def message(tree: dict[str, Any]) -> str:
        with pytest.raises(UserError) as refused:
            read(EvalConfig, tree)
        return str(refused.value)

    assert message({"max_tokens": 5}) == "max_tokens is max_new_tokens here"
    assert message({"n_samples": 5}) == "unknown setting 'n_samples'; did you mean 'samples'?"
    assert "prompts_per_step" not in message({"batch_size": 5})


@pytest.mark.parametrize("ours", SETTINGS)
def test_ours_exist(ours):
    name, _, value = ours.partition("=")
    if value:
        start = {"reference": "frozen"} if name == "reference_update" else {}
        value = {"kind": "mix", "parts": {"math": 1}} if value == "mix" else value
        assert isinstance(changed(recipe("grpo"), start, {name: value}), RunConfig)
    elif name == "template_arguments.enable_thinking":  # a name of the model's, with any value
        assert isinstance(changed(recipe("grpo"), {name: True}), RunConfig)
    elif name not in run_settings() and name != "recipe":
        assert name.rpartition(".")[0] in refusal("ppo", f"{name}={{not: {{a: setting}}}}")


@pytest.mark.parametrize(
    "sentence", [sentence for sentence in SENTENCES if re.search(r"\w=[\w'.]", sentence)]
)
def test_settings_in_sentences_can_be_typed(sentence):
    words = re.findall(r"[a-z_.]+=(?:'[^']*'|[\w.]*\w)", sentence.format(name="it"))
    changes = (dict([override(shlex.split(word)[0])]) for word in words)
    assert isinstance(changed(recipe("grpo"), *changes), RunConfig)


def test_no_setting_of_ours_is_taken_for_another_librarys():
    assert len(ANSWERS) > 500
    assert set(ANSWERS) & set(run_settings()) == set()
