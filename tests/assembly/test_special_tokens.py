"""Special tokens that a policy writes: what ends an answer, and what rewards and environments read."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from helpers import prompt, tiny_model
from menon.assembly.build import answer_with
from menon.assembly.questions import check_tags
from menon.config import OnlineSource
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.rollout.turns import environment_alone
from menon.types import Request, Sampling
from scripted import written_by
from tokenizer_kinds import SPECIAL, tokenizer_of

END, TURN = SPECIAL.index("</s>"), SPECIAL.index("<turn>")


def sampler_of(likely: dict[int, float], keep: bool = False) -> TorchSampler:
    """A model that often writes the given tokens."""
    tokenizer = tokenizer_of("metaspace_first")
    model: Any = tiny_model("llama", vocab=len(tokenizer), tied=False)
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(tokenizer)))
    with torch.no_grad():
        for token, more in likely.items():
            model.lm_head.bias[token] = more
    model.config.eos_token_id = model.generation_config.eos_token_id = END
    return TorchSampler(model, tokenizer, keep_special_tokens=keep)


def asked(stop: tuple[str, ...] = (), count: int = 6) -> list[Request]:
    return [Request(prompt(0, [5, 6, 7]), Sampling(24, stop=stop), sample=k) for k in range(count)]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("stop", [("<turn>",), ("ok", "<turn>"), ("<turn><turn>",)])
def test_a_special_token_ends_an_answer(stop, keep):
    for completion in written_by(sampler_of({TURN: 6.0, END: -50.0}, keep), asked(stop)):
        assert completion.finish == "stop"
        count = 2 if stop == ("<turn><turn>",) else 1
        assert completion.tokens[-count:].tolist() == [TURN] * count
        assert count == 2 or TURN not in completion.tokens[:-1]
        assert completion.text.endswith(stop[-1]) == keep


def test_the_end_token_is_not_shown():
    for completion in written_by(sampler_of({TURN: 5.0, END: 6.0}, keep=True), asked()):
        assert completion.tokens[-1] == END
        assert completion.text.count("<turn>") == (completion.tokens == TURN).sum()
        assert "</s>" not in completion.text


@dataclass
class Hears:
    heard: list[str]
    stop = ("<turn>",)

    def reset(self, prompt: Any, seed: int) -> str:
        return ""

    def step(self, text: str) -> tuple[str, float, bool]:
        self.heard.append(text)
        return "10", 0.0, len(self.heard) == 3


@pytest.mark.parametrize("keep", [False, True])
def test_what_an_environment_reads_and_what_it_adds(keep):
    heard: list[str] = []
    sampler = sampler_of({TURN: 6.0, END: -50.0}, keep)
    source = OnlineSource(environment=Hears(heard), keep_special_tokens=keep)
    (graded,) = answer_with(source, 0, sampler.tokenizer, sampler.detokenizer.text)(
        asked(count=1), [0], sampler, environment_alone
    )
    assert len(heard) == 3
    assert all(text.endswith("<turn>") == keep for text in heard)
    assert graded.rollout.text == "10".join(heard)


def test_the_user_is_told_of_tags_that_rewards_do_not_see():
    tokenizer = tokenizer_of("byte_level")
    told: list[str] = []
    check_tags(tokenizer, False, told.append)
    assert told == []  # </s> has a role
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "</answer>"]})
    check_tags(tokenizer, True, told.append)
    check_tags(tokenizer, False, told.append)
    assert told == [
        "</think> and </answer> are special tokens of this model, which rewards and environments do not see; "
        "keep_special_tokens=true shows them"
    ]
