"""The host of models in this process: the reference for all other hosts."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from batches import VOCAB, near, random_batch
from helpers import tiny_model, tiny_tokenizer
from menon.batch import take, to
from menon.engines import model_files
from menon.engines.hf_models import export, load_policy
from menon.engines.in_process import InProcessHost
from menon.engines.network import ValueModel, value_head
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.loss import PPOClip, ValueLoss
from menon.loss.aggregation import TokenMean
from menon.loss.exact_kl import REVERSE_KL
from menon.sync.fingerprint import fingerprint
from menon.types import merge
from menon.update.host import Ask
from menon.update.objective import cut, prepare
from menon.update.optimiser import Optimiser
from menon.update.protocols import VALUE, Head, Hidden, need_column
from menon.update.terms import MiniBatch, Term, Update

POLICY = Update({"policy": Term(PPOClip(), TokenMean())})
BOTH = Update({"policy": Term(PPOClip(), TokenMean()), "value": Term(ValueLoss(), TokenMean())})
CRITIC = Update({"value": Term(ValueLoss(), TokenMean())}, model="critic")


@dataclass
class Held:
    """A model that is nothing but its weights, and answers every need with one number."""

    named: dict[str, Tensor] = field(default_factory=dict)
    number: float = 0.0
    asked: list[set[str]] = field(default_factory=list)

    def weights(self):
        return self.named

    def score(self, batch, needs, models=None):
        self.asked.append({need_column(need) for need in needs})
        return {need_column(need): torch.full((batch.num_tokens,), self.number) for need in needs}

    def logits(self, batch):
        raise NotImplementedError


def learner_of(seed: int = 0, **settings: Any) -> TorchLearner:
    return TorchLearner(tiny_model(vocab=VOCAB, seed=seed), Optimiser(1e-2), **settings)


def near_by(learner: TorchLearner) -> Any:
    batch = random_batch()
    return near(batch, learner.score(batch, ("logp",))["logp"])


def train(host: InProcessHost, update: Update, batch: Any, times: int = 1) -> dict[str, float]:
    part, metrics = MiniBatch(update, torch.arange(batch.num_sequences), first=True), {}
    for _ in range(times):
        metrics = host.update(update.model, prepare(part, batch, host))
    return {name: float(metric) for name, metric in metrics.items()}


def weights_of(host: InProcessHost) -> dict[str, dict[str, Tensor]]:
    return {
        role: {name: w.detach().clone() for name, w in model.weights().items()}
        for role, model in host.models.items()
    }


def same(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(
        same(one[key], other[key]) if isinstance(one[key], dict) else torch.equal(one[key], other[key])
        for key in one
    )


class TestScore:
    def test_one_pass_for_each_model_whatever_its_roles(self):
        trunk, reference = Held(number=1.0), Held(number=2.0)
        host = InProcessHost({"policy": trunk, "critic": trunk, "reference": reference})
        asks = [
            Ask("policy", "logp", "old_logp"),
            Ask("critic", VALUE),
            Ask("reference", "logp", "ref_logp"),
            Ask("policy", "entropy"),
        ]
        columns = host.score(random_batch(), asks)
        assert trunk.asked == [{"logp", "value", "entropy"}]
        assert reference.asked == [{"logp"}]
        numbers = {name: float(column[0]) for name, column in columns.items()}
        assert numbers == {"old_logp": 1, "value": 1, "entropy": 1, "ref_logp": 2}

    def test_a_reduction_may_name_another_role(self):
        policy, reference = learner_of(), TorchScorer(tiny_model(vocab=VOCAB, seed=1))
        host, batch = InProcessHost({"policy": policy, "reference": reference}), random_batch()
        found = host.score(batch, [Ask("policy", REVERSE_KL, "distance")])["distance"]
        expected = policy.score(batch, (REVERSE_KL,), {"reference": reference})["reverse_kl"]
        assert torch.equal(found, expected)
        assert float(found.abs().max()) > 0

    def test_an_unknown_role_is_one_sentence(self):
        host = InProcessHost({"policy": Held()})
        with pytest.raises(UserError, match=r"^this run has no teacher model; set teacher in the config"):
            host.score(random_batch(), [Ask("teacher", "logp")])


class TestUpdate:
    @pytest.mark.parametrize("tokens_per_forward", [8192, 40])
    def test_equals_its_passes_and_one_step_of_the_learner(self, tokens_per_forward):
        host = InProcessHost({"policy": learner_of(tokens_per_forward=tokens_per_forward)})
        alone = learner_of(tokens_per_forward=tokens_per_forward)
        batch = near_by(alone)
        part = MiniBatch(POLICY, torch.arange(batch.num_sequences), first=True)
        found = host.update("policy", prepare(part, batch, host))
        micros = list(cut(prepare(part, batch, host), tokens_per_forward, alone.workers))
        assert (len(micros) > 1) == (tokens_per_forward == 40)
        wanted = merge(alone.accumulate(micros, {"policy": alone}), alone.step())
        assert {name: float(m) for name, m in found.items()} == {name: float(m) for name, m in wanted.items()}
        assert same(dict(host.models["policy"].weights()), dict(alone.weights()))
        assert not same(dict(alone.weights()), dict(learner_of().weights()))

    def test_another_roles_numbers_of_its_optimiser_carry_its_name(self):
        critic = TorchLearner(ValueModel(tiny_model(vocab=VOCAB).base_model, value_head(16)), Optimiser(1e-2))
        found = train(InProcessHost({"critic": critic}), CRITIC, random_batch())
        assert {"critic/grad_norm", "critic/learning_rate", "loss/value"} <= found.keys()
        assert "grad_norm" not in found

    def test_what_cannot_learn_is_one_sentence(self):
        host = InProcessHost({"policy": Held(), "critic": TorchScorer(tiny_model(vocab=VOCAB))})
        batch = random_batch()
        job = prepare(MiniBatch(CRITIC, torch.arange(batch.num_sequences), first=True), batch, host)
        with pytest.raises(UserError, match="the critic model cannot learn; give it an optimiser or take"):
            host.update("critic", job)


class TestFiles:
    def host(self, seed: int = 0, kind: str = "apart") -> InProcessHost:
        """Policy, critic and a reference; the critic apart, or on the policy's trunk."""
        torch.manual_seed(seed)
        head = value_head(16, "orz", seed)
        policy = learner_of(seed, **({"heads": {"value": head}} if kind == "shared" else {}))
        trunk = tiny_model(vocab=VOCAB, seed=seed + 1).base_model
        critic = policy if kind == "shared" else TorchLearner(ValueModel(trunk, head), Optimiser(1e-2))
        reference = TorchScorer(tiny_model(vocab=VOCAB, seed=seed))
        writes = partial(export, policy.model, tiny_tokenizer(VOCAB))
        models = {"policy": policy, "critic": critic, "reference": reference}
        return InProcessHost(models, {"policy": writes})

    def go_on(self, host: InProcessHost, kind: str, batch: Any) -> None:
        if kind == "shared":
            train(host, BOTH, batch, 2)
        else:
            train(host, POLICY, batch, 2)
            train(host, CRITIC, batch)
        host.follow("reference", "policy", 0.3)

    @pytest.mark.parametrize("kind", ["apart", "shared"])
    def test_what_is_saved_goes_on_bit_for_bit(self, tmp_path, kind):
        """Weights, moments and counts of the optimisers, and a reference that has moved."""
        host = self.host(kind=kind)
        batch = near_by(learner_of())
        self.go_on(host, kind, batch)
        host.save(tmp_path)
        saved = weights_of(host)
        again = self.host(seed=7, kind=kind)
        again.load(tmp_path)
        assert same(weights_of(again), saved)
        for each in (host, again):
            self.go_on(each, kind, batch)
        assert same(weights_of(again), weights_of(host))
        assert not same(weights_of(again), saved)
        shared = {"value_head.weight"} if kind == "shared" else set()
        assert shared == set(load_file(tmp_path / "state" / "policy.safetensors"))
        assert (tmp_path / "state" / "critic.safetensors").exists() == (kind == "apart")

    def test_a_reference_that_stays_is_not_written(self, tmp_path):
        self.host().save(tmp_path)
        assert not (tmp_path / "state" / "reference.safetensors").exists()

    def test_a_reference_that_moved_is_still_written_after_a_resume(self, tmp_path):
        host = self.host()
        host.follow("reference", "policy", 1.0)
        host.save(tmp_path / "a")
        again = self.host()
        again.load(tmp_path / "a")
        again.save(tmp_path / "b")
        assert (tmp_path / "b" / "state" / "reference.safetensors").exists()

    def test_a_checkpoint_of_other_models_is_refused(self, tmp_path):
        InProcessHost({"policy": learner_of()}).save(tmp_path / "small")
        host = InProcessHost({"policy": TorchLearner(tiny_model(vocab=VOCAB + 1), Optimiser())})
        with pytest.raises(UserError, match="the checkpoint holds another model"):
            host.load(tmp_path / "small")
        with pytest.raises(UserError, match="the checkpoint holds no critic that learned"):
            InProcessHost({"critic": learner_of()}).load(tmp_path / "small")
        InProcessHost({"policy": learner_of(), "critic": learner_of(1)}).save(tmp_path / "two")
        with pytest.raises(UserError, match="this run has no critic model"):
            InProcessHost({"policy": learner_of()}).load(tmp_path / "two")

    def test_a_checkpoint_without_a_model_that_learns_is_refused(self, tmp_path):
        InProcessHost({"policy": learner_of()}).save(tmp_path)
        with pytest.raises(UserError, match="the checkpoint holds no critic"):
            InProcessHost({"policy": learner_of(), "critic": learner_of(1)}).load(tmp_path)

    def test_a_followers_checkpoint_of_another_shape_is_refused(self, tmp_path):
        host = self.host()
        host.follow("reference", "policy", 0.5)
        host.save(tmp_path)
        other = TorchScorer(tiny_model(vocab=VOCAB, layers=1, seed=0))
        models = {**self.host().models, "reference": other}
        with pytest.raises(UserError, match="the checkpoint holds another model"):
            InProcessHost(models).load(tmp_path)

    def test_export_is_an_ordinary_folder(self, tmp_path):
        host = self.host()
        host.export("policy", tmp_path)
        model, _ = load_policy(tmp_path)
        assert fingerprint(dict(model.named_parameters())) == host.fingerprint("policy")
        with pytest.raises(UserError, match="the critic of this run cannot be written as a Hugging Face"):
            host.export("critic", tmp_path / "critic")


WEIGHTS = {
    "a": torch.tensor([0.1, -0.0, float("nan")]),
    "b": torch.tensor([[1.0, 2.0]]),
    "tied": torch.tensor([3.0]),
}


class Learns(Held):
    """Weights and no optimiser to speak of."""

    tokens_per_forward = workers = 1
    by_prompt = False

    def accumulate(self, micros, models): ...

    def step(self): ...

    def state(self):
        return {"moment": torch.tensor([0.1]), "count": 3}

    def load(self, weights, state):
        self.named, self.given = dict(weights), state


def exported(folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """As `transformers` does it: one file of weights, a tied tensor left out."""
    save_file({name: WEIGHTS[name].to(dtype) for name in ("a", "b")}, folder / "model.safetensors")


def shards(folder: Path) -> None:
    for number, name in enumerate("ab"):
        save_file({name: WEIGHTS[name]}, folder / f"model-0000{number}-of-00002.safetensors")


class TestBits:
    @pytest.mark.parametrize(
        ("writes", "kept"),
        [
            (exported, {"tied"}),
            (shards, {"tied"}),
            (partial(exported, dtype=torch.bfloat16), {"a", "b", "tied"}),
        ],
        ids=["one file", "shards", "lower precision"],
    )
    def test_weights_are_stored_once_and_whole(self, tmp_path, writes, kept):
        InProcessHost({"policy": Learns(dict(WEIGHTS))}, {"policy": writes}).save(tmp_path)
        assert set(load_file(tmp_path / "state" / "policy.safetensors")) == kept
        host = InProcessHost({"policy": (policy := Learns())}, {"policy": writes})
        host.load(tmp_path)
        assert policy.named.keys() == WEIGHTS.keys()
        assert all(model_files.same_bits(policy.named[name], WEIGHTS[name]) for name in WEIGHTS)
        assert (float(policy.given["moment"]), policy.given["count"]) == (pytest.approx(0.1), 3)

    def test_an_export_that_says_0_for_minus_0_does_not_cost_a_bit(self, tmp_path):
        def writes(folder: Path) -> None:
            save_file({"w": torch.tensor([0.0, 1.0])}, folder / "model.safetensors")

        InProcessHost({"policy": Learns({"w": torch.tensor([-0.0, 1.0])})}, {"policy": writes}).save(tmp_path)
        host = InProcessHost({"policy": (policy := Learns())})
        host.load(tmp_path)
        assert str(policy.named["w"]) == "tensor([-0., 1.])"

    def test_tensors_that_share_memory_are_written_apart(self, tmp_path):
        alone, row = torch.arange(4.0), torch.arange(6.0).view(2, 3)
        tensors = {"alone": alone, "again": alone, "part": row[0], "turned": row.T, "empty": torch.zeros(0)}
        model_files.write(tmp_path / "x.safetensors", tensors)
        read = load_file(tmp_path / "x.safetensors")
        assert {name: tensor.tolist() for name, tensor in read.items()} == {
            "alone": [0, 1, 2, 3],
            "again": [0, 1, 2, 3],
            "part": [0, 1, 2],
            "turned": [[0, 3], [1, 4], [2, 5]],
            "empty": [],
        }


class TestFollow:
    def models(self) -> InProcessHost:
        policy = Held({"w": torch.tensor([1.0, 2.0]), "value_head.weight": torch.ones(1)})
        return InProcessHost({"policy": policy, "reference": Held({"w": torch.tensor([0.0, 4.0])})})

    def test_by_hand(self):
        """.25 * 1 + .75 * 0 = .25; .25 * 2 + .75 * 4 = 3.5. The leader's head stays out; 1 copies the
        bits."""
        host = self.models()
        host.follow("reference", "policy", 0.25)
        assert host.models["reference"].weights()["w"].tolist() == [0.25, 3.5]
        host.follow("reference", "policy", 1.0)
        assert host.models["reference"].weights()["w"].tolist() == [1, 2]
        assert host.fingerprint("reference") == fingerprint({"w": torch.tensor([1.0, 2.0])})

    def test_in_place(self):
        host = self.models()
        live = host.models["reference"].weights()["w"]
        host.follow("reference", "policy", 0.5)
        assert live.tolist() == [0.5, 3]


class TestWideColumns:
    """[N, k]: heads of several outputs, and hidden states."""

    def scorer(self, **settings: Any) -> TorchScorer:
        torch.manual_seed(0)
        head = torch.nn.Linear(16, 3)
        return TorchScorer(tiny_model(vocab=VOCAB, layers=2), heads={"three": head}, **settings)

    def test_a_head_of_three_outputs_by_hand(self):
        scorer, batch = self.scorer(tokens_per_forward=40), random_batch(4)
        host = InProcessHost({"policy": scorer})
        asks = [
            Ask("policy", Head("three")),
            Ask("policy", Head("three", "after"), "next"),
            Ask("policy", "logp"),
        ]
        columns = host.score(batch, asks)
        assert columns["three"].shape == columns["next"].shape == (batch.num_tokens, 3)
        assert columns["logp"].shape == (batch.num_tokens,)
        assert (columns["three"][~batch.is_action] == 0).all()
        for place in batch.is_action.nonzero()[:, 0].tolist():
            start = place - int(batch.position[place])
            with torch.no_grad():
                states = scorer.model.base_model(batch.token[start : place + 1][None]).last_hidden_state[0]
                before, after = scorer.heads["three"](states[-2]), scorer.heads["three"](states[-1])
            torch.testing.assert_close(columns["three"][place], before, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(columns["next"][place], after, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("value", "no value head; give the run a critic"),
            ("reward", "no reward head; give it one by `heads`"),
        ],
    )
    def test_a_head_that_is_not_there(self, name, said):
        with pytest.raises(UserError, match=said):
            self.scorer().score(random_batch(4), (Head(name, "after"),))

    def test_take_and_to_carry_them(self):
        scorer, batch = self.scorer(), random_batch(4)
        three = scorer.score(batch, (Head("three"),))["three"]
        part = to(take(replace(batch, columns={"three": three}), torch.tensor([2, 0])), "cpu")
        a, b, c, d = batch.offset[[0, 1, 2, 3]].tolist()
        assert torch.equal(part.columns["three"], torch.cat([three[c:d], three[a:b]]))
        again = scorer.score(part, (Head("three"),))["three"]
        torch.testing.assert_close(again, part.columns["three"], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
    def test_hidden_states_are_those_of_transformers(self, kind):
        """Hidden(i) is before a token what `output_hidden_states` has after layer i: there 0 is the
        embedding, and the last one comes after the last norm."""
        model, batch = tiny_model(kind, vocab=VOCAB, layers=3), random_batch(4)
        found = TorchScorer(model, tokens_per_forward=40).score(batch, (Hidden(-1), Hidden(1)))
        for start, end in zip(batch.offset[:-1].tolist(), batch.offset[1:].tolist(), strict=True):
            with torch.no_grad():
                states = model(batch.token[None, start:end], output_hidden_states=True).hidden_states
            for place in range(start + 1, end):
                if batch.is_action[place]:
                    for need, layer in ((Hidden(-1), -1), (Hidden(1), 1)):
                        expected = states[layer][0, place - start - 1]
                        torch.testing.assert_close(
                            found[need_column(need)][place], expected, rtol=1e-4, atol=1e-4
                        )

    @pytest.mark.parametrize("need", [Hidden(-1), Hidden(1), Head("three")])
    def test_gradient_flows(self, need):
        scorer, batch = self.scorer(), random_batch(4)
        column = scorer.forward(batch, (need,), {})[need_column(need)]
        column.square().sum().backward()
        first = next(iter(scorer.model.parameters()))
        assert first.grad is not None
        assert float(first.grad.norm()) > 0
