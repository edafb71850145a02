"""Short replies from a sampler, with the probabilities of their first token."""

import numpy as np
import pytest
import torch

from helpers import BYTES, tiny_model, tiny_tokenizer
from menon.engines.completer import Completer, begins_of
from menon.engines.decoding.torch_sampler import TorchSampler
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.reward.code.signatures import Asked
from menon.reward.judge import Judge


def encode(text: str) -> list[int]:
    return list(text.encode())


def decode(tokens) -> str:
    return tiny_tokenizer().decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)


def completer(model, **settings) -> Completer:
    return Completer(TorchSampler(model, tiny_tokenizer(), slots=3), encode, decode, **settings)


def next_probabilities(model, prompt: str) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([encode(prompt)])).logits[0, -1].double().softmax(-1)


def test_greedy_replies_with_the_probability_of_their_first_token():
    model = tiny_model()
    prompts = ["a question", "b", "another one of more tokens", "c"]
    replies = completer(model, max_new_tokens=1)(prompts)
    for prompt, (text, probabilities) in zip(prompts, replies, strict=True):
        p_V = next_probabilities(model, prompt)
        best = int(p_V.argmax())
        assert text == decode([best])
        assert probabilities == {decode([best]): pytest.approx(float(p_V[best]), abs=1e-5)}


def test_a_thought_that_the_template_opened_is_part_of_the_reply():
    ((text, _),) = completer(tiny_model(), opened="<think>", max_new_tokens=1)(["x"])
    assert text.startswith("<think>")


def test_a_scorer_adds_what_begins_yes_and_no():
    model = tiny_model()
    begins = begins_of(encode)
    assert begins == tuple(b"Yy Nn"[i] for i in (0, 1, 3, 4, 2))
    prompts = ["Reply:", "x"]
    replies = completer(model, begins=begins, scorer=TorchScorer(model))(prompts)
    for prompt, (_, probabilities) in zip(prompts, replies, strict=True):
        p_V = next_probabilities(model, prompt)
        for letter in "YyNn":
            assert probabilities[letter] == pytest.approx(float(p_V[ord(letter)]), abs=1e-5)


def test_a_prompt_that_does_not_fit_fails_alone():
    replies = completer(tiny_model(context=32))(["short", "long " * 20, "also short"])
    assert isinstance(replies[1], UserError)
    assert "context is 32" in str(replies[1])
    assert [isinstance(reply, tuple) for reply in replies] == [True, False, True]


def test_a_judge_on_a_model_of_bytes():
    """Its logits are made Y 3/4, N 1/4 whatever it reads. It says Y, which is no YES; but what it would say
    is known."""
    model = tiny_model(tied=False)
    logits = np.full(BYTES, -30.0)
    logits[[ord("Y"), ord("N")]] = np.log([0.75, 0.25])
    fixed_V = torch.tensor(logits, dtype=torch.float32)
    model.get_output_embeddings().register_forward_hook(lambda module, given, out: fixed_V.expand_as(out))
    plain = "{question}{final_step}{reference}"
    (verdict,) = Judge(completer(model, max_new_tokens=1), prompt=plain, soft=True).many(
        [Asked("p", "x", "a")]
    )
    assert (verdict.score, verdict.parts["judge_unparsable"]) == (0, 1)

    def spelt(tokens) -> str:
        return decode(tokens).replace("Y", "YES")

    whole = Completer(
        TorchSampler(model, tiny_tokenizer()), encode, spelt, begins_of(encode), TorchScorer(model)
    )
    replies = [("YES", probabilities) for _, probabilities in whole(["x"])]
    (verdict,) = Judge(lambda prompts: replies, prompt=plain, soft=True, renorm=True).many(
        [Asked("p", "x", "a")]
    )
    assert verdict.score == pytest.approx(0.75, abs=1e-5)
    (verdict,) = Judge(lambda prompts: replies, prompt=plain, soft=True).many([Asked("p", "x", "a")])
    assert verdict.score == pytest.approx(0.75, abs=1e-5)
