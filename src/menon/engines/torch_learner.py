"""The built-in learner: a scorer that trains its model, on one device.

Dropout is off, in training too: a policy is trained on the distribution that it was sampled from.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from menon.engines.own_backward import adding_gradients
from menon.engines.parallel_passes import side_by_side
from menon.engines.protocols import Models, check_same_model
from menon.engines.put_aside import give_back
from menon.engines.torch_scorer import TorchScorer
from menon.errors import UserError
from menon.types import Mean, Metric, Sum, merge
from menon.update.objective import Micro, loss_of, moved, weighs
from menon.update.optimiser import Optimiser, rate

MOST_SKIPPED = 10
"""Updates in a row without a finite gradient after which a run stops."""


class Passed(NamedTuple):
    """The result of a forward and backward pass."""

    metrics: dict[str, Metric]
    weighed: Tensor
    grads: tuple[Tensor | None, ...] = ()
    """Gradients of the trained weights, if the pass has not accumulated them itself."""


class TorchLearner(TorchScorer):
    """A `Learner` that trains fp32 (or fp64) weights by AdamW. `settings` are those of `TorchScorer`."""

    def __init__(self, model: nn.Module, optimiser: Optimiser, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.optimiser = optimiser
        self._trained = {name: weight for name, weight in self.weights().items() if weight.requires_grad}
        if any(weight.dtype not in (torch.float32, torch.float64) for weight in self._trained.values()):
            raise UserError(
                "a learner's weights must be float32, or small updates are lost; for bfloat16 speed set "
                "autocast"
            )
        self._adamw = torch.optim.AdamW(
            list(self._trained.values()),
            lr=optimiser.learning_rate,
            betas=optimiser.betas,
            eps=optimiser.eps,
            weight_decay=optimiser.weight_decay,
            fused=True,  # one pass over weights, moments and gradients
        )
        self._updates = 0
        self._skipped_in_a_row = 0
        self._weighed: list[Tensor] = []
        """For each pass, whether one of its tokens had a weight."""

    def accumulate(self, micros: Iterable[Micro], models: Models) -> dict[str, Metric]:
        """Gradients of parallel passes are added in the order of the passes, so that the sum is the same bit
        for bit every time."""
        metrics: dict[str, Metric] = {}
        self.tidy()

        def run(micro: Micro) -> Passed:
            now = self.forward(micro.batch, micro.needs, models)
            micro = moved(micro, self.device)
            loss, found = loss_of(now, micro)
            if self.workers > 1:
                grads = torch.autograd.grad(loss, list(self._trained.values()), allow_unused=True)
                return Passed(found, weighs(now, micro), grads)
            loss.backward()  # needs no room for a pass's own gradient
            return Passed(found, weighs(now, micro))

        def alone(micro: Micro) -> Passed:
            with adding_gradients():
                return run(micro)

        def add(passed: Passed) -> None:
            merge(metrics, passed.metrics)
            self._weighed.append(passed.weighed)
            for weight, grad in zip(self._trained.values(), passed.grads, strict=False):
                if grad is not None:
                    weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                    weight.grad.add_(grad)

        side_by_side(alone if self.by_prompt else run, micros, self.workers, add)
        return metrics

    def step(self) -> dict[str, Metric]:
        """One AdamW step, unless no token of the update had a weight (`update/empty`) or the norm of the
        gradient is not finite (`update/skipped`): then weights and moments stay as they are, and the schedule
        does not advance."""
        weighed, self._weighed = self.anywhere(any(bool(each) for each in self._weighed)), []
        metrics: dict[str, Metric] = {"update/empty": Sum(int(not weighed)), "update/skipped": Sum(0)}
        if weighed:
            # No name for the gradients: they must be free when memory is given back.
            norm = self.total_norm([w.grad for w in self._trained.values() if w.grad is not None])
            if math.isfinite(size := float(norm)):
                self._move(norm)
                metrics |= {"grad_norm": Mean(size), "learning_rate": Mean(self._adamw.param_groups[0]["lr"])}
            else:
                metrics["update/skipped"] = Sum(1)
                self._skip()
        self._adamw.zero_grad(set_to_none=True)
        self.tidy()
        return metrics

    def tidy(self) -> None:
        """Gives back what the sampler before an update, and the update before the sampler, has freed."""
        if self.is_large:
            give_back()

    def anywhere(self, here: bool) -> bool:
        """Whether something holds in one of the processes that share an update."""
        return here

    def total_norm(self, grads: list[Tensor]) -> Tensor:
        """The norm of the whole gradient; 0-dim."""
        return get_total_norm(grads)

    def take_gradient(self) -> dict[str, Tensor]:
        """The gradient that `accumulate` has added up, by the weights' names; it is then forgotten."""
        found = {name: weight.grad for name, weight in self._trained.items() if weight.grad is not None}
        self._adamw.zero_grad(set_to_none=True)
        self._weighed = []
        return found

    def _move(self, norm: Tensor) -> None:
        if self.optimiser.clip_norm:
            clip_grads_with_norm_(list(self._trained.values()), self.optimiser.clip_norm, norm)
        for group in self._adamw.param_groups:
            group["lr"] = rate(self.optimiser, self._updates)
        self._adamw.step()
        self._updates += 1
        self._skipped_in_a_row = 0

    def _skip(self) -> None:
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise UserError(
                f"{MOST_SKIPPED} updates in a row had a gradient that is not finite; lower learning_rate, "
                "or go back to an "
                "earlier checkpoint"
            )

    def state(self) -> dict[str, Any]:
        """Moments by weight's name, and counters. Live tensors, like `weights()`: write them before the next
        step."""
        moments = {
            name: dict(self._adamw.state[weight])
            for name, weight in self._trained.items()
            if weight in self._adamw.state
        }
        return {"updates": self._updates, "skipped_in_a_row": self._skipped_in_a_row, "moments": moments}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Copies into the live tensors, so that a sampler that shares them sees the new weights."""
        own = self.weights()
        check_same_model(own, weights)
        for name, weight in own.items():
            self.put(weight, weights[name])
        self._updates, self._skipped_in_a_row = int(state["updates"]), int(state["skipped_in_a_row"])
        self._weighed = []
        self._adamw.zero_grad(set_to_none=True)
        self._adamw.state.clear()
        for name, moments in state["moments"].items():
            weight = self._trained[name]
            self._adamw.state[weight] = {
                # The optimiser's step count has a dtype of its own.
                key: value.to(weight.device, copy=True) if key == "step" else self.like(weight, value)
                for key, value in moments.items()
            }

    def put(self, weight: Tensor, given: Tensor) -> None:
        """Writes numbers into a weight."""
        weight.copy_(given)

    def like(self, weight: Tensor, given: Tensor) -> Tensor:
        """A copy of a checkpoint's moment, held as the weight is."""
        return given.to(weight, copy=True)
