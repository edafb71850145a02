import copy
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from batches import VOCAB, near, random_batch
from helpers import tiny_model
from menon.correction.reject import Reject
from menon.engines import decoder, forward, machine, torch_learner
from menon.engines.network import ValueModel, value_head
from menon.engines.protocols import Learner
from menon.engines.torch_learner import MOST_SKIPPED, TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.loss.aggregation import TokenMean
from menon.loss.entropy_bonus import EntropyBonus
from menon.loss.exact_kl import ExactKL
from menon.loss.kl import KL
from menon.loss.ppo_clip import PPOClip
from menon.loss.value import ValueLoss
from menon.types import Metric, Unit
from menon.update.optimiser import Optimiser
from menon.update.protocols import VALUE, Need
from menon.update.terms import Term, Update
from updates import learn, micros

TAU = 0.7
POLICY = Update({"policy": Term(PPOClip(), TokenMean()), "kl": Term(KL(), TokenMean(), coef=0.1)})


def gradients(learner, update, batch, models=None):
    models = {"policy": learner, **(models or {})}
    learner.accumulate(micros(learner, update, batch, models), models)
    grads = {
        name: weight.grad.clone() for name, weight in learner.weights().items() if weight.grad is not None
    }
    for weight in learner.weights().values():
        weight.grad = None
    return grads


def learner_of(seed=0, optimiser=None, **settings):
    return TorchLearner(tiny_model(seed=seed, vocab=VOCAB), optimiser or Optimiser(1e-2), **settings)


def weights_of(learner):
    return {name: weight.detach().clone() for name, weight in learner.weights().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestChunks:
    UPDATE = Update(
        {
            "policy": Term(PPOClip(), TokenMean()),
            "entropy": Term(EntropyBonus(), TokenMean(), coef=0.3),
            "kl": Term(ExactKL(), TokenMean(), coef=0.2),
        }
    )

    def gradient(self, vocabulary_chunk):
        model = tiny_model("gpt2", 0, VOCAB, torch.float64)
        learner = TorchLearner(model, Optimiser(), vocabulary_chunk=vocabulary_chunk, temperature=TAU)
        reference = TorchScorer(
            tiny_model("gpt2", 1, VOCAB, torch.float64), vocabulary_chunk=vocabulary_chunk, temperature=TAU
        )
        seen = []
        for scorer in (learner, reference):
            scorer.model.get_output_embeddings().register_forward_hook(
                lambda _, inputs, out: seen.append(len(out))
            )
        batch = random_batch(dtype=torch.float64)
        batch = near(batch, learner.score(batch, ("logp",))["logp"])
        seen.clear()
        return (
            gradients(learner, self.UPDATE, batch, {"reference": reference}),
            seen,
            int(batch.is_action.sum()),
        )

    def test_the_vocabulary_in_chunks_gives_the_same_gradient_in_bounded_memory(self):
        plain, rows, actions = self.gradient(10**9)
        assert rows == [actions, actions]
        chunked, rows, _ = self.gradient(5 * VOCAB)
        assert max(rows) == 5
        assert sum(rows) == 4 * actions  # policy and reference, once forward, once again in the backward pass
        for name, gradient in plain.items():
            assert float((chunked[name] - gradient).norm() / gradient.norm()) < 1e-12, name

    def test_a_row_is_the_least(self):
        scorer = TorchScorer(tiny_model(vocab=VOCAB), vocabulary_chunk=1)
        batch = random_batch(3)
        torch.testing.assert_close(
            scorer.score(batch, ("logp",)), TorchScorer(scorer.model).score(batch, ("logp",))
        )


class TestUpdates:
    def test_the_first_step_of_adamw_by_hand(self):
        """m / sqrt(v) is the gradient's sign at first: every weight moves by rate * (1 + decay * weight),
        down the slope."""
        learner = learner_of(
            optimiser=Optimiser(0.01, weight_decay=0.1, eps=0.0, clip_norm=0.0, warmup_updates=4)
        )
        batch = random_batch()
        batch = near(batch, learner.score(batch, ("logp",))["logp"])
        learner.accumulate(micros(learner, POLICY, batch, {"policy": learner}), {"policy": learner})
        grads = {name: weight.grad.clone() for name, weight in learner.weights().items()}
        before = weights_of(learner)
        metrics = learner.step()
        rate = 0.01 / 4
        for name, weight in learner.weights().items():
            moved = before[name] * (1 - rate * 0.1) - rate * grads[name].sign()
            torch.testing.assert_close(weight.detach(), moved, rtol=1e-5, atol=1e-6)
            moments = learner.state()["moments"][name]
            torch.testing.assert_close(moments["exp_avg"], 0.1 * grads[name])
            torch.testing.assert_close(moments["exp_avg_sq"], 0.05 * grads[name].square())
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads.values()))
        assert float(metrics["grad_norm"]) == pytest.approx(norm, rel=1e-5)
        assert float(metrics["learning_rate"]) == rate
        assert all(weight.grad is None for weight in learner.weights().values())

    def test_the_norm_is_clipped(self):
        """Moments show what AdamW was given: exp_avg = (1 - beta1) * gradient."""
        learner = learner_of(optimiser=Optimiser(clip_norm=0.01))
        batch = random_batch()
        metrics = learn(
            near(batch, learner.score(batch, ("logp",))["logp"]), POLICY, {"policy": learner}, 0, 0
        )
        given = torch.cat([m["exp_avg"].flatten() / 0.1 for m in learner.state()["moments"].values()])
        assert float(metrics["grad_norm"]) > 0.1
        assert float(given.norm()) == pytest.approx(0.01, rel=1e-3)

    def test_a_gradient_that_is_not_finite_moves_nothing(self):
        learner, batch = learner_of(), random_batch()
        batch = near(batch, learner.score(batch, ("logp",))["logp"])
        models = {"policy": learner}
        learn(batch, POLICY, models, 0, 0)
        before, moments = weights_of(learner), copy.deepcopy(learner.state()["moments"])
        broken = replace(batch, advantage=torch.where(batch.is_action, math.inf, 0.0))
        metrics = learn(broken, POLICY, models, 0, 1)
        assert float(metrics["update/skipped"]) == 1
        assert "grad_norm" not in metrics
        assert same(before, weights_of(learner))
        assert all(same(moments[name], kept) for name, kept in learner.state()["moments"].items())
        assert learner.state()["updates"] == 1
        metrics = learn(batch, POLICY, models, 0, 2)  # and the next one is sound again
        assert float(metrics["update/skipped"]) == 0
        assert not same(before, weights_of(learner))
        for step in range(MOST_SKIPPED - 1):
            learn(broken, POLICY, models, 0, step)
        with pytest.raises(
            UserError, match="10 updates in a row had a gradient that is not finite; lower learning_rate"
        ):
            learn(broken, POLICY, models, 0, 0)

    def test_an_update_where_every_token_is_masked_moves_nothing(self):
        learner, batch = learner_of(optimiser=Optimiser(1e-2, weight_decay=0.1)), random_batch()
        batch = near(batch, learner.score(batch, ("logp",))["logp"])
        models = {"policy": learner}
        learn(batch, POLICY, models, 0, 0)
        before = weights_of(learner)
        metrics = learn(replace(batch, valid=torch.zeros_like(batch.valid)), POLICY, models, 0, 1)
        assert (float(metrics["update/empty"]), float(metrics["update/skipped"])) == (1, 0)
        assert same(before, weights_of(learner))
        assert learner.state()["updates"] == 1

    def test_an_update_whose_tokens_are_all_rejected_moves_nothing(self):
        """The moments of the update before would move it."""
        learner, batch = learner_of(), random_batch()
        own = learner.score(batch, ("logp",))["logp"]
        models = {"policy": learner}
        term = Term(PPOClip(), TokenMean(), correction=(Reject(1.01, 0.99),))
        near_by = replace(batch, behaviour_logp=own)
        assert float(learn(near_by, Update({"policy": term}), models, 0, 0)["update/empty"]) == 0
        before = weights_of(learner)
        far = replace(batch, behaviour_logp=own - 1)
        metrics = learn(far, Update({"policy": term}), models, 0, 1)
        assert (float(metrics["update/empty"]), float(metrics["mismatch/masked"])) == (1, 1)
        assert same(before, weights_of(learner))

    def test_a_critic_learns_its_targets(self):
        critic = TorchLearner(ValueModel(tiny_model(vocab=VOCAB).base_model, value_head(16)), Optimiser(1e-2))
        update = Update({"value": Term(ValueLoss(), TokenMean())}, model="critic")
        losses = [
            float(learn(random_batch(), update, {"critic": critic}, 0, s)["loss/value"]) for s in range(40)
        ]
        assert losses[-1] < 0.2 * losses[0]

    def test_one_pass_serves_policy_and_value_on_a_shared_trunk(self, monkeypatch):
        learner = learner_of(heads={"value": value_head(16, "orz")})
        assert "value_head.weight" in learner.weights()
        passes = []
        monkeypatch.setattr(
            forward, "layer_states", lambda *given: passes.append(1) or decoder.layer_states(*given)
        )
        update = replace(POLICY, terms=POLICY.terms | {"value": Term(ValueLoss(), TokenMean())})
        batch = random_batch()
        batch = near(batch, learner.score(batch, ("logp",))["logp"])
        passes.clear()
        grads = gradients(learner, update, batch)
        assert len(passes) == 1
        assert grads["value_head.weight"].norm() > 0

    def test_dropout_is_off_while_training(self):
        model = tiny_model("gpt2", vocab=VOCAB).train()
        dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
        assert dropouts
        for dropout in dropouts:
            dropout.p = 0.5
        learner = TorchLearner(model, Optimiser())
        batch = random_batch()
        now = learner.forward(batch, ("logp",), {})["logp"]
        assert torch.equal(now.detach(), learner.forward(batch, ("logp",), {})["logp"].detach())

    def test_weights_of_little_precision_are_refused(self):
        with pytest.raises(UserError, match="set autocast"):
            TorchLearner(tiny_model(vocab=VOCAB, dtype=torch.bfloat16), Optimiser())

    def test_it_is_a_learner(self):
        assert isinstance(learner_of(), Learner)
        assert not isinstance(TorchScorer(tiny_model(vocab=VOCAB)), Learner)


def distance(one, other):
    assert one.keys() == other.keys()
    one, other = (torch.cat([gradients[name].flatten() for name in gradients]) for gradients in (one, other))
    return float((one - other).norm() / other.norm())


class TestSideBySide:
    BOTH = replace(POLICY, terms=POLICY.terms | {"value": Term(ValueLoss(), TokenMean())})

    def learners(self, dtype=torch.float32, **settings):
        """The same learner with one worker and with two."""
        for workers in (1, 2):
            torch.set_num_threads(workers)
            head = value_head(16, "orz").to(dtype)
            learner = TorchLearner(
                tiny_model(vocab=VOCAB, dtype=dtype), Optimiser(1e-2), heads={"value": head}, **settings
            )
            assert learner.workers == workers
            yield learner

    @pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
    @pytest.mark.parametrize("tokens_per_forward", [8192, 40])
    def test_changes_neither_gradient_nor_metrics_nor_scores(self, dtype, bound, tokens_per_forward):
        batch = random_batch(dtype=dtype)
        alone, beside = self.learners(dtype, tokens_per_forward=tokens_per_forward)
        scored, again = (learner.score(batch, ("logp", "entropy", VALUE)) for learner in (alone, beside))
        for name, column in again.items():
            assert not column.requires_grad
            torch.testing.assert_close(column, scored[name], rtol=bound, atol=5 * bound)
        batch = near(batch, scored["logp"])
        cuts = [
            len(list(micros(learner, self.BOTH, batch, {"policy": learner}))) for learner in (alone, beside)
        ]
        assert cuts[1] >= 2 * cuts[0]
        assert distance(gradients(beside, self.BOTH, batch), gradients(alone, self.BOTH, batch)) < bound
        one, two = (learn(batch, self.BOTH, {"policy": learner}, 0, 0) for learner in (alone, beside))
        assert {"grad_norm", "kl/ref_k1", "ratio/mean", "loss/value", "update/empty"} <= one.keys()
        assert {name: float(metric) for name, metric in two.items()} == pytest.approx(
            {name: float(metric) for name, metric in one.items()}, rel=10 * bound, abs=10 * bound
        )

    def test_same_inputs_same_bits(self):
        runs = []
        for _ in range(2):
            _, learner = self.learners(tokens_per_forward=40)
            batch = near(random_batch(), learner.score(random_batch(), ("logp",))["logp"])
            for step in range(3):
                learn(batch, replace(self.BOTH, count=2), {"policy": learner}, 0, step)
            runs.append(weights_of(learner))
        assert same(*runs)

    def test_a_reference_that_is_the_start_is_at_distance_zero_bit_for_bit(self):
        _, learner = self.learners()
        reference = TorchScorer(copy.deepcopy(learner.model))
        batch = replace(random_batch(), ref_logp=reference.score(random_batch(), ("logp",))["logp"])
        grads = gradients(learner, Update({"kl": Term(KL("k3"), TokenMean())}), batch)
        assert all(float(gradient.abs().max()) == 0 for gradient in grads.values())

    def test_an_error_of_a_pass_comes_through(self):
        _, learner = self.learners(tokens_per_forward=40)
        batch = random_batch()
        batch = replace(
            near(batch, torch.zeros(batch.num_tokens)), is_action=batch.is_action | (batch.position == 0)
        )
        for act in (lambda: learner.score(batch, ("logp",)), lambda: gradients(learner, POLICY, batch)):
            with pytest.raises(UserError, match="a sequence begins with a token of the policy"):
                act()
            assert torch.get_num_threads() == 2

    def test_an_update_without_a_weight_moves_nothing(self):
        _, learner = self.learners(tokens_per_forward=40)
        batch = near(random_batch(), learner.score(random_batch(), ("logp",))["logp"])
        before = weights_of(learner)
        nothing = replace(batch, valid=torch.zeros_like(batch.valid))
        assert float(learn(nothing, self.BOTH, {"policy": learner}, 0, 0)["update/empty"]) == 1
        assert same(before, weights_of(learner))
        assert learner.accumulate([], {"policy": learner}) == {}
        assert float(learn(batch, self.BOTH, {"policy": learner}, 0, 1)["update/empty"]) == 0
        assert not same(before, weights_of(learner))

    def test_a_forward_pass_that_is_not_ours_runs_alone(self):
        torch.set_num_threads(2)
        assert TorchScorer(tiny_model("gpt2", vocab=VOCAB)).workers == 1


class TestLarge:
    """A model that counts as large: passes by prompt, whose gradients are added in place."""

    def learners(self, monkeypatch, kind="llama", dtype=torch.float32, **settings):
        """The same learner as a small model's and as a large one's."""
        for small, most in ((machine.SMALL, 8192), (0, 25)):
            monkeypatch.setattr(machine, "SMALL", small)
            monkeypatch.setattr(machine, "AT_ONCE", most)
            head = value_head(16, "orz").to(dtype)
            model = tiny_model(kind, vocab=VOCAB, dtype=dtype, tied=kind != "qwen3")
            learner = TorchLearner(model, Optimiser(1e-2), heads={"value": head}, **settings)
            assert (learner.by_prompt, learner.workers) == (small == 0, 1)
            yield learner

    @pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
    @pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
    def test_changes_neither_gradient_nor_metrics_nor_scores(self, monkeypatch, kind, dtype, bound):
        torch.set_num_threads(1)
        batch, update = random_batch(dtype=dtype), TestSideBySide.BOTH
        small, large = self.learners(monkeypatch, kind, dtype)
        scored, again = (learner.score(batch, ("logp", "entropy", VALUE)) for learner in (small, large))
        for name, column in again.items():
            torch.testing.assert_close(column, scored[name], rtol=bound, atol=5 * bound)
        batch = near(batch, scored["logp"])
        assert len(list(micros(large, update, batch, {"policy": large}))) > 2
        assert distance(gradients(large, update, batch), gradients(small, update, batch)) < bound
        one, two = (learn(batch, update, {"policy": learner}, 0, 0) for learner in (small, large))
        assert {name: float(metric) for name, metric in two.items()} == pytest.approx(
            {name: float(metric) for name, metric in one.items()}, rel=10 * bound, abs=10 * bound
        )

    def test_same_inputs_same_bits(self, monkeypatch):
        runs = []
        for _ in range(2):
            _, learner = self.learners(monkeypatch)
            batch = near(random_batch(), learner.score(random_batch(), ("logp",))["logp"])
            for step in range(3):
                learn(batch, replace(POLICY, count=2), {"policy": learner}, 0, step)
            runs.append(weights_of(learner))
        assert same(*runs)

    def test_a_gradient_that_is_asked_for_is_added_to_nothing(self, monkeypatch):
        """`torch.autograd.grad` outside of an update gives the whole gradient, and `grad` stays."""
        _, learner = self.learners(monkeypatch, dtype=torch.float64)
        batch = random_batch(dtype=torch.float64)
        weights = list(learner.model.parameters())
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        found = torch.autograd.grad(learner.forward(batch, ("logp",), {})["logp"].sum(), weights)
        assert all(bool((weight.grad == 1).all()) for weight in weights)
        assert all(float(gradient.norm()) > 0 for gradient in found)


def test_a_reference_that_is_the_start_is_at_distance_zero_bit_for_bit():
    learner = learner_of(tokens_per_forward=40)
    reference = TorchScorer(copy.deepcopy(learner.model), tokens_per_forward=40)
    models = {"policy": learner, "reference": reference}
    batch = random_batch()
    batch = replace(batch, ref_logp=reference.score(batch, ("logp",))["logp"])
    update = Update({"kl": Term(KL("k3"), TokenMean()), "policy": Term(PPOClip(), TokenMean())})
    for micro in micros(learner, update, batch, models):
        now = learner.forward(micro.batch, micro.needs, models)["logp"]
        assert now.requires_grad
        assert torch.equal(now.detach(), micro.batch.ref_logp)
    grads = gradients(learner, Update({"kl": Term(KL("k3"), TokenMean())}), batch)
    assert all(float(gradient.abs().max()) == 0 for gradient in grads.values())


def test_same_inputs_same_bits():
    batch = random_batch()
    runs = []
    for _ in range(2):
        learner = learner_of(tokens_per_forward=40, vocabulary_chunk=5 * VOCAB)
        batch = near(batch, learner.score(batch, ("logp",))["logp"])
        for step in range(3):
            learn(batch, replace(POLICY, count=2), {"policy": learner}, 0, step)
        runs.append(weights_of(learner))
    assert same(*runs)


def test_resume_equals_never_having_stopped():
    schedule = Optimiser(3e-3, warmup_updates=2, schedule="cosine", total_updates=12, weight_decay=0.01)

    def steps(learner, first, last):
        for step in range(first, last):
            batch = random_batch(seed=step)
            batch = near(batch, learner.score(batch, ("logp",))["logp"], seed=step)
            broken = replace(batch, advantage=torch.full_like(batch.advantage, math.nan))
            learn(broken if step == 4 else batch, POLICY, {"policy": learner}, 0, step)

    unbroken = learner_of(optimiser=schedule, heads={"value": value_head(16)})
    steps(unbroken, 0, 8)
    stopped = learner_of(optimiser=schedule, heads={"value": value_head(16)})
    steps(stopped, 0, 5)
    weights, state = weights_of(stopped), copy.deepcopy(stopped.state())
    assert {type(key) for key in state} == {str}
    assert (state["updates"], state["skipped_in_a_row"]) == (4, 1)

    resumed = learner_of(seed=9, optimiser=schedule, heads={"value": value_head(16)})
    steps(resumed, 0, 2)  # what it held before must not matter
    places = {name: weight.data_ptr() for name, weight in resumed.weights().items()}
    resumed.load(weights, state)
    assert places == {
        name: weight.data_ptr() for name, weight in resumed.weights().items()
    }  # a sampler may share them
    steps(resumed, 5, 8)
    assert same(weights_of(unbroken), weights_of(resumed))
    assert unbroken.state()["updates"] == resumed.state()["updates"] == 7
    assert all(
        same(kept, resumed.state()["moments"][name]) for name, kept in unbroken.state()["moments"].items()
    )


def test_a_checkpoint_from_before_the_first_update_wipes_the_moments():
    fresh, used = learner_of(), learner_of()
    batch = random_batch()
    batch = near(batch, fresh.score(batch, ("logp",))["logp"])
    weights, state = weights_of(fresh), copy.deepcopy(fresh.state())
    learn(batch, POLICY, {"policy": used}, 0, 0)
    used.load(weights, state)
    for learner in (fresh, used):
        learn(batch, POLICY, {"policy": learner}, 0, 1)
    assert same(weights_of(fresh), weights_of(used))


def test_a_checkpoint_of_another_model_is_refused():
    learner, other = learner_of(), TorchLearner(tiny_model(vocab=VOCAB, hidden=32), Optimiser())
    before = weights_of(learner)
    with pytest.raises(UserError, match=r"another model: 'model\.embed_tokens\.weight' does not fit"):
        learner.load(other.weights(), other.state())
    assert same(before, weights_of(learner))


@dataclass(frozen=True)
class Uphill:
    """-reward-weighted log-prob of one token."""

    token: int
    unit: ClassVar[Unit] = "token"
    needs: ClassVar[tuple[Need, ...]] = ("logp",)
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, now, batch):
        return -now["logp"] * (batch.token == self.token)

    def metrics(self, now, batch) -> dict[str, Metric]:
        return {}


def test_it_learns_in_bfloat16_too():
    """Trunk in bf16, weights and log-softmax in fp32: near the fp32 numbers, and a wished token becomes
    likelier."""
    model, batch = tiny_model(vocab=VOCAB, spread=0.1), random_batch()
    exact = TorchScorer(copy.deepcopy(model)).score(batch, ("logp",))["logp"]
    learner = TorchLearner(model, Optimiser(1e-2), autocast=torch.bfloat16)
    rough = learner.score(batch, ("logp",))["logp"]
    assert rough.dtype == torch.float32
    assert 0 < float((rough - exact).abs().max()) < 0.1
    token = int(batch.token[3])
    update = Update({"nll": Term(Uphill(token), TokenMean())})
    for step in range(20):
        learn(batch, update, {"policy": learner}, 0, step)
    wished = batch.is_action & (batch.token == token)
    after = learner.score(batch, ("logp",))["logp"]
    assert float(after[wished].mean()) > float(rough[wished].mean()) + 1
    assert all(weight.dtype == torch.float32 for weight in learner.weights().values())


def test_a_large_models_freed_memory_is_given_back_by_ranks_too(monkeypatch):
    """A rank that keeps its heap holds what its passes took while the sampler writes."""
    given: list[int] = []
    monkeypatch.setattr(machine, "SMALL", 0)
    monkeypatch.setattr(torch_learner, "give_back", lambda: given.append(1))
    learner = learner_of()
    learner.by_prompt = False  # as `Sharded` sets it
    learner.tidy()
    assert given == [1]
