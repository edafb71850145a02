"""Rewards that ask a model, from settings to verdicts."""

import copy
import json
from pathlib import Path

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from helpers import BYTES, tiny_model, tiny_tokenizer
from menon.assembly.build import build
from menon.assembly.reward_models import local_judge, opened_by, with_models
from menon.config import RunConfig, changed
from menon.engines.hf_models import export
from menon.engines.openai_client import OpenAIClient
from menon.errors import UserError
from menon.parts import Around
from menon.prompts.tasks import ChainSum
from menon.recipes import recipe
from menon.reward.judge import Judge, own_prompt
from menon.reward.preference import Preference
from menon.rollout.environments import Calculator, GridWorld, GuessNumber
from menon.rollout.turns import Turns, environment_alone
from menon.settings import plain_data, read
from tiny_run import online
from tokenizer_kinds import tokenizer_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    export(tiny_model(context=2048, seed=3), tiny_tokenizer(), path / "policy")
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    torch.manual_seed(0)
    config = Qwen3Config(
        **sizes, head_dim=4, vocab_size=BYTES, num_labels=1, initializer_range=0.3, pad_token_id=BYTES - 1
    )
    export(Qwen3ForSequenceClassification(config).eval(), tiny_tokenizer(), path / "preference")
    return path


def settings(folder: Path, **more) -> RunConfig:
    small = {"model": str(folder / "policy"), "device": "cpu", "max_new_tokens": 6, "heldout": 3}
    return changed(recipe("grpo", "a folder"), {**small, **more})


def test_a_judge_here(folder, tmp_path):
    prompt = tmp_path / "own.txt"
    prompt.write_text("{question} {final_step} {reference} ?")
    judge = {
        "kind": "judge",
        "model": str(folder / "policy"),
        "soft": True,
        "renorm": True,
        "prompt": str(prompt),
    }
    with build(settings(folder, reward=judge)) as run:
        reward = online(run).grade.reward
        assert isinstance(reward, Judge)
        assert reward.prompt == "{question} {final_step} {reference} ?"
        assert run.origin["reward_models"].keys() == {str(folder / "policy")}
        assert len(run.origin["judge_prompt"]) == 32
        graded = run.evaluate()
    asked = [g for g in graded if g.rollout.text.strip()]
    assert asked
    assert all(
        g.verdict.parts["judge_unparsable"] == 1 and g.verdict.score == 0 for g in asked
    )  # a random model decides nothing
    replies = reward.complete(["x", "y"])
    assert all({"Y", "N", "y", "n"} <= probabilities.keys() for _, probabilities in replies)


def test_a_thought_that_a_judges_template_opens():
    assert opened_by(lambda messages, tools: "<assistant>\n<think>\n") == "<think>"
    assert opened_by(lambda messages, tools: "<assistant>\n") == ""
    assert opened_by(lambda messages, tools: str(1 // 0)) == ""


def test_a_judge_on_a_server():
    judge = Judge(
        "judge-7b", "http://127.0.0.1:1/v1", key_variable="MY_KEY", batch_size=7, max_new_tokens=300
    ).build(with_models(Around(), lambda: CPU))
    assert judge.complete == OpenAIClient("http://127.0.0.1:1/v1", "judge-7b", "MY_KEY", 300)
    assert (judge.batch_size, judge.prompt, judge.soft) == (7, own_prompt(), False)


def test_a_preference_model(folder):
    reward = {"kind": "preference", "model": str(folder / "preference"), "std": 2, "missing_end": 1}
    with build(settings(folder, reward=reward)) as run:
        assert isinstance(online(run).grade.reward, Preference)
        graded = run.evaluate()
    for g in graded:
        assert g.verdict.score == pytest.approx(g.verdict.parts["raw"] / 2)
        assert g.verdict.acc == float(ChainSum().grade("", g.rollout.text, g.rollout.prompt.answer or ""))
    assert len({g.verdict.score for g in graded}) == 3


def test_settings_of_models_go_through_run_json_and_the_command_line():
    config = changed(recipe("grpo"), {"reward": "judge", "reward.model": "a", "reward.soft": "true"})
    assert config.source.reward == Judge("a", soft=True)
    assert read(RunConfig, json.loads(json.dumps(plain_data(config)))) == config
    assert config.with_own_code().own_code == {}
    config = changed(recipe("grpo"), {"reward": {"kind": "preference", "model": "b", "clip": 10}})
    assert config.source.reward == Preference("b", clip=10)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reward": "judge"}, "a judge needs a model"),
        ({"reward": "preference"}, "a preference reward needs reward.model"),
        (
            {"reward": {"kind": "judge", "model": "a", "sof": True}},
            "did you mean 'soft'|did you mean 'reward.soft'",
        ),
        ({"reward": {"kind": "jury", "model": "a"}}, "unknown kind 'jury'"),
    ],
)
def test_wrong_settings_of_a_model(change, sentence):
    with pytest.raises(UserError, match=sentence):
        changed(recipe("grpo"), change)


OWN = """
from dataclasses import dataclass

@dataclass
class Shout:
    word: str = "HEY"
    stop = ("!",)

    def reset(self, prompt, seed):
        return self.word

    def step(self, text):
        return "", 1.0, True
"""


def test_an_environment_of_ones_own(folder, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    name = f"{file}:Shout"
    config = settings(folder, environment={"kind": name, "word": "hi"}, max_turns=3, task="chain_sum")
    assert config.with_own_code().own_code.keys() == {name}
    with build(config) as run:
        turns = online(run).around.answer
        assert isinstance(turns, Turns)
        assert (turns.max_turns, turns.environment.word) == (3, "hi")
        graded = run.evaluate()
    assert all(g.rollout.text.startswith("hi") for g in graded)
    assert read(RunConfig, json.loads(json.dumps(plain_data(config)))).source.environment.word == "hi"
    with pytest.raises(UserError, match="wrd"):
        settings(folder, environment={"kind": name, "wrd": "hi"})
    file.write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Shout:\n    def reset(self, prompt, "
        "seed):\n        return ''\n"
    )
    with pytest.raises(UserError, match="lacks 'step'"):
        settings(folder, environment=f"{file}:Shout")


def test_who_asks_and_who_grades(folder):
    """An environment with questions asks them and grades alone, unless data, task or reward say otherwise."""
    with build(settings(folder, environment={"kind": "guess_number", "high": 20})) as game:
        assert online(game).grade is environment_alone
        assert game.evaluate.func.prompts[0].text.startswith("I think of a number from 1 to 20.")
    with build(settings(folder, environment="calculator")) as tool:
        assert online(tool).grade.reward.__name__ == "grade"
        assert tool.evaluate.func.prompts[0].text.endswith("=?")
    with build(settings(folder, environment="grid_world", task="chain_sum")) as chains:
        assert chains.evaluate.func.prompts[0].text.endswith("=?")
    assert changed(recipe("calculator"), {"environment": None}).source.environment is None
    for kind, cls in (("calculator", Calculator), ("guess_number", GuessNumber), ("grid_world", GridWorld)):
        assert changed(recipe("grpo"), {"environment": kind}).source.environment == cls()
    with pytest.raises(UserError, match="unknown kind 'calculater'; did you mean 'calculator'"):
        changed(recipe("grpo"), {"environment": "calculater"})
    with pytest.raises(UserError, match="max_turns is 0"):
        changed(recipe("calculator"), {"max_turns": 0})


def test_a_judge_whose_chat_template_refuses_is_one_sentence(tmp_path):
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = "{{ raise_exception('a system turn first') }}"
    export(tiny_model(), tokenizer, tmp_path / "judge")
    (reply,) = local_judge(str(tmp_path / "judge"), CPU, False, 4)(["Is it right?"])
    assert isinstance(reply, UserError)
    assert str(reply).startswith("the chat template of the judge ")
    assert "refuses its prompt (a system turn first); take another judge" in str(reply)


def test_the_probability_of_a_reply_is_of_all_tokens_that_begin_it(tmp_path):
    """With a tokenizer that puts a space in front: `yes` and ` yes` begin with different tokens."""
    tokenizer = tokenizer_of("metaspace_first")
    model = tiny_model("llama", vocab=len(tokenizer))
    export(model, tokenizer, tmp_path / "judge")
    judge = local_judge(str(tmp_path / "judge"), CPU, True, 4)
    assert {tokenizer.convert_ids_to_tokens(token) for token in judge.begins} == {"y", "n", "▁", "<unk>"}
