"""A teacher with a hint: its numbers are those of its model on the hinted text, at the place of the policy's
tokens."""

import numpy as np
import pytest
import torch

from helpers import tiny_model
from menon.batch import pack_examples
from menon.engines.in_process import InProcessHost
from menon.engines.reprompted import Reprompted, key_of
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.loss import Distill
from menon.types import Example
from menon.update.host import Ask

SHORT, LONG, ANSWERS = [5, 6], [9, 5, 6, 7, 8], ([1, 2, 3], [4])


def example(prompt: list[int], answer: list[int]) -> Example:
    action = [False] * len(prompt) + [True] * len(answer)
    return Example(np.array(prompt + answer, dtype=np.int32), np.array(action))


def of(prompt: list[int]):
    return pack_examples([(example(prompt, answer),) for answer in ANSWERS])


def tokens(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)


@pytest.fixture(scope="module")
def models():
    policy, teacher = (TorchScorer(tiny_model("qwen3", seed, 20)) for seed in (0, 1))
    return {
        "policy": policy,
        "teacher": Reprompted(teacher, {key_of(tokens(SHORT)): tokens(LONG)}),
        "plain": teacher,
    }


def test_log_probs_of_the_answers_after_the_hint(models):
    hinted = models["teacher"].score(of(SHORT), ["logp"])["logp"]
    whole, batch = of(LONG), of(SHORT)
    expected = models["plain"].score(whole, ["logp"])["logp"]
    assert torch.equal(hinted[batch.is_action], expected[whole.is_action])
    assert not hinted[~batch.is_action].any()
    alone = models["plain"].score(batch, ["logp"])["logp"]
    assert float((hinted - alone).abs().max()) > 0.01


def test_divergence_from_the_hinted_distribution(models):
    batch, whole, part = of(SHORT), of(LONG), Distill("reverse")
    (need,) = part.needs
    found = InProcessHost(models).score(batch, [Ask("policy", need)])[need.name]
    places = [b.is_action.nonzero()[:, 0] for b in (batch, whole)]
    logits = models["policy"].logits(batch)(places[0]), models["plain"].logits(whole)(places[1])
    assert torch.allclose(found[batch.is_action], part.between(*logits), atol=1e-6)
    some = places[0][[3, 1]]
    assert torch.allclose(models["teacher"].logits(batch)(some), logits[1][[3, 1]], atol=1e-6)


def test_answers_without_a_token_and_prompts_that_are_not_known(models):
    batch = pack_examples([(example(SHORT, []),), (example(SHORT, [3]),)])
    hinted = models["teacher"].reprompted(batch)
    assert hinted.token.tolist() == [*SHORT, *LONG, 3]
    assert hinted.offset.tolist() == [0, 2, 8]
    with pytest.raises(UserError, match="is none of the run's questions; leave teacher_question out"):
        models["teacher"].score(of([5, 5]), ["logp"])
