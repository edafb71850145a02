"""Law 3 for answers in turns: the learner's log-probs of whole sequences are the sampler's of each turn, also
where a program of the user's asks for them. And law 7: a token's random number goes by its place in the
answer, so it does not matter how an answer is cut into turns, or in which company it is written."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from helpers import KINDS, prompt, tiny_model, tiny_tokenizer
from menon.assembly.tokenizer_voice import TokenizerVoice
from menon.batch import pack
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.torch_scorer import TorchScorer
from menon.rollout.environments.agent import Agent
from menon.rollout.groups import answer
from menon.rollout.turns import Turns
from menon.types import Graded, Request, Rollout, Sampling, Verdict

V = 40


@dataclass
class Interrupting:
    """Ends a turn at each of some letters; says something, or nothing."""

    says: str = " =7.\n"
    stop: ClassVar[tuple[str, ...]] = tuple("0123456789abc")

    def reset(self, prompt, seed):
        return self.says

    def step(self, text):
        return self.says, 0.0, not text.endswith(self.stop)


def nothing(rollout: Rollout) -> Verdict:
    return Verdict(1.0, 1.0)


def requests(size: int) -> list[Request]:
    rng = np.random.default_rng(0)
    prompts = [
        prompt(i, rng.integers(0, V - 1, size=length), vocab=V) for i, length in enumerate((3, 20, 1, 7))
    ]
    return [Request(p, Sampling(size, temperature=0.8), sample) for p in prompts for sample in range(6)]


def turns(says: str) -> Turns:
    tokenizer = tiny_tokenizer(V)
    return Turns(
        Interrupting(says),
        lambda text, before: tokenizer.encode(text, add_special_tokens=False),
        lambda tokens: tokenizer.decode(tokens, skip_special_tokens=True),
        max_turns=100,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_learner_agrees_on_every_action(kind):
    model = tiny_model(kind, vocab=V)
    sampler = TorchSampler(model, tiny_tokenizer(V), slots=7)
    asked = requests(60)
    graded = turns(" =7.\n")(asked, range(len(asked)), sampler, nothing)
    assert max(g.verdict.parts["turns"] for g in graded) > 3
    batch = pack(graded)
    scored = TorchScorer(model, temperature=0.8).score(batch, ("logp", "entropy"))
    assert batch.behaviour_logp is not None
    assert batch.entropy is not None
    spans = batch.is_action[1:] & ~batch.is_action[:-1]
    assert spans.sum() > 2 * batch.num_sequences
    for own, other in ((batch.behaviour_logp, scored["logp"]), (batch.entropy, scored["entropy"])):
        difference = (own - other)[batch.is_action].abs()
        assert float(difference.mean()) < 1e-6
        assert float(difference.max()) < 1e-4
    assert (batch.behaviour_logp[~batch.is_action] == 0).all()


PROGRAM = """
import json, os, sys, urllib.request
headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
messages = [{"role": "user", "content": sys.stdin.read()}]
for turn in range(3):
    body = json.dumps({"messages": messages, "max_tokens": 10, "stop": ["7", "a"]}).encode()
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
        messages.append(json.load(reply)["choices"][0]["message"])
    messages.append({"role": "user", "content": "once more"})
print(messages)
"""
TEMPLATE = (
    "{% for m in messages %}{{ m.role[0] }}: {{ m.content }}\n"
    "{% if m.role == 'assistant' %}<|endoftext|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}a: {% endif %}"
)


def test_the_learner_agrees_on_what_a_program_asked_for(tmp_path):
    """A tiny model writes bytes that are no text, which go to the program and come back as something else.
    The answers are the same whether two or all programs run at a time, in which order they may ask."""
    pytest.importorskip("starlette")
    (tmp_path / "program.py").write_text(PROGRAM)
    model, tokenizer = tiny_model(context=400), tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    sampler = TorchSampler(model, tokenizer, slots=7)
    voice = TokenizerVoice(("policy",), tokenizer, sampler.detokenizer.text, len(tokenizer))

    def played(at_once: int) -> list[Graded]:
        agent = Agent(f"{sys.executable} -S {tmp_path / 'program.py'}", at_once=at_once)
        environment = agent.playing(voice, lambda sentence: None)
        turns = Turns(environment, lambda text, before: [], sampler.detokenizer.text)
        asked = [
            Request(prompt(i, "ab"), Sampling(300, 0.8), sample) for i in range(2) for sample in range(3)
        ]
        return turns(asked, range(len(asked)), sampler, nothing)

    graded, again = played(6), played(2)
    assert [g.verdict.error for g in graded] == [""] * 6
    assert all(g.verdict.parts["turns"] == 3 for g in graded)
    for one, other in zip(graded, again, strict=True):
        assert one.rollout.tokens.tolist() == other.rollout.tokens.tolist()
        assert one.rollout.is_action.tolist() == other.rollout.is_action.tolist()
        assert one.rollout.graded_text == other.rollout.graded_text
    assert any("\ufffd" in g.rollout.graded_text for g in graded)
    batch = pack(graded)
    scored = TorchScorer(model, temperature=0.8).score(batch, ("logp",))
    assert batch.behaviour_logp is not None
    difference = (batch.behaviour_logp - scored["logp"])[batch.is_action].abs()
    assert float(difference.mean()) < 1e-6
    assert float(difference.max()) < 1e-4


def test_turns_without_observations_write_what_one_turn_would():
    sampler = TorchSampler(tiny_model(vocab=V), tiny_tokenizer(V))
    asked = requests(40)
    whole = answer(asked, range(len(asked)), sampler, nothing)
    cut = turns("")(asked, range(len(asked)), sampler, nothing)
    assert sum(g.verdict.parts["turns"] for g in cut) > 2 * len(cut)

    def trace(graded: list[Graded]) -> list[tuple]:
        return [(g.rollout.tokens.tolist(), g.rollout.is_action.tolist(), g.rollout.text) for g in graded]

    assert trace(cut) == trace(whole)


def test_a_turn_costs_only_what_is_new():
    """Prompt and first observation go through the network once for all samples, every later token once for
    each; the last token of an answer never does. Samples that happen to write the same turn share it as
    well."""
    sampler = TorchSampler(tiny_model(vocab=V), tiny_tokenizer(V), slots=7)
    asked, said = requests(60), len(" =7.\n")
    graded = turns(" =7.\n")(asked, range(len(asked)), sampler, nothing)
    assert sum(g.verdict.parts["turns"] for g in graded) > 2 * len(graded)
    shared = sum(
        len(p.tokens) + said - 1 for p in {request.prompt.index: request.prompt for request in asked}.values()
    )
    most = shared + sum(len(g.rollout.tokens) - len(g.rollout.prompt.tokens) - said for g in graded)
    assert 0.9 * most < sampler.computed_tokens <= most
