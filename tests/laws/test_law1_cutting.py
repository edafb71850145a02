"""Law 1: gradients do not depend on how an update is cut into forward passes, nor on the order of its
sequences.

With every seam's user: three normalisers beside each other, a critic, selections, whole-update statistics,
units that must not be cut, a reduction over the vocabulary. In fp64 on GPT-2: the norms of Llama and Qwen
compute in fp32 whatever the weights.
"""

from dataclasses import dataclass, replace

import pytest
import torch

from batches import VOCAB, near, random_batch
from helpers import tiny_model
from menon.arrange import AllPairs, BestOf, BestWorst, Varied
from menon.batch import Batch, take
from menon.engines.in_process import InProcessHost
from menon.engines.network import ValueModel, value_head
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.loss.aggregation import (
    PairMean,
    PairMeanTokenMean,
    PromptMean,
    SequenceMean,
    SequenceMeanTokenMean,
)
from menon.loss.dpo import DPO
from menon.loss.kto import KTO
from menon.loss.nll import NLL
from menon.loss.ppo_clip import PPOClip
from menon.select.correct import Correct
from menon.update.host import Job
from menon.update.objective import cut, prepare
from menon.update.optimiser import Optimiser
from menon.update.terms import AnyTerm, MiniBatch, Term, Update, split
from objectives import CRITIC, POLICY, amplified

WHOLE = 10**9
CUTS = (1, 30, 50)
"""One unit in each pass; a few; some."""

KINDS = {torch.float32: ("qwen3", 1.5e-6), torch.float64: ("gpt2", 1e-12)}

LEARNED = {
    "all_pairs": list(range(12)),
    "best_of": [1, 11],
    "best_worst": [0, 1, 10, 11],
    "varied": [0, 1, 2, 3, 8, 9, 10, 11],
}
"""Sequences that each part chooses of the groups of four."""


@dataclass(frozen=True)
class Setting:
    """Models of one dtype, and a batch near them."""

    models: dict[str, TorchScorer]
    batch: Batch
    bound: float


@pytest.fixture(scope="module", params=KINDS, ids=["fp32", "fp64"])
def setting(request) -> Setting:
    dtype = request.param
    kind, bound = KINDS[dtype]
    hidden = 16

    def model(seed: int) -> torch.nn.Module:
        return tiny_model(kind, seed, VOCAB, dtype, hidden=hidden)

    def head(seed: int) -> torch.nn.Linear:
        return value_head(hidden, "orz", seed).to(dtype)

    torch.set_num_threads(1)
    policy = TorchLearner(model(0), Optimiser(), temperature=0.8, heads={"value": head(0), "reward": head(2)})
    critic = TorchLearner(ValueModel(model(1).base_model, head(1)), Optimiser())
    models = {"policy": policy, "critic": critic, "reference": TorchScorer(model(2), temperature=0.8)}
    models["teacher"] = TorchScorer(model(3), temperature=0.8)
    batch = random_batch(dtype=dtype)
    return Setting(models, near(batch, policy.score(batch, ("logp",))["logp"]), bound)


def gradient(
    setting: Setting, update: Update, tokens_per_forward: int, batch: Batch | None = None
) -> tuple[torch.Tensor, int]:
    """The whole gradient of one update as a vector, by sequences in the order of `batch`; and the number of
    passes."""
    batch = setting.batch if batch is None else batch
    part = MiniBatch(update, torch.arange(batch.num_sequences), first=False)
    return gradient_of(
        setting, prepare(part, batch, InProcessHost(setting.models)), tokens_per_forward, update.model
    )


def gradient_of(
    setting: Setting, job: Job, tokens_per_forward: int, model: str = "policy"
) -> tuple[torch.Tensor, int]:
    learner = setting.models[model]
    assert isinstance(learner, TorchLearner)
    learner.tokens_per_forward = tokens_per_forward
    micros = list(cut(job, tokens_per_forward, learner.workers))
    learner.accumulate(micros, setting.models)
    grads = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in learner.weights().values()]
    for weight in learner.weights().values():
        weight.grad = None
    return torch.cat([grad.flatten() for grad in grads]), len(micros)


def bound_of(setting: Setting, update: Update) -> float:
    fp32 = next(iter(setting.models[update.model].weights().values())).dtype == torch.float32
    return setting.bound * (amplified(update) if fp32 else 1)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("update", [*POLICY.values(), CRITIC], ids=[*POLICY, "a critic of its own"])
def test_the_cut_cannot_change_the_gradient(setting: Setting, update: Update):
    whole, passes = gradient(setting, update, WHOLE)
    assert passes == 1
    assert whole.norm() > 1e-3
    shuffled = take(
        setting.batch, torch.randperm(setting.batch.num_sequences, generator=torch.Generator().manual_seed(1))
    )
    for tokens_per_forward in CUTS:
        for batch in (setting.batch, shuffled):
            other, passes = gradient(setting, update, tokens_per_forward, batch)
            assert passes > 1
            assert distance(other, whole) < bound_of(setting, update), f"{passes} passes"


def test_a_statistic_of_answers_after_other_prompts(setting: Setting):
    """KTO's z is over the whole update, whatever the cut and the order. Under a cold reference random texts
    are less likely than under the policy, so z is not 0."""
    cold = TorchScorer(setting.models["reference"].model, temperature=0.2)
    setting = replace(setting, models={**setting.models, "reference": cold})
    offset, token = setting.batch.offset.tolist(), setting.batch.token.clone()
    for one, other in zip(offset[:-1:2], offset[1:-1:2], strict=True):
        token[other : other + 2] = token[one : one + 2]  # two answers to one prompt of two tokens
    batch = replace(setting.batch, token=token)
    update = Update({"policy": Term(KTO(beta=0.5), SequenceMean())})
    every = torch.arange(batch.num_sequences)
    job = prepare(MiniBatch(update, every, first=False), batch, InProcessHost(setting.models))
    assert float(job.terms["policy"].columns["kto_kl"].min()) > 0.5
    whole, _ = gradient(setting, update, WHOLE, batch)
    shuffled = take(batch, torch.randperm(batch.num_sequences, generator=torch.Generator().manual_seed(1)))
    for tokens_per_forward in CUTS:
        for given in (batch, shuffled):
            other_gradient, passes = gradient(setting, update, tokens_per_forward, given)
            assert passes > 1
            assert distance(other_gradient, whole) < setting.bound


@pytest.mark.parametrize("update", [*list(POLICY.values())[::4], CRITIC])
def test_passes_side_by_side_cannot_change_the_gradient(setting: Setting, update: Update, monkeypatch):
    whole, _ = gradient(setting, update, WHOLE)
    monkeypatch.setattr(setting.models[update.model], "workers", 2)
    for tokens_per_forward in (WHOLE, *CUTS):
        other, passes = gradient(setting, update, tokens_per_forward)
        assert passes > 1
        assert distance(other, whole) < bound_of(setting, update), f"{passes} passes"


@pytest.mark.parametrize("part", [AllPairs(), BestOf(), BestWorst(), Varied()], ids=lambda part: part.kind)
def test_what_is_left_out_cannot_change_the_gradient(setting: Setting, part):
    """An update of what `arrange` chose is the update of a batch that never held the rest."""
    reward = torch.zeros_like(setting.batch.reward)
    reward[setting.batch.offset[1:] - 1] = torch.tensor([0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 3]).to(reward)
    batch = part(replace(setting.batch, reward=reward, group=torch.arange(12) // 4))
    terms: dict[str, AnyTerm] = {
        "nll": Term(NLL(), PromptMean()),
        "policy": Term(PPOClip(), SequenceMeanTokenMean()),
    }
    if "pair" in part.writes:
        terms = {"policy": Term(DPO(), PairMean()), "nll": Term(NLL(), PairMeanTokenMean(), Correct())}
    update = Update(terms)
    (chosen,) = split(batch, update, seed=0, step=0)
    assert chosen.rows.tolist() == LEARNED[part.kind]
    whole, _ = gradient(setting, update, WHOLE, replace(take(batch, chosen.rows), learn=None))
    job = prepare(replace(chosen, first=False), batch, InProcessHost(setting.models))
    found = [gradient_of(setting, job, tokens_per_forward) for tokens_per_forward in (1, 30, WHOLE)]
    assert found[0][1] > found[-1][1] == 1
    assert all(distance(other, whole) < bound_of(setting, update) for other, _ in found)


def test_a_term_matters(setting: Setting):
    """The law must not hold because a term is lost: without any one of its terms the gradient is another."""
    update = POLICY["policy, KL and value on one trunk: three normalisers"]
    whole, _ = gradient(setting, update, 50)
    for name in update.terms:
        without, _ = gradient(
            setting, replace(update, terms={k: v for k, v in update.terms.items() if k != name}), 50
        )
        assert distance(without, whole) > 1e-3, name


def test_an_update_with_an_invalid_sequence(setting: Setting):
    """What is masked stays out of every normaliser, wherever the cut puts it."""
    valid = setting.batch.valid.clone()
    valid[3] = False
    masked = replace(setting.batch, valid=valid)
    without = take(setting.batch, valid.nonzero()[:, 0])
    update = POLICY["policy, KL and value on one trunk: three normalisers"]
    one, _ = gradient(setting, update, 30, masked)
    other, _ = gradient(setting, update, WHOLE, without)
    assert distance(one, other) < setting.bound
