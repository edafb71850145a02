"""What a run is told before it begins."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from helpers import tiny_model, tiny_tokenizer
from menon.assembly.notices import advice_for, notices, of_schedule
from menon.config import RunConfig, changed
from menon.engines.hf_models import end_token_ids
from menon.recipes import RECIPES, recipe
from menon.update.optimiser import Optimiser
from tokenizer_kinds import tokenizer_of

CHATML = "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}<unk>{% endfor %}<turn>assistant"
"""Turns begin with one special token and end with another, which ends no text."""


def chat_tokenizer(template: str = CHATML) -> Any:
    tokenizer = copy.deepcopy(tokenizer_of("metaspace_first"))
    tokenizer.chat_template = template
    return tokenizer


def placed_of(tokenizer: Any, parameters: int = 20_000_000) -> Any:
    """What `notices` reads of the models of a run."""
    model = tiny_model("llama", vocab=len(tokenizer))
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    return SimpleNamespace(tokenizer=tokenizer, parameters=parameters, ends=end_token_ids(model, tokenizer))


def told(config: RunConfig, questions: list[Any], tokenizer: Any, parameters: int = 20_000_000) -> list[str]:
    rows = [{"question": one} for one in questions]
    placed = placed_of(tokenizer, parameters)
    about = config.source, config.models, config.objective
    return list(notices(*about, config.control.steps, rows, placed))


def test_text_of_older_weights_that_nothing_weighs():
    def said(**settings: Any) -> list[str]:
        config = changed(recipe("grpo"), {"learning_rate": 3e-4, "staleness": 1} | settings)
        return told(config, ["1+1?"], tokenizer_of("metaspace_first"))

    assert said() == [
        "staleness=1 learns from text of older weights, and no term weighs it by how likely it is now; set "
        "objective.policy.correction='[{kind: importance}]', or old=behaviour for a loss that clips its ratio"
    ]
    assert said(staleness=0) == []
    assert said(old="behaviour") == []
    assert said(**{"objective.policy.correction": [{"kind": "importance"}]}) == []


@pytest.mark.parametrize(
    ("settings", "updates", "sentence"),
    [
        (
            {"warmup_updates": 100},
            5,
            "warmup_updates=100 is longer than the run's 5 updates, and the learning rate ends at 5% of "
            "0.0001; set it to 1, or raise steps",
        ),
        (
            {"schedule": "linear", "total_updates": 10},
            100,
            "total_updates=10 ends the linear schedule long before the run's 100 updates, and the learning "
            "rate is 0 after it; set total_updates=100",
        ),
        (
            {"schedule": "cosine", "total_updates": 50, "final_fraction": 0.001},
            100,
            "total_updates=50 ends the cosine schedule long before the run's 100 updates, and the learning "
            "rate is 1e-07 after it; set total_updates=100",
        ),
        ({"warmup_updates": 5}, 5, ""),
        ({"schedule": "linear", "total_updates": 51}, 100, ""),
        ({"schedule": "linear", "total_updates": 10, "final_fraction": 0.1}, 100, ""),
        ({}, 1, ""),
    ],
)
def test_a_schedule_that_does_not_fit_the_run(settings, updates, sentence):
    assert list(of_schedule(Optimiser(**settings), updates)) == ([sentence] if sentence else [])


def test_the_updates_are_those_of_the_whole_run():
    config = changed(recipe("ppo"), {"steps": 5, "updates_per_step": 2, "warmup_updates": 11})
    config = changed(config, {"critic.optimiser.warmup_updates": 40, "critic.updates_per_step": 3})
    said = told(config, ["ok"], tiny_tokenizer())
    assert [sentence.partition(",")[0] for sentence in said] == [
        "warmup_updates=11 is longer than the run's 10 updates",
        "critic.warmup_updates=40 is longer than the run's 15 updates",
    ]


def test_the_rate_of_a_large_model_for_a_small_one():
    config = changed(recipe("grpo", "my-model"), {"model": "my-model"})
    said = told(config, ["ok"], tiny_tokenizer(), parameters=886_400)
    assert said == [
        "learning_rate is 1e-06, which fits models of .5 B parameters and more; this one has 0.89 M: set "
        "learning_rate=0.0003"
    ]
    for other, parameters in (
        (config, 135_000_000),
        (changed(config, {"learning_rate": 1e-4}), 886_400),
        (changed(config, {"learning_rate": 0}), 886_400),  # a sign of its own
        (recipe("grpo"), 886_400),
    ):
        assert told(other, ["ok"], tiny_tokenizer(), parameters) == []


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_as_they_come_are_told_nothing(name):
    assert told(recipe(name), ["3+4=?"], tiny_tokenizer(), 886_400) == []


def test_chat_markup_within_chat_markup():
    config = changed(recipe("grpo"), {"template": "chat", "stop": ["<unk>"]})
    marked = ["<turn>user\nthe ok<unk>\n<turn>assistant", "ok", [{"role": "user", "content": "<turn> ok"}]]
    assert told(config, marked, chat_tokenizer()) == [
        "2 of 3 questions hold <turn> already, and template=chat puts chat markup around them once more; set "
        "template=none, or give the questions without it"
    ]
    assert told(config, ["ok", "the ok", "<turn>"], chat_tokenizer()) == []
    assert told(config, ["<|im_start|>user"], chat_tokenizer())[0].startswith("1 of 1 questions hold <|im_st")
    assert told(changed(config, {"template": "none"}), marked, chat_tokenizer()) == []
    (said,) = told(changed(config, {"template": "qwen_boxed"}), ["<|im_start|>user"], tiny_tokenizer())
    assert "template=qwen_boxed puts" in said


def test_a_turn_whose_end_ends_no_answer():
    said = (
        "the chat template ends a turn with <unk>, which does not end an answer of this model; set "
        "stop='[\"<unk>\"]'"
    )
    config, tokenizer = changed(recipe("grpo"), {"template": "chat"}), chat_tokenizer()
    assert told(config, ["ok"], tokenizer) == [said]
    assert advice_for(config.source, placed_of(tokenizer)) == {"cut": said}
    for other, template in (
        (changed(config, {"stop": ["<unk>"]}), CHATML),
        (config, CHATML.replace("<unk>", "</s>")),
        (config, CHATML.replace("<unk>", "\n\n").replace("<turn>", "|")),  # nothing that could be told
        (config, "{{ raise_exception('no') }}"),
        (changed(config, {"template": "none"}), CHATML),
    ):
        assert told(other, ["ok"], chat_tokenizer(template)) == []


def test_a_chat_model_that_is_asked_without_its_template():
    tokenizer, config = chat_tokenizer(), recipe("grpo")
    said = {"blank": "this model has a chat template: set template=chat"}
    assert advice_for(config.source, placed_of(tokenizer)) == said
    assert advice_for(changed(config, {"template": "qwen_boxed"}).source, placed_of(tokenizer)) == {}
    assert advice_for(config.source, placed_of(tiny_tokenizer())) == {}
