"""The models of a run in this process: the first `ModelHost`, and the reference for all others."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from menon.batch import Batch
from menon.engines import model_files
from menon.engines.model_files import STATE
from menon.engines.protocols import Learner, Models, Scorer, check_same_model
from menon.errors import UserError
from menon.state_codec import decode, encode
from menon.sync.fingerprint import fingerprint
from menon.sync.pairs import model_tensors
from menon.types import Metric, merge
from menon.update.host import Ask, Job
from menon.update.objective import cut
from menon.update.protocols import need_column

Export = Callable[[Path], None]
"""Writes a model as a Hugging Face folder."""


class InProcessHost:
    """A `ModelHost` over models that are in this process.

    `exports` holds, by role, the function that writes a model as a Hugging Face folder. The weights of a
    policy without one are saved in `state`.
    """

    def __init__(self, models: Models, exports: Mapping[str, Export] | None = None) -> None:
        self.models = dict(models)
        self.exports = dict(exports or {})
        self._followers: set[str] = set()
        """Roles whose weights have followed another model. Other roles that do not learn are not saved,
        because the start gives their weights again."""

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(self.models)

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        """Makes one pass over the batch for each model, even if several columns or roles ask it."""
        by_model: dict[int, list[Ask]] = {}
        for ask in asks:
            by_model.setdefault(id(self._model(ask.role)), []).append(ask)
        columns: dict[str, Tensor] = {}
        for mine in by_model.values():
            scored = self._model(mine[0].role).score(batch, [ask.need for ask in mine], self.models)
            columns |= {ask.name: scored[need_column(ask.need)] for ask in mine}
        return columns

    def update(self, role: str, job: Job) -> dict[str, Metric]:
        learner = self._learner(role)
        metrics = learner.accumulate(cut(job, learner.tokens_per_forward, learner.workers), self.models)
        own = learner.step()
        return merge(metrics, own if role == "policy" else {f"{role}/{name}": m for name, m in own.items()})

    @torch.no_grad()
    def follow(self, role: str, leader: str, rate: float) -> None:
        """Moves the weights in place. Weights that only the leader has (a value head) are skipped."""
        ahead = self._model(leader).weights()
        for name, weight in self._model(role).weights().items():
            if rate == 1:
                weight.copy_(ahead[name])
            else:
                weight.lerp_(ahead[name].to(weight), rate)
        self._followers.add(role)

    def fingerprint(self, role: str) -> str:
        return fingerprint(self._model(role).weights())

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The policy's live tensors (see `sync.protocols.Gives`)."""
        return model_tensors(self._model("policy").weights())

    # Files

    def export(self, role: str, folder: Path) -> None:
        if role not in self.exports:
            raise UserError(f"the {role} of this run cannot be written as a Hugging Face folder")
        self.exports[role](folder)

    def save(self, folder: Path) -> None:
        """Weights that the exported policy holds bit for bit are not written twice; those that it holds in a
        lower precision are."""
        (folder / STATE).mkdir(parents=True, exist_ok=True)
        if "policy" in self.exports:
            self.export("policy", folder)
        exported = model_files.tensors_in(folder)
        kept = {role: model.weights() for role, model in self._kept().items()}
        for role, weights in kept.items():
            there = exported if role == "policy" else {}
            rest = {
                name: w.detach().cpu()
                for name, w in weights.items()
                if not model_files.same_bits(there.get(name), w)
            }
            model_files.write(folder / STATE / f"{role}.safetensors", rest)
        tensors: dict[str, Tensor] = {}
        states = {role: learner.state() for role, learner in self._learners().items()}
        about = {
            "weights": {role: list(weights) for role, weights in kept.items()},
            "learners": encode(states, tensors, "state.learners"),
        }
        model_files.write(folder / STATE / "optimisers.safetensors", tensors)
        (folder / STATE / "models.json").write_text(json.dumps(about, allow_nan=False), encoding="utf-8")

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        about = json.loads((folder / STATE / "models.json").read_text(encoding="utf-8"))
        states = decode(about["learners"], load_file(folder / STATE / "optimisers.safetensors"))
        exported = model_files.tensors_in(folder)
        if missing := sorted(self._learners().keys() - states.keys()):
            raise UserError(
                f"the checkpoint holds no {missing[0]} that learned; load it with the models it was made of"
            )
        for role, names in about["weights"].items():
            own = load_file(folder / STATE / f"{role}.safetensors")
            weights = {name: own[name] if name in own else exported[name] for name in names}
            if role in states:
                self._learner(role).load(weights, states[role])
                continue
            follower = self._model(role).weights()
            check_same_model(follower, weights)
            for name, weight in follower.items():
                weight.copy_(weights[name])
            self._followers.add(role)

    # Which model is whose

    def _model(self, role: str) -> Scorer:
        if role not in self.models:
            raise UserError(f"this run has no {role} model; set {role} in the configuration")
        return self.models[role]

    def _learner(self, role: str) -> Learner:
        model = self._model(role)
        if not isinstance(model, Learner):
            raise UserError(
                f"the {role} model cannot learn; give it an optimiser or take its terms out of the objective"
            )
        return model

    def _learners(self) -> dict[str, Learner]:
        """Every model that learns, once, by the first of its roles."""
        found: dict[str, Learner] = {}
        for role, model in sorted(self.models.items(), key=lambda item: (item[0] != "policy", item[0])):
            if isinstance(model, Learner) and not any(model is other for other in found.values()):
                found[role] = model
        return found

    def _kept(self) -> dict[str, Scorer]:
        """The models whose weights have changed since the start, by role."""
        return {**self._learners(), **{role: self.models[role] for role in sorted(self._followers)}}
