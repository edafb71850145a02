"""TRPO: the natural gradient within a trust region (Schulman et al., arXiv 1502.05477, section 6 and appendix
C).

This is for a small model in this process: it keeps the distribution over the whole vocabulary at every token
of an update, and makes one pass over the update for each product with the Fisher matrix and for each step
that the line search tries.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from menon.batch import Batch
from menon.engines.protocols import Learner, LogitRows, Models
from menon.errors import UserError
from menon.types import Mean, Metric, Sum, merge
from menon.update.objective import Micro, loss_of, moved
from menon.update.optimiser import NaturalGradient
from menon.update.protocols import Need, Reduction


@runtime_checkable
class InProcess(Learner, Protocol):
    """A learner whose forward pass gives columns with a graph that can be differentiated twice."""

    device: torch.device

    def forward(self, batch: Batch, needs: Iterable[Need], models: Models) -> dict[str, Tensor]: ...


def kl_from(logits: Tensor, other: Tensor | None) -> Tensor:
    """[n, V] -> [n] KL(other || logits). If other is None, it is the detached logits: the value is 0, and the
    Hessian is the Fisher matrix."""
    kept = (logits.detach() if other is None else other).log_softmax(-1)
    return (kept.exp() * (kept - logits.log_softmax(-1))).sum(-1)


FISHER = Reduction("fisher", kl_from)
MOVED = Reduction("moved", kl_from, other="before")


class NaturalLearner:
    """A `Learner` that takes TRPO's step instead of its optimiser's. Everything else is delegated to the
    inner learner."""

    workers, by_prompt = 1, False

    def __init__(self, inner: Learner, setting: NaturalGradient) -> None:
        if not isinstance(inner, InProcess):
            raise UserError(
                "a natural gradient differentiates twice through a model in this process; use the "
                "built-in learner"
            )
        self.inner, self.setting = inner, setting
        self.tokens_per_forward, self.device = inner.tokens_per_forward, inner.device
        self._micros: list[Micro] = []
        self._models: Models = {}

    def score(self, batch: Batch, needs: Iterable[Need], models: Models | None = None) -> dict[str, Tensor]:
        return self.inner.score(batch, needs, models)

    def logits(self, batch: Batch) -> LogitRows:
        return self.inner.logits(batch)

    def weights(self) -> Mapping[str, Tensor]:
        return self.inner.weights()

    def state(self) -> dict[str, Any]:
        return self.inner.state()

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        self._micros = []
        self.inner.load(weights, state)

    @torch.no_grad()
    def accumulate(self, micros: Iterable[Micro], models: Models) -> dict[str, Metric]:
        """Keeps the micro-batches: the step needs the whole update several times."""
        metrics: dict[str, Metric] = {}
        for micro in micros:
            micro = moved(micro, self.inner.device)
            now = self.inner.forward(micro.batch, micro.needs, models)
            merge(metrics, loss_of(now, micro)[1])
            if micro.batch.old_logp is None and "logp" in now:
                # On the first update losses use the current policy as the old one; the line search needs it
                # fixed while the weights change.
                micro = replace(micro, batch=replace(micro.batch, old_logp=now["logp"]))
            self._micros.append(micro)
        self._models = models
        return metrics

    def step(self) -> dict[str, Metric]:
        """Metrics: grad_norm, trpo/kl of the step taken, trpo/tries, trpo/rejected (1: the weights
        stayed)."""
        micros, self._micros = self._micros, []
        weighed = any(bool((ready.weight != 0).any()) for micro in micros for ready in micro.terms.values())
        metrics: dict[str, Metric] = {"update/empty": Sum(int(not weighed)), "update/skipped": Sum(0)}
        if not weighed:
            return metrics
        # The fused kernels of attention cannot be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH):
            return metrics | Region(self.inner, micros, self._models).step(self.setting)


class Region:
    """The loss of one update, and the distance from where it started, as functions of the weights."""

    def __init__(self, learner: InProcess, micros: list[Micro], models: Models) -> None:
        self.learner, self.micros, self.models = learner, micros, models
        self.weights = [weight for weight in learner.weights().values() if weight.requires_grad]
        self.tokens = max(1, sum(int(micro.batch.trained.sum()) for micro in micros))

    def step(self, setting: NaturalGradient) -> dict[str, Metric]:
        gradient, loss = self.gradient()
        norm = float(gradient.norm())
        if not norm > 0 or not torch.isfinite(gradient).all():
            return {"update/skipped": Sum(int(norm != 0)), "grad_norm": Mean(norm)}
        direction = conjugate_gradient(
            lambda v: self.fisher(v) + setting.damping * v, -gradient, setting.iterations
        )
        curvature = float(direction @ self.fisher(direction))
        if curvature <= 0:
            return {"update/skipped": Sum(1), "grad_norm": Mean(norm)}
        return {"grad_norm": Mean(norm)} | self.search(
            (2 * setting.max_kl / curvature) ** 0.5 * direction, loss, setting
        )

    @torch.no_grad()
    def search(self, full: Tensor, loss: float, setting: NaturalGradient) -> dict[str, Metric]:
        """The line search. The weights are then those of the accepted step, or the old ones if none was
        accepted."""
        start = [weight.clone() for weight in self.weights]
        before = [Kept(self.learner.logits(micro.batch), micro.batch) for micro in self.micros]
        for number in range(setting.tries):
            self.move(start, setting.shrink**number * full)
            after, kl = self.measure(before)
            if after < loss and kl <= setting.max_kl:
                return {"trpo/kl": Mean(kl), "trpo/tries": Mean(number + 1), "trpo/rejected": Mean(0)}
        self.move(start, torch.zeros_like(full))
        return {"trpo/kl": Mean(0.0), "trpo/tries": Mean(setting.tries), "trpo/rejected": Mean(1)}

    def gradient(self) -> tuple[Tensor, float]:
        """The gradient of the loss as one vector, and the loss."""
        total, loss = torch.zeros_like(flat(self.weights)), 0.0
        for micro in self.micros:
            part = loss_of(self.learner.forward(micro.batch, micro.needs, self.models), micro)[0]
            total, loss = total + flat_gradient(part, self.weights), loss + float(part.detach())
        return total, loss

    def fisher(self, vector: Tensor) -> Tensor:
        """The product of a vector and the Fisher matrix of the next-token distributions, averaged over the
        trained tokens."""
        product = torch.zeros_like(vector)
        for micro in self.micros:
            kl = self.learner.forward(micro.batch, (FISHER,), self.models)[FISHER.name]
            mean = torch.where(micro.batch.trained, kl, 0).sum() / self.tokens
            slope = flat_gradient(mean, self.weights, create_graph=True)
            product = product + flat_gradient(slope @ vector, self.weights)
        return product

    def measure(self, before: "list[Kept]") -> tuple[float, float]:
        """The loss and the KL from the start, at the weights as they are."""
        loss = kl = 0.0
        for micro, kept in zip(self.micros, before, strict=True):
            now = self.learner.forward(micro.batch, (*micro.needs, MOVED), {**self.models, "before": kept})
            loss += float(loss_of(now, micro)[0])
            kl += float(torch.where(micro.batch.trained, now[MOVED.name], 0).sum()) / self.tokens
        return loss, kl

    @torch.no_grad()
    def move(self, start: list[Tensor], by: Tensor) -> None:
        for weight, origin, change in zip(
            self.weights, start, by.split([w.numel() for w in self.weights]), strict=True
        ):
            weight.copy_(origin + change.view_as(weight))


class Kept:
    """A scorer that keeps the logits of a model at one time, for the action tokens of one batch."""

    tokens_per_forward = 1 << 30

    def __init__(self, rows: LogitRows, batch: Batch) -> None:
        place = batch.is_action.nonzero()[:, 0]
        self._row = torch.zeros_like(batch.token).index_copy(
            0, place, torch.arange(len(place), device=place.device)
        )
        self._logits = rows(place)

    def score(self, batch: Batch, needs: Iterable[Need], models: Models | None = None) -> dict[str, Tensor]:
        raise NotImplementedError("only its logits are kept")

    def weights(self) -> Mapping[str, Tensor]:
        return {}

    def logits(self, batch: Batch) -> LogitRows:
        return lambda places: self._logits[self._row[places]]


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor], target: Tensor, iterations: int, enough: float = 1e-10
) -> Tensor:
    """x with apply(x) = target, for a symmetric positive `apply`. It stops early when the squared residual is
    below `enough` times the squared norm of the target."""
    x, residual = torch.zeros_like(target), target.clone()
    direction, size = residual.clone(), residual @ residual
    bound = enough * size
    for _ in range(iterations):
        if size <= bound:
            break
        applied = apply(direction)
        length = size / (direction @ applied)
        x, residual = x + length * direction, residual - length * applied
        smaller = residual @ residual
        direction, size = residual + smaller / size * direction, smaller
    return x


def flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def flat_gradient(value: Tensor, weights: list[Tensor], create_graph: bool = False) -> Tensor:
    """One vector; 0 for weights that the value does not depend on."""
    found = torch.autograd.grad(value, weights, create_graph=create_graph, allow_unused=True)
    return flat(
        torch.zeros_like(weight) if slope is None else slope
        for weight, slope in zip(weights, found, strict=True)
    )
