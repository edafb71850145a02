"""Engines on a pretended GPU: everything is where it must be, the numbers are the CPU's, and the host seldom
waits."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from batches import VOCAB, random_batch
from helpers import KINDS, prompt, tiny_model, tiny_tokenizer
from menon.correction.reject import Reject
from menon.engines import machine, packed
from menon.engines.completer import Completer, begins_of
from menon.engines.decoding.torch_sampler import TorchSampler, own_copy
from menon.engines.natural_gradient import NaturalLearner
from menon.engines.network import ValueModel, value_head
from menon.engines.preference_model import PreferenceModel
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.loss import GSPO, VESPO, EntropyBonus, PPOClip, ValueLoss
from menon.loss.aggregation import TokenMean
from menon.loss.exact_kl import ExactKL
from menon.loss.kl import KL
from menon.sync.by_copy import ByCopy
from menon.sync.by_reference import ByReference
from menon.types import Completion, Request, Sampling
from menon.update.optimiser import NaturalGradient, Optimiser
from menon.update.protocols import VALUE, VALUE_AFTER
from menon.update.terms import Term, Update
from pretend_device import Log, pretend_device
from scripted import answered, written_by
from updates import micros

V = 40


def twice(monkeypatch, work: Callable[[str], Any]) -> tuple[Any, Any, Log]:
    """What `work` gives on a CPU and on the pretended device."""
    want = work("cpu")
    with pretend_device(monkeypatch) as log:
        got = work("cuda")
    return want, got, log


class TestSampler:
    def requests(self) -> list[Request]:
        """Short and long beginnings, a shared prompt, truncation, greedy ones, a stop string, forking,
        prefixes."""
        kinds: list[dict[str, Any]] = [
            {},
            {"temperature": 0.7, "top_p": 0.8, "top_k": 5},
            {"temperature": 0.0},
            {"stop": ("7", "a1")},
            {"forking_temperature": 1.5, "entropy_threshold": 1.0},
        ]
        prefixes = np.array([], dtype=np.int32), np.array([3, 4], dtype=np.int32)
        return [
            Request(
                prompt(i, range(i + 1, 3 * i + 3), vocab=V),
                Sampling(5 + i + k, **kind),
                sample=k,
                prefix=prefixes[(i + k) % 2],
            )
            for i in range(3)
            for k, kind in enumerate(kinds)
        ]

    def answers(self, device: str, kind: Any, held: bool = False, **settings: Any) -> list[Completion]:
        sampler = TorchSampler(
            tiny_model(kind, vocab=V).to(device), tiny_tokenizer(V), seed=5, slots=5, **settings
        )
        with sampler.open(keep=held) as stream:
            found = answered(stream, self.requests())
            on = [
                replace(c.request, prefix=np.concatenate([c.request.prefix, c.tokens]), path=(1,))
                for c in found
            ]
            return [*found, *(answered(stream, on) if held else ())]

    @pytest.mark.parametrize(
        ("kind", "settings"),
        [*((kind, {"held": True}) for kind in KINDS), ("qwen3", {"fixed_slots": True}), ("llama", {})],
    )
    def test_answers_are_the_same(self, kind, settings, monkeypatch):
        want, got, _ = twice(monkeypatch, lambda device: self.answers(device, kind, **settings))
        assert len(got) == len(want) >= 15
        for a, b in zip(got, want, strict=True):
            assert (a.tokens.tolist(), a.text, a.finish) == (b.tokens.tolist(), b.text, b.finish)
            for name in ("logp", "log_kept", "entropy"):
                np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=2e-5)

    @pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
    def test_a_step_waits_for_its_tokens_and_their_numbers_alone(self, kind, monkeypatch):
        with pretend_device(monkeypatch) as log:
            sampler = TorchSampler(tiny_model(kind, vocab=V).to("cuda"), tiny_tokenizer(V))
            sampler.end_tokens = np.array([-1])
            settings = Sampling(20, top_p=0.9), Sampling(20, temperature=0.5), Sampling(20, temperature=0)
            requests = [Request(prompt(i, [1, 2, 3], vocab=V), setting) for i, setting in enumerate(settings)]
            written_by(sampler, requests[:1])
            log.clear()
            written_by(sampler, requests)
        assert len(log.waits) == 2 * 20
        assert all("scheduler.py" in wait for wait in log.waits)

    def test_weights_reach_it_both_ways(self, monkeypatch):
        with pretend_device(monkeypatch):
            learner = TorchLearner(tiny_model(vocab=V), Optimiser(), device="cuda")
            shared = TorchSampler(learner.model, tiny_tokenizer(V))
            copied = TorchSampler(own_copy(learner.model, torch.bfloat16), tiny_tokenizer(V))
            with torch.no_grad():
                learner.model.lm_head.weight.add_(1)
            ByReference(learner, shared).publish(1)
            ByCopy(learner, copied).publish(1)
            own, theirs = learner.weights(), copied.weights()
            assert all(torch.equal(own[name].to(torch.bfloat16), theirs[name]) for name in own)
            assert {weight.device.type for weight in theirs.values()} == {"cuda"}


OBJECTIVE = {
    "policy": Term(PPOClip(), TokenMean(), correction=(Reject(2.0),)),
    "kl": Term(KL(), TokenMean(), coef=0.1),
    "exact": Term(ExactKL(), TokenMean(), coef=0.1),
    "entropy": Term(EntropyBonus(), TokenMean(), coef=0.1),
}


class TestLearner:
    def learn(
        self,
        device: str,
        kind: Any = "qwen3",
        terms: Any = OBJECTIVE,
        log: Log | None = None,
        natural: bool = False,
        **settings: Any,
    ) -> dict[str, Any]:
        """Two updates: columns, metrics, gradients and weights."""
        batch = random_batch(4)
        batch = replace(batch, behaviour_logp=batch.reward - 3, ref_logp=batch.reward - 4)
        learner: Any = TorchLearner(
            tiny_model(kind, vocab=VOCAB),
            Optimiser(1e-3, eps=1e-4),
            device=device,
            tokens_per_forward=30,
            **settings,
        )
        learner = NaturalLearner(learner, NaturalGradient(iterations=1, tries=2)) if natural else learner
        models = {
            "policy": learner,
            "reference": TorchScorer(tiny_model(kind, seed=1, vocab=VOCAB), device=device),
        }
        found: dict[str, Any] = dict(learner.score(batch, ("logp", "entropy")))
        update = Update(dict(terms))
        for number in range(2):
            parts = micros(learner, update, batch, models)
            if log is not None:
                log.clear()
            metrics = learner.accumulate(parts, models)
            if log is not None:
                assert log == Log()  # one pass follows the other; what they found is read after the last
            grads = {
                f"{number} {name}": weight.grad
                for name, weight in learner.weights().items()
                if weight.grad is not None
            }
            found |= {name: grad.to("cpu").clone() for name, grad in grads.items()}
            metrics |= learner.step()
            found |= {f"{number} {name}": torch.tensor(float(metric)) for name, metric in metrics.items()}
        return found | {name: weight.detach().cpu() for name, weight in learner.weights().items()}

    def check(
        self, want: dict[str, Any], got: dict[str, Any], atol: float = 2e-5, rtol: float = 1e-4
    ) -> None:
        assert want.keys() == got.keys()
        for name, numbers in want.items():
            torch.testing.assert_close(
                got[name], numbers, atol=atol, rtol=rtol, msg=lambda m, name=name: f"{name}: {m}"
            )

    @pytest.mark.parametrize("kind", KINDS)
    def test_columns_gradients_and_weights_are_the_same(self, kind, monkeypatch):
        want, got, _ = twice(monkeypatch, partial(self.learn, kind=kind))
        assert sum(name.startswith(("0 model", "0 trans")) for name in got) > 10
        self.check(want, got)

    @pytest.mark.parametrize("loss", [GSPO(), VESPO()])
    def test_of_losses_over_sequences_too(self, loss, monkeypatch):
        want, got, _ = twice(monkeypatch, partial(self.learn, terms={"policy": Term(loss, TokenMean())}))
        self.check(want, got)

    def test_in_chunks_of_the_vocabulary(self, monkeypatch):
        want, got, _ = twice(monkeypatch, partial(self.learn, vocabulary_chunk=3 * VOCAB))
        self.check(want, got)

    def test_passes_do_not_wait(self, monkeypatch):
        with pretend_device(monkeypatch) as log:
            self.learn("cuda", log=log)

    def test_natural_gradients(self, monkeypatch):
        want, got, _ = twice(monkeypatch, partial(self.learn, natural=True))
        self.check(want, got, atol=2e-4, rtol=1e-3)

    def test_critics_of_both_kinds(self, monkeypatch):
        def learn(device: str, shared: bool) -> dict[str, Any]:
            model, batch = tiny_model(vocab=VOCAB), random_batch(4)
            if shared:
                learner = TorchLearner(
                    model, Optimiser(1e-3), device=device, heads={"value": value_head(16, "orz")}
                )
            else:
                learner = TorchLearner(
                    ValueModel(model.base_model, value_head(16, "orz")), Optimiser(1e-3), device=device
                )
            found = learner.score(batch, (VALUE, VALUE_AFTER))
            update, models = (
                Update({"value": Term(ValueLoss(), TokenMean())}, model="critic"),
                {"critic": learner},
            )
            learner.accumulate(micros(learner, update, batch, models), models)
            learner.step()
            return found | {name: weight.detach().cpu() for name, weight in learner.weights().items()}

        for shared in (False, True):
            want, got, _ = twice(monkeypatch, partial(learn, shared=shared))
            assert float(got["value"].abs().max()) > 0.1
            self.check(want, got)

    def test_state_goes_back_to_where_the_weights_are(self, monkeypatch):
        with pretend_device(monkeypatch):
            learner, batch = (
                TorchLearner(tiny_model(vocab=VOCAB), Optimiser(1e-2), device="cuda"),
                random_batch(4),
            )
            update = Update({"policy": Term(PPOClip(), TokenMean())})

            def step() -> dict[str, Any]:
                learner.accumulate(micros(learner, update, batch, {"policy": learner}), {})
                learner.step()
                return {name: weight.detach().cpu().clone() for name, weight in learner.weights().items()}

            weights = step()
            state = learner.state()
            moments = {
                name: {key: value.cpu().clone() for key, value in kept.items()}
                for name, kept in state["moments"].items()
            }
            kept = {**state, "moments": moments}
            want = step()
            learner.load(weights, kept)
            assert all(torch.equal(weight, want[name]) for name, weight in step().items())


class TestPackedAttention:
    """The kernel itself is replaced by one that demands what the real one does (torch/nn/attention/varlen.py
    and the checks of `_flash_attention_forward`) and computes the same in plain operations."""

    @pytest.fixture
    def calls(self, monkeypatch) -> list[tuple[int, int]]:
        calls: list[tuple[int, int]] = []

        def varlen_attn(
            query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size=(-1, -1), enable_gqa=False
        ):
            bounds, heads = cu_seq_q.tolist(), query.shape[1] // key.shape[1]
            for states in (query, key, value):
                assert states.is_cuda
                assert states.dtype == torch.bfloat16
                assert states.dim() == 3
                assert states.stride(-1) == 1
                assert len(states) == bounds[-1] > 0
                assert states.shape[-1] % 8 == 0
                assert states.shape[-1] <= 256
            assert cu_seq_q.is_cuda
            assert cu_seq_q.dtype == torch.int32
            assert cu_seq_q.is_contiguous()
            assert cu_seq_k.tolist() == bounds == sorted(bounds)
            assert bounds[0] == 0
            assert (type(max_q), type(max_k)) == (int, int)
            assert max_q == max_k == max(b - a for a, b in pairwise(bounds))
            assert window_size == (-1, 0)  # causal
            assert enable_gqa == (heads > 1)
            assert query.shape[1] % key.shape[1] == 0
            calls.append((len(bounds) - 1, bounds[-1]))
            mixed = []
            for a, b in pairwise(bounds):
                q, k, v = (
                    query[a:b].float(),
                    *(states[a:b].float().repeat_interleave(heads, 1) for states in (key, value)),
                )
                scores = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5
                ahead = torch.ones(b - a, b - a, dtype=torch.bool, device=q.device).triu(1)
                mixed.append(
                    torch.einsum("hqk,khd->qhd", scores.masked_fill(ahead, -torch.inf).softmax(-1), v)
                )
            return torch.cat(mixed).to(query.dtype)

        monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
        return calls

    def learner(self, device: str, heads: int = 2, **settings: Any) -> TorchLearner:
        model = tiny_model(
            vocab=VOCAB,
            hidden=16,
            num_attention_heads=heads,
            num_key_value_heads=1,
            head_dim=16 // heads,
            spread=0.1,
        )
        return TorchLearner(model, Optimiser(1e-3), device=device, tokens_per_forward=40, **settings)

    def columns(self, learner: TorchLearner, batch: Any) -> dict[str, Any]:
        found = learner.score(batch, ("logp", "entropy"))
        update = Update({"policy": Term(PPOClip(), TokenMean())})
        learner.accumulate(micros(learner, update, batch, {"policy": learner}), {})
        grads = [weight.grad.flatten() for weight in learner.weights().values() if weight.grad is not None]
        return found | {"gradient": torch.cat(grads).to("cpu")}

    def test_the_kernel_gets_what_it_takes_and_gives_the_same(self, calls, monkeypatch):
        batch = random_batch(4)
        want = self.columns(self.learner("cpu"), batch)
        with pretend_device(monkeypatch):
            got = self.columns(self.learner("cuda", autocast=torch.bfloat16), batch)
        assert len(calls) >= 4
        for name in ("logp", "entropy"):
            torch.testing.assert_close(got[name], want[name], atol=0.03, rtol=0)
        assert float((got["gradient"] - want["gradient"]).norm() / want["gradient"].norm()) < 0.05

    @pytest.mark.parametrize(
        ("capability", "heads", "autocast"),
        [((7, 5), 2, torch.bfloat16), ((9, 0), 4, torch.bfloat16), ((9, 0), 2, None)],
    )
    def test_what_the_kernel_does_not_take_goes_without_it(
        self, calls, monkeypatch, capability, heads, autocast
    ):
        want = self.columns(self.learner("cpu", heads), random_batch(4))
        with pretend_device(monkeypatch, capability):
            got = self.columns(self.learner("cuda", heads, autocast=autocast), random_batch(4))
        assert not calls
        torch.testing.assert_close(got["logp"], want["logp"], atol=0.03 if autocast else 2e-5, rtol=0)

    def test_a_batch_without_actions_needs_no_kernel(self, calls, monkeypatch):
        batch = random_batch(4)
        batch = replace(batch, is_action=torch.zeros_like(batch.is_action))
        with pretend_device(monkeypatch):
            scored = self.learner("cuda", autocast=torch.bfloat16).score(batch, ("logp",))
        assert not calls
        assert float(scored["logp"].abs().max()) == 0

    def test_the_real_kernel_has_these_arguments(self):
        import inspect

        from torch.nn.attention.varlen import varlen_attn

        names = list(inspect.signature(varlen_attn).parameters)
        assert names[:7] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
        assert {"window_size", "enable_gqa"} <= set(names)


class TestRewardModels:
    def test_a_preference_model(self, monkeypatch):
        from transformers import Qwen3Config, Qwen3ForSequenceClassification

        def scores(device: str) -> list[float]:
            config = Qwen3Config(
                vocab_size=V,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_labels=1,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=4,
                pad_token_id=None,
            )
            torch.manual_seed(0)
            model = Qwen3ForSequenceClassification(config).eval().to(device)
            return PreferenceModel(model, tiny_tokenizer(V), 64, tokens_per_forward=20)(
                ["1+2=3", "4", "12*12=144 a"]
            )

        want, got, _ = twice(monkeypatch, scores)
        np.testing.assert_allclose(got, want, atol=1e-5)

    def test_a_judge(self, monkeypatch):
        tokenizer = tiny_tokenizer(V)

        def tokenize(text: str) -> list[int]:
            return tokenizer(text, add_special_tokens=False)["input_ids"]

        def replies(device: str) -> Any:
            model = tiny_model(vocab=V).to(device)
            scorer = TorchScorer(model, device=device)
            return Completer(
                TorchSampler(model, tokenizer),
                tokenize,
                tokenizer.decode,
                begins_of(lambda text: [3, 5]),
                scorer,
            )(["1+2=3", "4=4, a"])

        want, got, _ = twice(monkeypatch, replies)
        for (text, probability), (wanted, expected) in zip(got, want, strict=True):
            assert text == wanted
            assert probability == pytest.approx(expected, abs=1e-5)


def test_a_gpu_has_no_workers_and_its_own_memory(monkeypatch):
    with pretend_device(monkeypatch):
        device = torch.device("cuda:0")
        assert machine.workers(10, device) == 1
        assert machine.free_bytes(device) == 9 * 2**30  # 8 free, and 1 that torch has set aside
        assert machine.has_bf16(device)
        assert TorchLearner(tiny_model(vocab=V), Optimiser(), device="cuda").workers == 1
    assert packed._has_packed_kernel(torch.device("cpu"), 64) is False
