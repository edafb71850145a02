"""The models of a run in this process: the first `ModelHost`, and the reference for all others."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from menon.batch import Batch
from menon.engines import model_files
from menon.engines.model_files import STATE
from menon.engines.protocols import Models
from menon.engines.roster import Roster
from menon.engines.stored_models import stored_in
from menon.engines.torch_learner import TorchLearner
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.state_codec import encode
from menon.sync.fingerprint import content, fingerprint, fingerprint_of
from menon.sync.pairs import model_tensors
from menon.sync.protocols import Gives
from menon.types import Metric, merge
from menon.update.host import Ask, Job
from menon.update.objective import cut
from menon.update.protocols import need_column

Export = Callable[[Path], None]
"""Writes a model as a Hugging Face folder."""


def of_role(role: str, metrics: dict[str, Metric]) -> dict[str, Metric]:
    """The metrics of a role's optimiser under the names of a step."""
    return metrics if role == "policy" else {f"{role}/{name}": metric for name, metric in metrics.items()}


class InProcessHost:
    """A `ModelHost` over models that are in this process.

    `exports` holds, by role, the function that writes a model as a Hugging Face folder. The weights of a
    policy without one are saved in `state`. `checkpoint` writes the policy into a checkpoint where that is
    not its export: an adapter alone.
    """

    def __init__(
        self,
        models: Models,
        exports: Mapping[str, Export] | None = None,
        checkpoint: Export | None = None,
    ) -> None:
        self.roster = Roster(models)
        self.models = self.roster.models
        self.exports = dict(exports or {})
        self.checkpoint = checkpoint or self.exports.get("policy")

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(self.models)

    def score(self, batch: Batch, asks: Sequence[Ask]) -> dict[str, Tensor]:
        """Makes one pass over the batch for each model, even if several columns or roles ask it."""
        columns: dict[str, Tensor] = {}
        for mine in self.roster.by_model(asks):
            model = self.roster.model(mine[0].role)
            scored = model.score(batch, [ask.need for ask in mine], self.models)
            columns |= {ask.name: scored[need_column(ask.need)] for ask in mine}
        return columns

    def update(self, role: str, job: Job) -> dict[str, Metric]:
        metrics = self._accumulate(role, job)
        own = self.roster.learner(role).step()
        return merge(metrics, of_role(role, own))

    def _accumulate(self, role: str, job: Job) -> dict[str, Metric]:
        learner = self.roster.learner(role)
        passes = cut(job, learner.tokens_per_forward, learner.workers, learner.by_prompt)
        return learner.accumulate(passes, self.models)

    def gradient(self, role: str, job: Job) -> Iterator[tuple[str, Tensor]]:
        """The gradient of an update that is not made, by the weights' names (`update.host.GivesGradient`)."""
        learner = self.roster.learner(role)
        if not isinstance(learner, TorchLearner):
            raise UserError(f"the {role} does not follow a gradient alone; leave natural out")
        self._accumulate(role, job)
        yield from learner.take_gradient().items()

    def follow(self, role: str, leader: str, rate: float) -> None:
        self.roster.follow(role, leader, rate)

    def fingerprint(self, role: str) -> str:
        """Of a model with an adapter, that of the weights that it makes, as a sampler holds them."""
        model = self.roster.model(role)
        if isinstance(model, TorchScorer) and model.adapted:
            return fingerprint_of({name: content(weight) for name, weight in model.tensors()})
        return fingerprint(model.weights())

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The policy's tensors (see `sync.protocols.Gives`): the live ones, or merged ones of an adapter."""
        policy = self.roster.model("policy")
        return policy.tensors() if isinstance(policy, Gives) else model_tensors(policy.weights())

    def adapter_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name in peft's files, live tensor) of the policy's adapter, one at a time; none where it has no
        adapter."""
        found = getattr(self.roster.model("policy"), "adapter_tensors", None)
        return iter(()) if found is None else found()

    def write_adapter(self, folder: Path) -> None:
        """The policy's adapter in peft's own format, and its tokenizer. UserError: the policy has none, or is
        a reward model, whose checkpoints are whole."""
        if self.checkpoint is None or self.checkpoint is self.exports.get("policy"):
            raise UserError(
                "the policy of this run has no adapter that can be written alone; set adapter.rank"
            )
        self.checkpoint(folder)

    # Files

    def export(self, role: str, folder: Path) -> None:
        if role not in self.exports:
            raise UserError(f"the {role} of this run cannot be written as a Hugging Face folder")
        self.exports[role](folder)

    def save(self, folder: Path) -> None:
        """Weights that the exported policy holds bit for bit are not written twice; those that it holds in a
        lower precision are."""
        (folder / STATE).mkdir(parents=True, exist_ok=True)
        if self.checkpoint is not None:
            self.checkpoint(folder)
        exported = model_files.tensors_in(folder)
        kept = {role: model.weights() for role, model in self.roster.kept().items()}
        for role, weights in kept.items():
            there = exported if role == "policy" else {}
            rest = {
                name: w.detach().cpu()
                for name, w in weights.items()
                if not model_files.same_bits(there.get(name), w)
            }
            model_files.write(folder / STATE / f"{role}.safetensors", rest)
        tensors: dict[str, Tensor] = {}
        states = {role: learner.state() for role, learner in self.roster.learners().items()}
        about = {
            "weights": {role: list(weights) for role, weights in kept.items()},
            "learners": encode(states, tensors, "state.learners"),
        }
        model_files.write(folder / STATE / "optimisers.safetensors", tensors)
        (folder / STATE / "models.json").write_text(json.dumps(about, allow_nan=False), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Also what ranks have written."""
        self.roster.take(stored_in(folder, self.models))
