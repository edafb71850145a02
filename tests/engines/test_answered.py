"""The policy that reads the gold answer in the place of its own: which tokens are scored, and after what."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from helpers import tiny_model, tiny_tokenizer
from menon.batch import Batch, pack_examples
from menon.engines.answered import Answered
from menon.engines.decoding.stop_strings import text_of
from menon.engines.reprompted import key_of
from menon.engines.tokens import continue_with
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.types import Example
from menon.update.scoring import ANSWER_PRIOR, ANSWER_PROB

PIECES = ["?", "7", "#", "1", "2", "#1", "3", "12", "."]
"""Token by number; some join the marker or several digits."""


def tokens(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def decode(ids: list[int]) -> str:
    return "".join(PIECES[token] for token in ids)


def tokenize(text: str, before: Sequence[int]) -> list[int]:
    """The longest pieces first."""
    ids = []
    while text:
        piece = max((p for p in PIECES if text.startswith(p)), key=len)
        ids.append(PIECES.index(piece))
        text = text[len(piece) :]
    return ids


def of(*rows: tuple[list[int], list[int]]) -> Batch:
    return pack_examples(
        [
            (Example(tokens(prompt + said), np.array([False] * len(prompt) + [True] * len(said))),)
            for prompt, said in rows
        ]
    )


class Halves:
    """A scorer whose tokens have probability 1/2 at place 1, 1/4 at place 2, and so on."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], list[bool]]] = []

    def score(self, batch, needs, models=None):
        for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
            self.seen.append((batch.token[start:end].tolist(), batch.is_action[start:end].tolist()))
        return {"logp": torch.where(batch.is_action, 0.5 ** batch.position.double(), 0).log()}

    def logits(self, batch):
        raise NotImplementedError

    def weights(self):
        return {}


def answered(reference: str = "13", context: int | None = None) -> tuple[Answered, Halves]:
    scorer = Halves()
    return Answered(scorer, {key_of(tokens([0])): reference}, "#", decode, tokenize, context), scorer


def test_the_mean_probability_of_the_gold_answers_tokens():
    """`?7#12` becomes `?7#` and 1, 3: places 3 and 4, (1/8 + 1/16) / 2. Without reasoning `?` and `#1`, 3:
    places 1 and 2, (1/2 + 1/4) / 2; the token `#1` holds a character of the gold answer and so counts."""
    model, scorer = answered()
    found = model.score(of(([0], [1, 2, 3, 4])), [ANSWER_PROB, ANSWER_PRIOR])
    assert found["answer_prob"].tolist() == [0, 0, 0, 0, pytest.approx(3 / 32)]
    assert found["answer_prior"].tolist() == [0, 0, 0, 0, pytest.approx(3 / 8)]
    assert scorer.seen == [
        ([0, 1, 2, 3, 6], [False, False, False, True, True]),
        ([0, 5, 6], [False, True, True]),
    ]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (
            [1, 5, 4],
            [0, 1, 5, 6],
        ),  # the marker ends inside `#1`, which is tokenised again
        ([2, 4, 1, 2, 3], [0, 2, 4, 1, 2, 3, 6]),  # the last marker counts
        ([1, 2], [0, 1, 2, 3, 6]),  # cut after the marker
        ([1, 2, 3, 8, 8], [0, 1, 2, 3, 6]),  # what follows the answer is gone
    ],
)
def test_where_the_gold_answer_goes(said, read):
    model, scorer = answered()
    model.score(of(([0], said)), [ANSWER_PROB])
    assert [ids for ids, _ in scorer.seen] == [read]


def test_answers_without_a_place():
    """No marker; nothing written; no room in a context of 4, where the shortest of them still fits."""
    model, scorer = answered(context=4)
    batch = of(([0], [1, 4]), ([0], []), ([0], [1, 2, 4]), ([0], [2, 4]))
    assert model.score(batch, [ANSWER_PROB])["answer_prob"].tolist() == pytest.approx(
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (1 / 4 + 1 / 8) / 2]
    )
    assert len(scorer.seen) == 1


def test_equal_texts_are_scored_once():
    model, scorer = answered()
    found = model.score(of(([0], [1, 2, 3]), ([0], [1, 2, 3]), ([0], [2])), [ANSWER_PRIOR, ANSWER_PROB])
    assert len(scorer.seen) == 3  # the prior, `7#` and `#`
    assert found["answer_prob"][[3, 7]].tolist() == [pytest.approx(3 / 32)] * 2


def test_by_a_real_forward_pass():
    """Against the softmax of the model's own logits, at the temperature of the scorer."""
    model, tokenizer = tiny_model("qwen3", 3), tiny_tokenizer()
    ids = tokenizer("3+4=", add_special_tokens=False)["input_ids"]
    scorer = TorchScorer(model, temperature=2.0)
    read = Answered(
        scorer, {key_of(tokens(ids)): "7!"}, "#", text_of(tokenizer, False), continue_with(tokenizer)
    )
    said = tokenizer("so #9", add_special_tokens=False)["input_ids"]
    found = read.score(of((ids, said)), [ANSWER_PROB])["answer_prob"][-1]
    whole = tokenizer("3+4=so #7!", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        p = (model(torch.tensor([whole])).logits[0] / 2).softmax(-1)
    assert float(found) == pytest.approx(float((p[-3, whole[-2]] + p[-2, whole[-1]]) / 2), rel=1e-5)


def test_prompts_that_are_not_known():
    with pytest.raises(UserError, match="a prompt of this step is none of the run's questions; leave it out"):
        answered()[0].score(of(([1], [2, 3])), [ANSWER_PROB])
